"""Features as the tools of action localisation read them: one ``.npy`` a video, a JSON in ActivityNet's form, and the numbers
that their settings ask for; also one parquet table."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videoswin.data.clips import Clip
from videoswin.errors import ConfigError, VideoError
from videoswin.features.dense import DenseFacts
from videoswin.features.leftovers import Layout, remove_leftovers
from videoswin.features.look import Pool
from videoswin.features.rows_file import copy_as_npy, sum_of_file
from videoswin.predict.plain_text import json_text
from videoswin.storage.atomic import replace_file
from videoswin.storage.extras import require_pyarrow

__all__ = [
    "INDEX",
    "SETTINGS",
    "TABLE",
    "Entry",
    "no_features",
    "parsed_index",
    "read_features_index",
    "video_names",
    "write_layouts",
]

INDEX, SETTINGS, ACTIVITYNET, TABLE = "index.jsonl", "features.json", "activitynet.json", "features.parquet"
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Entry:
    """The features of one video."""

    row: Clip
    segments: tuple[Clip, ...]
    """What the list says about it."""
    store: Path
    pattern: str
    """The tensor of stage N in the store is ``pattern.format(N)``."""
    facts: DenseFacts | None
    """What a row means; None: there is one, about the middle clip."""
    seconds: float | None = None
    """How long that is of which the middle clip was looked at: the video, or the part that ``row`` names."""

    @property
    def duration_s(self) -> float | None:
        """Of the whole video, where it is known."""
        if self.facts:
            return self.facts.duration_s
        return None if self.row.is_part else self.seconds

    def end_of(self, row: Clip) -> float | None:
        """Where a segment of it ends."""
        if row.end is not None or self.facts:
            return row.end if row.end is not None else self.duration_s
        return None if self.seconds is None else row.start + self.seconds


def write_layouts(
    out: Path,
    entries: Sequence[Entry],
    stages: Sequence[int],
    pool: Pool,
    facts: Mapping[str, Any],
    failures: Sequence[VideoError],
    *,
    parquet: bool = False,
) -> Layout:
    """Write ``stageN/NAME.npy``, ``activitynet.json``, ``features.json`` and ``index.jsonl`` (last) into ``out``; with ``parquet``
    also ``features.parquet``. Files of videos that are no longer in the list stay if they are of the same stages, checkpoint and
    settings; what else an earlier run wrote is removed. Gives what was written.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = video_names([entry.row for entry in entries])
    written = (f"stage{stage}/{name}.npy" for stage in stages for name in names)
    layout = Layout(written, stages, TABLE if parquet else None, facts)
    layout.removed = remove_leftovers(out, layout, SETTINGS, TABLE)
    (out / INDEX).unlink(missing_ok=True)  # until all is there again, this is no folder of features
    shapes: dict[int, tuple[int, ...]] = {}
    sums: dict[str, dict[str, str]] = {name: {} for name in names}
    for stage in stages:
        (out / f"stage{stage}").mkdir(exist_ok=True)
        for name, entry in zip(names, entries, strict=True):
            to = out / f"stage{stage}" / f"{name}.npy"
            rows = entry.facts is not None or pool == "spatial"
            shapes[stage], sums[name][f"stage{stage}"] = copy_as_npy(entry.store, entry.pattern.format(stage), to, rows)
    for name, entry in zip(names, entries, strict=True):
        if entry.facts is None:
            sums[name]["store"] = sum_of_file(entry.store)
    if parquet:
        _write_table(out, names, entries, {stage: shapes[stage][-1] if shapes else -1 for stage in stages}, pool)
    _write(out / ACTIVITYNET, json_text(_activitynet(names, entries), indent=1) + "\n")
    _write(out / SETTINGS, json_text({**facts, **_settings(entries, shapes)}, indent=1) + "\n")
    lines = [_line(out, name, entry) | {"sums": sums[name]} for name, entry in zip(names, entries, strict=True)]
    lines += [{"name": None, "path": str(error.path), "error": " ".join(str(error).split())} for error in failures]
    _write(out / INDEX, "".join(json_text(line) + "\n" for line in lines))
    return layout


