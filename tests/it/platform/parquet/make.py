"""Writes the Parquet files in this directory with an implementation other than the one under test.

    python3 -m venv /tmp/pyarrow && /tmp/pyarrow/bin/pip install pyarrow==26.0.1
    /tmp/pyarrow/bin/python tests/it/platform/parquet/make.py
"""

from datetime import date, datetime, time, timezone
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
UTC = timezone.utc


def types():
    """Every plain type, once with an extreme value and once null."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    wall = moment.replace(tzinfo=None)
    columns = {
        "boolean": (pa.bool_(), True),
        "small": (pa.int8(), -128),
        "unsigned": (pa.uint32(), 4294967295),
        "long": (pa.int64(), -9223372036854775808),
        "longest": (pa.uint64(), 18446744073709551615),
        "half": (pa.float16(), -1.5),
        "single": (pa.float32(), 0.1),
        "double": (pa.float64(), float("inf")),
        "money": (pa.decimal128(10, 2), Decimal("-0.05")),
        "large": (pa.decimal128(38, 10), Decimal("1234567890123456789012345678.0123456789")),
        "larger": (pa.decimal256(70, 0), Decimal("-" + "1234567890" * 7)),
        "text": (pa.string(), "naïve"),
        "json": (pa.json_(), '{"a": [1, null]}'),
        "bytes": (pa.binary(), b"\x00\xff"),
        "fixed": (pa.binary(3), b"abc"),
        "uuid": (pa.uuid(), bytes(range(16))),
        "date": (pa.date32(), date(1969, 12, 31)),
        "time": (pa.time64("us"), time(23, 59, 59, 999999)),
        "millis": (pa.timestamp("ms", "UTC"), moment.replace(microsecond=678000)),
        "micros": (pa.timestamp("us", "UTC"), moment),
        "nanos": (pa.timestamp("ns", "UTC"), pa.scalar(1767323045678901234, pa.int64()).cast(pa.timestamp("ns", "UTC"))),
        "wall": (pa.timestamp("us"), wall),
    }
    fields = [pa.field(name, kind) for name, (kind, _) in columns.items()]
    arrays = []
    for kind, value in columns.values():
        storage = getattr(kind, "storage_type", kind)
        array = pa.array([value, None], storage)
        arrays.append(pa.ExtensionArray.from_storage(kind, array) if storage is not kind else array)
    return pa.table(arrays, schema=pa.schema(fields))


def nested():
    """Nested lists, maps and structs, with nulls and empty values at every depth."""
    station = pa.struct([("name", pa.string()), ("docks", pa.list_(pa.int32()))])
    schema = pa.schema([
        pa.field("id", pa.int32(), nullable=False),
        ("tags", pa.list_(pa.string())),
        ("grid", pa.list_(pa.list_(pa.int32()))),
        ("prices", pa.map_(pa.string(), pa.float64())),
        ("by_number", pa.map_(pa.int32(), pa.string())),
        ("station", station),
        ("stations", pa.list_(station)),
    ])
    rows = [
        {"id": 1, "tags": ["a", None, ""], "grid": [[1, 2], [], None, [3]], "prices": [("x", 1.5), ("y", None)],
         "by_number": [(7, "seven")], "station": {"name": "Pier", "docks": [1, 2]},
         "stations": [{"name": "A", "docks": None}, None, {"name": None, "docks": [9]}]},
        {"id": 2, "tags": [], "grid": [], "prices": [], "by_number": [], "station": {"name": None, "docks": []},
         "stations": []},
        {"id": 3, "tags": None, "grid": None, "prices": None, "by_number": None, "station": None, "stations": None},
        {"id": 4, "tags": ["last"], "grid": [[None]], "prices": [("z", 0.0)], "by_number": None,
         "station": {"name": "Quay", "docks": None}, "stations": [{"name": "B", "docks": [1, None, 3]}]},
    ]
    return pa.Table.from_pylist(rows, schema)


def old():
    """A timestamp of twelve bytes, as written by older engines."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678901)
    return pa.table({"at": pa.array([at, None, datetime(1900, 1, 1)], pa.timestamp("us"))})


pq.write_table(types(), HERE / "types.parquet", compression="snappy", store_schema=False)
pq.write_table(nested(), HERE / "nested.parquet", compression="zstd", row_group_size=2, data_page_version="2.0")
pq.write_table(old(), HERE / "old.parquet", compression="gzip", use_deprecated_int96_timestamps=True)
pq.write_table(old(), HERE / "lz4.parquet", compression="lz4")
