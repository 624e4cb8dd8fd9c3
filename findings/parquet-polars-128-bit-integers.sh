#!/usr/bin/env bash
# Parquet files with 128-bit integers of Polars are read by Polars only.
#
# - Polars writes Int128 as 16 bytes without a logical type; the type is only in the Arrow schema among the metadata.
# - DuckDB and other readers of the plain Parquet schema return bytes, the least significant first.
# - pyarrow refuses the whole file, also for its other columns.
# - A cast to Decimal(38, 0) is written as DECIMAL, which all three read as a number.
#
# Seen with: polars 2.1.0, pyarrow 26.0.1, duckdb 2.0.1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv python
python/bin/pip -q install polars==2.1.0 pyarrow==26.0.1 duckdb==2.0.1

cat >values.py <<'P'
import duckdb, polars as pl, pyarrow.parquet as pq

readers = {
    "polars": lambda: pl.read_parquet("v.parquet")["v"].to_list(),
    "duckdb": lambda: [value for (value,) in duckdb.sql("SELECT v FROM 'v.parquet'").fetchall()],
    "pyarrow": lambda: pq.read_table("v.parquet", columns=["n"])["n"].to_pylist(),
}
frame = pl.DataFrame({"v": pl.Series([2**100, -1], dtype=pl.Int128), "n": [1, 2]})
for name, written in {"Int128": frame, "Decimal": frame.with_columns(pl.col("v").cast(pl.Decimal(38, 0)))}.items():
    written.write_parquet("v.parquet")
    print(name)
    for reader, read in readers.items():
        try:
            print(f"  {reader}: {read()}")
        except Exception as error:
            print(f"  {reader}: {type(error).__name__}: {error}")
P
python/bin/python values.py | tee seen
diff - seen <<'T' && echo "as described"
Int128
  polars: [1267650600228229401496703205376, -1]
  duckdb: [b'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00', b'\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff']
  pyarrow: ArrowNotImplementedError: Integers with more than 64 bits not implemented
Decimal
  polars: [Decimal('1267650600228229401496703205376'), Decimal('-1')]
  duckdb: [Decimal('1267650600228229401496703205376'), Decimal('-1')]
  pyarrow: [1, 2]
T
