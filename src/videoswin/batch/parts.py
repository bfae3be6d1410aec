"""The table of a batch: parts of it in files of their own, each there whole or not at all.

A part holds the same consecutive rows of the manifest in every run, and nothing else decides what is in it. So the names of
the files say what is done, and a part that is computed again after a kill is the same to the last byte. Until it is whole it
lies in a hidden folder, which readers of parquet pass over. How many of its files failed is part of the name: a restart
knows it without opening anything.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from videoswin.errors import ConfigError
from videoswin.storage.atomic import replace_file

__all__ = ["TABLE", "done_parts", "part_name", "require_only_parts", "write_part"]

TABLE = "table"
"""The folder with the parts, inside the batch's own: all of it is the table."""
_NAME = re.compile(r"part-(\d{7,})(?:\.(\d+)-failed)?\.parquet")


def part_name(number: int, failed: int) -> str:
    """``part-0000012.parquet``, or ``part-0000012.3-failed.parquet``."""
    return f"part-{number:07d}{f'.{failed}-failed' if failed else ''}.parquet"


def done_parts(folder: Path) -> dict[int, int]:
    """Number of each part that is there -> how many of its files failed."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        found = (_NAME.fullmatch(entry.name) for entry in entries)
        return {int(name[1]): int(name[2] or 0) for name in found if name}


def require_only_parts(done: Iterable[int], count: int, folder: Path) -> None:
    """A :class:`ConfigError` if there are parts that this batch does not have."""
    if beyond := [number for number in done if number >= count]:
        raise ConfigError(f"{folder}: holds part {max(beyond)}, and this batch has {count}. Give a new folder.")


def write_part(folder: Path, number: int, rows: Sequence[Mapping[str, Any]], features: bool, timeline: bool) -> int:
    """Write one part and give the number of rows that have an error."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(features, timeline)
    failed = sum(row["error"] is not None for row in rows)
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    with replace_file(folder / part_name(number, failed)) as new:
        pq.write_table(pa.Table.from_arrays(columns, schema=schema), new, compression="zstd", store_schema=True)
    return failed


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
