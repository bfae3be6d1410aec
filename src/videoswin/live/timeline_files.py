"""A timeline as files: CSV and JSON for programs, WebVTT for players, a picture, and a page with the video beside it."""

import csv
import html
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from videoswin.live.timeline import LabelledSegment, Timeline
from videoswin.predict.pages import render_page
from videoswin.storage.atomic import replace_file

__all__ = ["clock_time", "to_webvtt", "write_timeline"]

_COLOURS = (
    "#1f6feb",
    "#d9730d",
    "#2a9d57",
    "#c2368b",
    "#8250df",
    "#0b8a8f",
    "#b3261e",
    "#7a6a00",
    "#4b5bd6",
    "#9a5b13",
)
_PICTURE_BINS = 2000


def write_timeline(timeline: Timeline, folder: Path, page_title: str | None = None) -> list[Path]:
    """Write ``timeline.csv``, ``.json``, ``.vtt``, ``.png`` and ``.html`` into an existing folder; each whole or not at all."""
    texts = {
        "timeline.csv": _csv_text(timeline),
        "timeline.json": json.dumps(timeline.to_dict(), indent=2, ensure_ascii=False) + "\n",
        "timeline.vtt": to_webvtt(timeline.segments),
        "timeline.html": to_page(timeline, folder, page_title or Path(timeline.path).name),
    }
    written = []
    for name, text in texts.items():
        with replace_file(folder / name) as new:
            new.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
        written.append(folder / name)
    with replace_file(folder / "timeline.png") as new:
        draw(timeline, new)
    return [*written, folder / "timeline.png"]


def clock_time(seconds: float) -> str:
    """``1:02:03.45``, or ``2:03.45`` within the first hour."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    text = (
        f"{minutes:02d}:{rest // 100:02d}.{rest % 100:02d}"
        if hours
        else f"{minutes}:{rest // 100:02d}.{rest % 100:02d}"
    )
    return f"{hours}:{text}" if hours else text


def to_webvtt(segments: Sequence[LabelledSegment]) -> str:
    """Subtitles (W3C WebVTT): one cue a segment."""
    cues = ["WEBVTT\n"]
    for number, segment in enumerate(segments, 1):
        label = html.escape(" ".join(segment.label.split()), quote=False)  # "-->" and blank lines would end a cue
        times = f"{_vtt_time(segment.start_s)} --> {_vtt_time(segment.end_s)}"
        cues.append(f"{number}\n{times}\n{label} ({100 * segment.score:.0f} %)\n")
    return "\n".join(cues)


def _vtt_time(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _csv_text(timeline: Timeline) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["start_s", "end_s", "label", "score"])
    writer.writerows([f"{s.start_s:.3f}", f"{s.end_s:.3f}", s.label, f"{s.score:.4f}"] for s in timeline.segments)
    return file.getvalue()


def to_page(timeline: Timeline, folder: Path, title: str) -> str:
    """The page; the video is named by its path from ``folder``, so the two can be moved together."""
    shown = _shown_labels(timeline)
    duration = max(timeline.duration_s, 1e-3)
    rows = [
        {
            "label": label,
            "colour": _COLOURS[number % len(_COLOURS)],
            "seconds": sum(s.end_s - s.start_s for s in timeline.segments if s.label == label),
            "segments": [
                {"s": s, "left": 100 * s.start_s / duration, "width": 100 * (s.end_s - s.start_s) / duration}
                for s in timeline.segments
                if s.label == label
            ],
        }
        for number, label in enumerate(shown)
    ]
    return render_page(
        "timeline.html",
        title=title,
        timeline=timeline,
        rows=rows,
        video=_address(timeline.path, folder),
        clock=clock_time,
    )


def _address(path: str, folder: Path) -> str:
    """The video's address as seen from a page in ``folder``."""
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return Path(path).absolute().as_uri()
    return quote(Path(relative).as_posix().encode("utf-8", "surrogateescape"))


def _shown_labels(timeline: Timeline) -> list[str]:
    """The labels that occur, in the checkpoint's order."""
    found = {segment.label for segment in timeline.segments}
    return [label for label in timeline.labels if label in found]


def draw(timeline: Timeline, path: Path) -> None:
    """A row for each label that occurs, and below them the score of the best label over time."""
    from matplotlib.figure import Figure  # slow to import

    shown = _shown_labels(timeline)
    figure = Figure(figsize=(12, 1.9 + 0.32 * max(1, len(shown))), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[max(1, len(shown)), 2])
    for number, label in enumerate(shown):
        spans = [(s.start_s, s.end_s - s.start_s) for s in timeline.segments if s.label == label]
        above.broken_barh(spans, (number - 0.38, 0.76), facecolors=_COLOURS[number % len(_COLOURS)])
    above.set_yticks(range(len(shown)), [_short(label) for label in shown])
    above.set_ylim(max(1, len(shown)) - 0.5, -0.5)
    above.set_title(_short(f"{Path(timeline.path).name}: {len(timeline.segments)} segments", 90), loc="left")
    step = max(1, len(timeline.curve) // _PICTURE_BINS)
    below.plot(timeline.curve.times[::step], timeline.curve.scores[::step], color="#5d6a7c", linewidth=0.8)
    below.set_ylim(0, 1.02)
    below.set_ylabel("best score")
    below.set_xlabel("seconds")
    below.set_xlim(0, max(timeline.duration_s, 1e-3))
    for axes in (above, below):
        axes.grid(axis="x", color="#e1e6ed", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, format="png")


def _short(text: str, longest: int = 28) -> str:
    """Plain text of a bounded length: matplotlib would read dollars as formulas."""
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return text.replace("$", r"\$")
