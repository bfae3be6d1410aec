"""The findings of an audit as one page that stands alone, with the clips as moving thumbnails."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from videoswin.audit.copies import Copy
from videoswin.audit.findings import Findings
from videoswin.data.clips import name_of
from videoswin.data.containers import Limits
from videoswin.errors import VideoError
from videoswin.predict.films import Film, film_between
from videoswin.predict.pages import render_page
from videoswin.storage.atomic import replace_file

__all__ = ["write_audit_page"]

_MOST = 60  # pairs, and doubtful labels, with films
_MOST_OF_PLACE = 12
_DEFAULT = Limits()


def write_audit_page(
    path: Path, findings: Findings, title: str, limits: Limits = _DEFAULT, made: datetime | None = None
) -> None:
    """Writes the page; an older one is replaced only when the new one is complete."""
    rows = findings.rows
    pairs = sorted(findings.copies, key=lambda c: (not findings.crosses(c), -c.motion))
    text = render_page(
        "audit.html",
        title=title,
        made=made or datetime.now().astimezone(),
        clips=len(rows),
        classes=_classes(findings),
        splits=sorted({row.split for row in rows}),
        groups=len({row.group for row in rows if row.group}),
        lines=findings.lines,
        pairs=[_pair(findings, copy, limits) for copy in pairs[:_MOST]],
        pairs_total=len(pairs),
        places=[_place(findings, place, limits) for place in findings.places[:10]],
        places_total=len(findings.places),
        doubts=None if findings.doubts is None else [_doubt(findings, d, limits) for d in findings.doubts[:_MOST]],
        doubts_total=len(findings.doubts or ()),
        odd=[{**_clip(findings, n, None), "why": why} for n, why in [*findings.unreadable, *findings.odd]],
    )
    with replace_file(path) as new:
        new.write_text(text, encoding="utf-8", errors="backslashreplace")


def _classes(findings: Findings) -> list[dict[str, Any]]:
    counts = Counter((name, row.split) for row in findings.rows for name in row.classes)
    total = Counter(name for row in findings.rows for name in row.classes)
    splits = sorted({row.split for row in findings.rows})
    most = max(total.values(), default=1)
    return [
        {"label": label, "n": n, "share": n / most, "splits": [counts[label, split] for split in splits]}
        for label, n in total.most_common()
    ]


def _clip(findings: Findings, number: int, film: Film | None) -> dict[str, Any]:
    row = findings.rows[number]
    return {"name": name_of(row), "label": row.label, "split": row.split, "group": row.group, "film": film}


def _pair(findings: Findings, copy: Copy, limits: Limits) -> dict[str, Any]:
    """Both clips at the moments that they have in common, so that their films run side by side."""
    start = max(0.0, copy.delay_s)
    first = _film(findings, copy.first, limits, start, start + copy.overlap_s)
    start -= copy.delay_s
    second = _film(findings, copy.second, limits, start, start + copy.overlap_s)
    return {
        "words": copy.words,
        "motion": copy.motion,
        "crosses": findings.crosses(copy),
        "unlike": set(findings.rows[copy.first].classes) != set(findings.rows[copy.second].classes),
        "both": [_clip(findings, copy.first, first), _clip(findings, copy.second, second)],
    }


def _place(findings: Findings, place: tuple[int, ...], limits: Limits) -> dict[str, Any]:
    shown = [_clip(findings, n, _film(findings, n, limits)) for n in place[:_MOST_OF_PLACE]]
    return {"n": len(place), "clips": shown, "splits": Counter(findings.rows[n].split for n in place).most_common()}


def _doubt(findings: Findings, doubt: Any, limits: Limits) -> dict[str, Any]:
    clip = _clip(findings, doubt.number, _film(findings, doubt.number, limits))
    return {**clip, "other": doubt.other, "score": doubt.score, "given": doubt.given}


def _film(findings: Findings, number: int, limits: Limits, start: float = 0.0, end: float | None = None) -> Film | None:
    try:
        return film_between(findings.rows[number], start, end, limits=limits)
    except VideoError:  # it was there a moment ago
        return None
