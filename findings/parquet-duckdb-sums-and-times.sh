#!/usr/bin/env bash
# Values that DuckDB exports to Parquet come back different, without an error.
#
# - `sum()` of a BIGINT column has the type HUGEINT, and Parquet output stores HUGEINT as DOUBLE: a sum of
#   9007199254740993 is read back as 9007199254740992.0, by DuckDB too. A cast to DECIMAL(38, 0) keeps it, except in
#   fastparquet, which decodes decimals as floats.
# - TIME '24:00:00' (PostgreSQL has it as well) is written as 86,400,000,000 microseconds. DuckDB reads it back,
#   pyarrow returns 00:00:00, polars returns null, fastparquet returns one day.
# - A JSON column carries the logical type JSON: pyarrow returns text, polars returns bytes, fastparquet returns the
#   decoded object.
# - TIMETZ is stored in UTC without its zone: '10:00:00+05' becomes 05:00.
#
# Seen with: duckdb 2.0.0, pyarrow 26.0.1, polars 2.1.0, fastparquet 2026.9.0 with pandas 3.1.1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv python
python/bin/pip -q install duckdb==2.0.0 pytz==2025.2 pyarrow==26.0.1 polars==2.1.0 fastparquet==2026.9.0 pandas==3.1.1

cat >values.py <<'P'
import warnings
warnings.simplefilter("ignore")
import duckdb, pandas, polars, pyarrow.parquet

readers = {
    "duckdb": lambda: duckdb.sql("SELECT v::VARCHAR FROM 'v.parquet'").fetchall()[0][0],
    "pyarrow": lambda: pyarrow.parquet.read_table("v.parquet")["v"].to_pylist()[0],
    "polars": lambda: polars.read_parquet("v.parquet")["v"].to_list()[0],
    "fastparquet": lambda: pandas.read_parquet("v.parquet", engine="fastparquet")["v"].tolist()[0],
}
for query in (
    "SELECT sum(n) AS v FROM (VALUES (9007199254740992), (1)) t(n)",
    "SELECT sum(n)::DECIMAL(38, 0) AS v FROM (VALUES (9007199254740992), (1)) t(n)",
    "SELECT TIME '24:00:00' AS v",
    "SELECT TIMETZ '10:00:00+05' AS v",
    """SELECT '{"a":1}'::JSON AS v""",
):
    duckdb.sql(f"COPY ({query}) TO 'v.parquet'")
    print(query)
    for name, read in readers.items():
        print(f"  {name}: {read()!r}")
P
python/bin/python values.py | tee seen
diff - seen <<'T' && echo "as described"
SELECT sum(n) AS v FROM (VALUES (9007199254740992), (1)) t(n)
  duckdb: '9007199254740992.0'
  pyarrow: 9007199254740992.0
  polars: 9007199254740992.0
  fastparquet: 9007199254740992.0
SELECT sum(n)::DECIMAL(38, 0) AS v FROM (VALUES (9007199254740992), (1)) t(n)
  duckdb: '9007199254740993'
  pyarrow: Decimal('9007199254740993')
  polars: Decimal('9007199254740993')
  fastparquet: 9007199254740992.0
SELECT TIME '24:00:00' AS v
  duckdb: '24:00:00'
  pyarrow: datetime.time(0, 0)
  polars: None
  fastparquet: Timedelta('1 days 00:00:00')
SELECT TIMETZ '10:00:00+05' AS v
  duckdb: '05:00:00+00'
  pyarrow: datetime.time(5, 0)
  polars: datetime.time(5, 0)
  fastparquet: Timedelta('0 days 05:00:00')
SELECT '{"a":1}'::JSON AS v
  duckdb: '{"a":1}'
  pyarrow: '{"a":1}'
  polars: b'{"a":1}'
  fastparquet: {'a': 1}
T
