#!/usr/bin/env bash
# PostgreSQL writes timestamps as recent as 1971 into JSON with seconds in the offset, which most readers refuse.
#
# Africa/Monrovia was 44 minutes and 30 seconds behind UTC until January 1972, and every zone had such an offset before
# standard time. `to_json` (and with it `row_to_json`, `jsonb_build_object`, PostgREST) writes the offset of the session's
# time zone: `1971-06-01T00:00:00-00:44:30`. Years before Christ get a suffix, ` BC`. The same row is plain ISO 8601 when
# the session's `TimeZone` is UTC, so the answer depends on who asks.
# Python's `fromisoformat` and DuckDB read seconds in an offset. JavaScript's Date, python-dateutil, pandas, pyarrow and
# polars refuse them. None of the seven reads the suffix.
#
# Seen with: PostgreSQL 16.2 (pgserver 0.1.4), CPython 3.11, python-dateutil 4.0.0, pandas 3.1.1, pyarrow 26.0.1,
# polars 2.1.0, duckdb 2.0.0, Node.js 20.
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder"
cd "$folder"

python3 -m venv python
python/bin/pip -q install pgserver==0.1.4 python-dateutil==4.0.0 pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0 duckdb==2.0.0
bin=$(echo python/lib/python3*/site-packages/pgserver/pginstall/bin)
as=()
mkdir data socket
if ((EUID == 0)); then
    as=(setpriv --reuid nobody --regid nogroup --clear-groups)
    chown nobody data socket
fi
stop() {
    [[ -z ${server-} ]] || { kill "$server"; wait "$server" || true; }
    rm -rf "$folder"
}
trap stop EXIT
"${as[@]}" "$bin/initdb" -D data -U reader --auth=trust --encoding=UTF8 --locale=C --no-sync >log
"${as[@]}" "$bin/postgres" -D data -c listen_addresses= -c unix_socket_directories="$folder/socket" 2>log &
server=$!
query() { "$bin/psql" -h "$folder/socket" -U reader -d postgres -qAtX -c "$1"; }
for _ in $(seq 100); do query 'SELECT 1' >ready 2>&1 && break; sleep 0.1; done

for zone in Africa/Monrovia UTC; do
    for moment in "1971-06-01 00:44:30+00" "0044-03-15 00:00:00+00 BC"; do
        query "SET TimeZone = '$zone'; SELECT to_json('$moment'::timestamptz) #>> '{}'"
    done
done >moments

cat >readers.py <<'P'
import datetime, subprocess, sys
import dateutil.parser, duckdb, pandas, polars, pyarrow, pyarrow.compute

readers = {
    "fromisoformat": lambda v: datetime.datetime.fromisoformat(v),
    "dateutil": lambda v: dateutil.parser.parse(v),
    "pandas": lambda v: pandas.Timestamp(v),
    "pyarrow": lambda v: pyarrow.compute.cast(pyarrow.array([v]), pyarrow.timestamp("us", "UTC")),
    "polars": lambda v: polars.Series([v]).str.to_datetime(time_zone="UTC"),
    "duckdb": lambda v: duckdb.sql(f"SELECT '{v}'::TIMESTAMPTZ::VARCHAR").fetchall(),
    "Date": lambda v: subprocess.run(["node", "-e", f"new Date({v!r}).toISOString()"], check=True, capture_output=True),
}
for moment in sys.stdin.read().splitlines():
    taken = []
    for name, read in readers.items():
        try:
            read(moment)
            taken.append(name)
        except Exception:
            pass
    print(f"{moment}: read by {', '.join(taken) or 'none'}")
P
python/bin/python readers.py <moments | tee seen
diff - seen <<'T' && echo "as described"
1971-06-01T00:00:00-00:44:30: read by fromisoformat, duckdb
0044-03-14T23:16:52-00:43:08 BC: read by none
1971-06-01T00:44:30+00:00: read by fromisoformat, dateutil, pandas, pyarrow, polars, duckdb, Date
0044-03-15T00:00:00+00:00 BC: read by none
T
