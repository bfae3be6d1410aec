"""The parts of a batch's table: what is in one, and what its name says.

A part holds the same consecutive rows of the manifest in every run, and nothing else decides what is in it. So the names say what
is done, and a part that is computed again after a kill is the same to the last byte. How many of its files failed is part of the
name: a restart knows it without opening anything.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from videoswin.errors import ConfigError

__all__ = ["TABLE", "part_name", "part_table", "parts_named", "require_only_parts"]

TABLE = "table"
"""The folder with the parts, inside the batch's own: all of it is the table."""
_NAME = re.compile(r"part-(\d{7,})(?:\.(\d+)-failed)?\.parquet")


def part_name(number: int, failed: int) -> str:
    """``part-0000012.parquet``, or ``part-0000012.3-failed.parquet``."""
    return f"part-{number:07d}{f'.{failed}-failed' if failed else ''}.parquet"


def parts_named(names: Iterable[str]) -> dict[int, dict[int, str]]:
    """Number of each part -> how many of its files failed -> its name. More than one name of a part is left by a worker that
    was killed, or lost its driver, between the writing and the telling, where a file failed once and not again."""
    found: dict[int, dict[int, str]] = {}
    for name in names:
        if parsed := _NAME.fullmatch(name):
            found.setdefault(int(parsed[1]), {})[int(parsed[2] or 0)] = name
    return found


def require_only_parts(done: Iterable[int], count: int, name: str) -> None:
    """A :class:`ConfigError` if there are parts that this batch does not have."""
    if beyond := [number for number in done if number >= count]:
        raise ConfigError(f"{name}: holds part {max(beyond)}, and this batch has {count}. Give a new folder.")


def part_table(rows: Sequence[Mapping[str, Any]], features: bool, timeline: bool) -> bytes:
    """The rows as a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(features, timeline)
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), file, compression="zstd", store_schema=True)
    return file.getvalue()


def _schema(features: bool, timeline: bool) -> Any:
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    score = pa.struct([("label", text), ("score", number)])
    segment = pa.struct([("start_s", number), ("end_s", number), ("label", text), ("score", number)])
    columns = [
        ("row", pa.int64()),
        ("path", text),
        ("label", text),
        ("score", number),
        ("predictions", pa.list_(score)),
        ("duration_s", number),
        ("complete", pa.bool_()),
        *([("features", pa.list_(pa.float32()))] if features else []),
        *([("segments", pa.list_(segment))] if timeline else []),
        ("error", text),
    ]
    return pa.schema(columns)