def read_features_index(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(``features.json``, the lines of ``index.jsonl`` that have features).

    Raises:
        ConfigError: ``folder`` was not written by ``videoswin features``.
    """
    try:
        texts = [(folder / name).read_bytes() for name in (SETTINGS, INDEX)]
    except OSError as error:
        raise no_features(str(folder)) from error
    return parsed_index(*texts, name=str(folder))


def parsed_index(settings: bytes, index: bytes, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same from what the two files hold; ``name`` is what errors call the place."""
    try:
        facts: dict[str, Any] = json.loads(settings)
        lines = [json.loads(line) for line in index.decode().splitlines()]
        found = [line for line in lines if line["error"] is None]
        count = facts.get("videos", len(found))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise no_features(name) from error
    if len(found) != count:
        raise ConfigError(
            f"{name}: {INDEX} names {len(found)} videos, and {SETTINGS} counts {count}: they are of different runs, or "
            "were cut off. Repeat the command that made them."
        )
    return facts, found


def no_features(name: str) -> ConfigError:
    """An error that says how they are made."""
    hint = "Make them first: videoswin features DATA --weights CHECKPOINT --out FOLDER"
    return ConfigError(f"{name}: holds no features that can be read. {hint}")


def video_names(rows: Sequence[Clip]) -> list[str]:
    """A name for each row's files: the file's own without suffix; where several have it, with folders in front, and the
    suffix and the seconds behind, as far as needed."""
    plain = [row.path.stem for row in rows]
    times = [f"@{row.start:g}-{'end' if row.end is None else f'{row.end:g}'}" if row.is_part else "" for row in rows]
    names = [name + time for name, time in zip(plain, times, strict=True)]
    for parents in range(1, 64):
        count = Counter(names)
        if max(count.values(), default=1) == 1:
            return names
        names = [
            name if count[name] == 1 else "__".join([*row.path.parts[-1 - parents : -1], row.path.name]) + time
            for name, row, time in zip(names, rows, times, strict=True)
        ]
    raise ConfigError(f'"{Counter(names).most_common(1)[0][0]}" is listed several times. List each clip once.')


def _settings(entries: Sequence[Entry], shapes: Mapping[int, tuple[int, ...]]) -> dict[str, Any]:
    """Under the names that ActionFormer and its kin have for them; frames are sampled ones, ``default_fps`` a second."""
    dense = [entry.facts for entry in entries if entry.facts]
    rates = {round(facts.fps, 6) for facts in dense}
    return {
        "file_ext": ".npy",
        "input_dim": {
            f"stage{stage}": shape[1 if len(shape) > 3 else len(shape) - 1] for stage, shape in shapes.items()
        },
        "feat_stride": dense[0].stride if dense else None,
        "num_frames": dense[0].span if dense else None,
        "offset": dense[0].span / 2 / dense[0].stride if dense else None,
        "default_fps": rates.pop() if len(rates) == 1 else None,
        "videos": len(entries),
    }


def _activitynet(names: Sequence[str], entries: Sequence[Entry]) -> dict[str, Any]:
    labels = sorted({row.label for entry in entries for row in entry.segments if row.label})
    numbers = {label: number for number, label in enumerate(labels)}
    database = {}
    for name, entry in zip(names, entries, strict=True):
        database[name] = {
            "path": str(entry.row.path),
            "subset": entry.row.split or "unlabeled",
            "duration": entry.duration_s,
            "fps": entry.facts.fps if entry.facts else None,
            "annotations": [
                {
                    "segment": [row.start, entry.end_of(row)],
                    "label": row.label,
                    "label_id": numbers[row.label],
                }
                for row in entry.segments
                if row.label
            ],
        }
    return {"version": "videoswin features", "taxonomy": labels, "database": database}


def _line(out: Path, name: str, entry: Entry) -> dict[str, Any]:
    row, facts = entry.row, entry.facts
    return {
        "name": name,
        "path": str(row.path),
        "label": row.label,
        "split": row.split,
        "group": row.group,
        "start": row.start,
        "end": row.end,
        "store": entry.store.relative_to(out).as_posix(),
        "pattern": entry.pattern,
        "rows": facts.rows if facts else 1,
        "fps": facts.fps if facts else None,
        "stride": facts.stride if facts else None,
        "span": facts.span if facts else None,
        "duration_s": entry.duration_s,
        "repeated": facts.repeated if facts else None,
        "error": None,
    }


def _write_table(
    out: Path, names: Sequence[str], entries: Sequence[Entry], widths: Mapping[int, int], pool: Pool
) -> None:
    """One row of the table for each row of features, its stages side by side, each vector of a fixed length: vector databases
    ask for that (-1: of any)."""
    if pool != "mean":
        raise ConfigError(f'A parquet table holds one vector a row: use pool="mean", not "{pool}".')
    require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.float64()
    columns = [("name", text), ("path", text), ("label", text), ("split", text), ("row", pa.int32())]
    columns += [("start_s", number), ("end_s", number)]
    columns += [(f"stage{stage}", pa.list_(pa.float32(), width)) for stage, width in widths.items()]
    schema = pa.schema(columns)
    with replace_file(out / TABLE) as new, pq.ParquetWriter(new, schema, compression="zstd") as writer:
        for name, entry in zip(names, entries, strict=True):
            files = [np.load(out / f"stage{stage}" / f"{name}.npy", mmap_mode="r") for stage in widths]
            for first in range(0, len(files[0]), _ROWS_AT_ONCE):
                writer.write_table(
                    _batch(name, entry, [f[first : first + _ROWS_AT_ONCE] for f in files], first, schema)
                )


def _batch(name: str, entry: Entry, files: Sequence[Any], first: int, schema: Any) -> Any:
    import pyarrow as pa

    count, facts, row = len(files[0]), entry.facts, entry.row
    numbers = np.arange(first, first + count, dtype=np.int32)
    if facts:
        starts = numbers * facts.stride / facts.fps
        spans = [pa.array(starts), pa.array(starts + facts.span / facts.fps)]
    else:
        spans = [pa.array([row.start] * count, pa.float64()), pa.array([row.end] * count, pa.float64())]
    same = [pa.array([value] * count, pa.string()) for value in (name, str(row.path), row.label, row.split)]
    vectors = [pa.FixedSizeListArray.from_arrays(np.array(values).ravel(), values.shape[1]) for values in files]
    return pa.Table.from_arrays([*same, pa.array(numbers), *spans, *vectors], schema=schema)


def _write(path: Path, text: str) -> None:
    with replace_file(path) as new:
        new.write_text(text, encoding="utf-8")
