"""Segments as tables: those of BORIS and of CreateML."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from videoswin.data.segments.marks import mark_of
from videoswin.data.segments.safe import text_of, wrong
from videoswin.data.segments.tracks import Mark, Track, frame_span

__all__ = ["read_boris", "read_createml", "write_boris", "write_createml"]


def _table(path: Path, names: dict[str, Sequence[str]]) -> list[dict[str, str]]:
    """Rows under our names; ``names``: ours -> what the column may be called. Lines above the header are passed over."""
    text = text_of(path)
    dialect = "excel-tab" if "\t" in text.partition("\n")[0] else "excel"
    rows = list(csv.reader(io.StringIO(text, newline=""), dialect))
    for at, row in enumerate(rows[:50]):
        cells = [cell.strip().lower() for cell in row]
        found = {ours: next((cells.index(t) for t in theirs if t in cells), None) for ours, theirs in names.items()}
        if all(place is not None for place in found.values()):
            return [
                {ours: line[place] for ours, place in found.items() if place is not None}
                for line in rows[at + 1 :]
                if len(line) >= len(cells)
            ]
    raise wrong(path, f"it has no columns {', '.join(theirs[0] for theirs in names.values())}")


def _from_table(path: Path, rows: list[dict[str, str]]) -> list[Track]:
    tracks: dict[str, list[Mark]] = {}
    for row in rows:
        tracks.setdefault(row["path"], []).append(mark_of(path, row["start"], row["end"], row["label"]))
    return [Track(video, tuple(marks)) for video, marks in tracks.items()]


def read_boris(path: Path) -> list[Track]:
    """Tracks of a file. Raises ConfigError."""
    names = {
        "path": ("media file name", "media file", "media file path"), "label": ("behavior",),
        "start": ("start (s)",), "end": ("stop (s)",),
    }  # fmt: skip
    return _from_table(path, _table(path, names))


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
    names = {
        "path": ("video", "filename", "file", "path"), "label": ("label", "annotation"),
        "start": ("start", "starttime", "start_time"), "end": ("end", "endtime", "end_time"),
    }  # fmt: skip
    return _from_table(path, _table(path, names))


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
