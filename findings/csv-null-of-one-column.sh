#!/usr/bin/env bash
# A null in a CSV file of one column disappears with its row when pyarrow or pandas reads the file.
#
# pyarrow, polars and DuckDB write a null as an empty field, which in a file of one column is a blank line. polars and
# DuckDB read that line as a null. pyarrow and pandas skip it, so three rows become two, and pyarrow does so with the
# file that pyarrow wrote. pandas writes `""` instead, because its own reader would skip the line, and that value comes
# back as an empty text in pyarrow and polars and as a null in pandas and DuckDB.
#
# Seen with: pyarrow 26.0.1, polars 2.1.0, duckdb 2.0.0, pandas 3.1.1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv python
python/bin/pip -q install pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.0 pandas==3.1.1

cat >rows.py <<'P'
import duckdb, pandas, polars, pyarrow, pyarrow.csv

column = {"v": ["a", None, "b"]}
pyarrow.csv.write_csv(pyarrow.table(column), "pyarrow.csv")
polars.DataFrame(column).write_csv("polars.csv")
pandas.DataFrame(column).to_csv("pandas.csv", index=False)
duckdb.sql("COPY (SELECT * FROM (VALUES ('a'), (NULL), ('b')) t(v)) TO 'duckdb.csv'")

readers = {
    "pyarrow": lambda path: pyarrow.csv.read_csv(path)["v"].to_pylist(),
    "polars": lambda path: polars.read_csv(path)["v"].to_list(),
    "pandas": lambda path: [None if pandas.isna(v) else v for v in pandas.read_csv(path)["v"]],
    "duckdb": lambda path: [row[0] for row in duckdb.sql(f"SELECT * FROM '{path}'").fetchall()],
}
for writer in readers:
    path = f"{writer}.csv"
    print(writer, "writes", repr(open(path, newline="").read()))
    for reader, read in readers.items():
        print(f"  {reader} reads", read(path))
P
python/bin/python rows.py | tee seen
diff - seen <<'T' && echo "as described"
pyarrow writes '"v"\n"a"\n\n"b"\n'
  pyarrow reads ['a', 'b']
  polars reads ['a', None, 'b']
  pandas reads ['a', 'b']
  duckdb reads ['a', None, 'b']
polars writes 'v\na\n\nb\n'
  pyarrow reads ['a', 'b']
  polars reads ['a', None, 'b']
  pandas reads ['a', 'b']
  duckdb reads ['a', None, 'b']
pandas writes 'v\na\n""\nb\n'
  pyarrow reads ['a', '', 'b']
  polars reads ['a', '', 'b']
  pandas reads ['a', None, 'b']
  duckdb reads ['a', None, 'b']
duckdb writes 'v\na\n\nb\n'
  pyarrow reads ['a', 'b']
  polars reads ['a', None, 'b']
  pandas reads ['a', 'b']
  duckdb reads ['a', None, 'b']
T
