#!/usr/bin/env bash
# Durations in Parquet files are integers without a unit, or times of a day.
#
# - Parquet has no type for durations. Arrow and Polars write integers; the unit is only in the Arrow schema among
#   the metadata, so DuckDB and other readers of the plain Parquet schema return numbers of an unknown unit.
# - fastparquet writes durations as TIME_MICROS. Those below zero or above 24 hours are no time of a day: DuckDB
#   fails on the column, and pyarrow returns another time.
#
# Seen with: pyarrow 26.0.1, polars 2.1.0, duckdb 2.0.1, pandas 3.1.1, fastparquet 2026.9.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv python
python/bin/pip -q install polars==2.1.0 pyarrow==26.0.1 duckdb==2.0.1 pandas==3.1.1 fastparquet==2026.9.0

cat >values.py <<'P'
import warnings
warnings.simplefilter("ignore")
from datetime import timedelta
import duckdb, pandas as pd, polars as pl, pyarrow as pa, pyarrow.parquet as pq

hours = [timedelta(hours=1), timedelta(hours=50), timedelta(seconds=-1)]
writers = {
    "pyarrow": lambda: pq.write_table(pa.table({"d": pa.array(hours, pa.duration("ms"))}), "d.parquet"),
    "polars": lambda: pl.DataFrame({"d": hours}).write_parquet("d.parquet"),
    "fastparquet": lambda: pd.DataFrame({"d": hours}).to_parquet("d.parquet", engine="fastparquet"),
}
readers = {
    "duckdb": lambda: [str(value) for (value,) in duckdb.sql("SELECT d::text FROM 'd.parquet'").fetchall()],
    "pyarrow": lambda: [str(value) for value in pq.read_table("d.parquet")["d"].to_pylist()],
}
for writer, write in writers.items():
    write()
    print(writer)
    for reader, read in readers.items():
        try:
            print(f"  {reader}: {read()}")
        except Exception as error:
            print(f"  {reader}: {type(error).__name__}: {error}")
P
python/bin/python values.py | tee seen
diff - seen <<'T' && echo "as described"
pyarrow
  duckdb: ['3600000', '180000000', '-1000']
  pyarrow: ['1:00:00', '2 days, 2:00:00', '-1 day, 23:59:59']
polars
  duckdb: ['3600000000', '180000000000', '-1000000']
  pyarrow: ['1:00:00', '2 days, 2:00:00', '-1 day, 23:59:59']
fastparquet
  duckdb: InvalidInputException: Invalid Input Error: Invalid TIME value 180000000000 in Parquet file - TIME values must be within a day
  pyarrow: ['01:00:00', '02:00:00', '23:59:59']
T
