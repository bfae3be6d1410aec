"""Segments as tables: those of BORIS and of CreateML."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from videoswin.data.segments.marks import mark_of
from videoswin.data.segments.safe import text_of, wrong
from videoswin.data.segments.tracks import Mark, Track, frame_span

__all__ = ["kind_of_table", "read_boris", "read_createml", "write_boris", "write_createml"]


_BORIS: dict[str, Sequence[str]] = {
    "path": ("media file name", "media file", "media file path"), "label": ("behavior",),
    "start": ("start (s)",), "end": ("stop (s)",),
}  # fmt: skip
_CREATEML: dict[str, Sequence[str]] = {
    "path": ("video", "filename", "file", "path"), "label": ("label", "annotation"),
    "start": ("start", "starttime", "start_time"), "end": ("end", "endtime", "end_time"),
}  # fmt: skip
_PREAMBLE = 50  # lines above the names of the columns


def kind_of_table(text: str) -> Literal["boris", "createml", "list"] | None:
    """By the names of the columns, for which the beginning of a file is enough. A list of ours, with a column ``path``, can be
    read as one of CreateML."""
    try:
        rows = _rows("\n".join(text.splitlines()[:_PREAMBLE]))
    except csv.Error:
        return None
    if _columns(rows, _BORIS):
        return "boris"
    if found := _columns(rows, _CREATEML):
        return "list" if "path" in [cell.strip().lower() for cell in rows[found[0]]] else "createml"
    return None


def _rows(text: str) -> list[list[str]]:
    dialect = "excel-tab" if "\t" in text.partition("\n")[0] else "excel"
    return list(csv.reader(io.StringIO(text, newline=""), dialect))


def _columns(rows: Sequence[Sequence[str]], names: dict[str, Sequence[str]]) -> tuple[int, dict[str, int]] | None:
    """The line of the names, and where ours are. ``names``: ours -> what the column may be called."""
    for at, row in enumerate(rows[:_PREAMBLE]):
        cells = [cell.strip().lower() for cell in row]
        found = {ours: cells.index(n) for ours, theirs in names.items() for n in reversed(theirs) if n in cells}
        if len(found) == len(names):
            return at, found
    return None


def _table(path: Path, names: dict[str, Sequence[str]]) -> list[dict[str, str]]:
    """Rows under our names. Lines above the header and empty ones are passed over."""
    rows = _rows(text_of(path))
    columns = _columns(rows, names)
    if columns is None:
        raise wrong(path, f"it has no columns {', '.join(theirs[0] for theirs in names.values())}")
    at, places = columns
    filled = [(number, line) for number, line in enumerate(rows[at + 1 :], at + 2) if any(map(str.strip, line))]
    for number, line in filled:
        if len(line) <= max(places.values()):
            raise wrong(path, f"row {number} has {len(line)} cells, fewer than the row of names needs")
    return [{ours: line[place] for ours, place in places.items()} for _, line in filled]


def _from_table(path: Path, rows: list[dict[str, str]]) -> list[Track]:
    tracks: dict[str, list[Mark]] = {}
    for row in rows:
        tracks.setdefault(row["path"], []).append(mark_of(path, row["start"], row["end"], row["label"]))
    return [Track(video, tuple(marks)) for video, marks in tracks.items()]


def read_boris(path: Path) -> list[Track]:
    """Tracks of a file. Raises ConfigError."""
    return _from_table(path, _table(path, _BORIS))


def write_boris(tracks: Sequence[Track]) -> str:
    """The text of a file."""
    header = [
        "Observation id", "Media file name", "Total length", "FPS", "Subject", "Behavior", "Behavioral category", "Behavior type",
        "Start (s)", "Stop (s)", "Duration (s)", "Image index start", "Image index stop",
    ]  # fmt: skip
    rows = []
    for track in tracks:
        for m in track.marks:
            frames = frame_span(m, track) or ("", "")
            length, fps = ("" if value is None else f"{value:.3f}" for value in (track.duration_s, track.fps))
            times = [f"{t:.3f}" for t in (m.start_s, m.end_s, m.end_s - m.start_s)]
            rows.append([Path(track.path).stem, track.path, length, fps, "", m.label, "", "STATE", *times, *frames])
    return _csv(header, rows)


def read_createml(path: Path) -> list[Track]:
    """Tracks of a file. Raises ConfigError."""
    return _from_table(path, _table(path, _CREATEML))


def write_createml(tracks: Sequence[Track]) -> str:
    """The text of a file."""
    rows = [[t.path, m.label, f"{m.start_s:.3f}", f"{m.end_s:.3f}"] for t in tracks for m in t.marks]
    return _csv(["video", "label", "start", "end"], rows)


def _csv(header: list[str], rows: Sequence[Sequence[object]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()
