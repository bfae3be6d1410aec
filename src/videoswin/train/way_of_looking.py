"""All of each clip, or a quick part of it: which way of choosing frames shows the classes of a set better.

A pointing gesture is known by its whole course, whatever its pace; walking, running and skipping are known by their pace, and
any second of them will do. No figure of lengths and rates tells the two kinds apart, so the frozen features of the start are
asked: linear heads, judged by groups that they have not learnt from. It costs two looks at each clip, and chooses between a
held-out accuracy of .90 and one of .77 (docs/log.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.data.decode import Limits
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import VideoError
from videoswin.features.clips import Found, clip_features
from videoswin.train import probe
from videoswin.train.features import Features, gathered
from videoswin.train.footage import Footage
from videoswin.train.preferences import Preferences

__all__ = ["Way", "choose_way", "clips_to_ask", "ways_to_try"]

FPS = 12.5
"""Frames a second of the quick part: limbs swing at up to three or four times a second."""
_LONGER = 1.5  # than the part; in shorter clips both ways see nearly the same
_LEAST_CLIPS = 24
_LEAST_EACH = 4
_MOST_CLIPS = 300
_FOLDS = 5
_BEHIND = 0.04
"""By so much less may frozen features know of the quick part: once tuned, a model gains more from it. Of actions of whole
bodies they knew .03 to .1 more or less by it, tuned models .17 more; of gestures with a course they knew .06 to .24 less."""
_LIMITS = Limits()


@dataclass(frozen=True)
class Way:
    """``changes``: of :class:`~videoswin.train.preferences.Preferences`; ``note``: what was found, in words."""

    changes: dict[str, Any]
    note: str


def ways_to_try(wanted: Preferences, start: Preprocessing, footage: Footage) -> tuple[Preprocessing, ...]:
    """How the clips may be looked at, the plain way first; fewer than two if the caller or the clips leave no choice."""
    chosen = (wanted.clip_len, wanted.sampling, wanted.fps, wanted.frame_interval, wanted.channels, wanted.recipe)
    part = replace(start, clip_len=16, sampling="time", fps=FPS)
    free = all(one is None for one in chosen) and not wanted.causal and not wanted.multi_label
    long_enough = footage.seconds >= _LONGER * part.clip_len / FPS and footage.fps >= FPS
    return (start, part) if free and start.sampling == "uniform" and long_enough else (start,)


def clips_to_ask(rows: Sequence[Clip]) -> list[Clip]:
    """Evenly picked; none if they are too few to tell."""
    most = min(len(rows), _MOST_CLIPS)
    picked = [rows[number * len(rows) // most] for number in range(most)]
    counts = [sum(row.label == label for row in picked) for label in {row.label for row in picked}]
    few = len(picked) < _LEAST_CLIPS or min(counts) < _LEAST_EACH or len({row.unit for row in picked}) < 2
    return [] if few else picked


def choose_way(
    start: Classifier,
    ways: Sequence[Preprocessing],
    rows: Sequence[Clip],
    parts: Sequence[Sequence[Clip]],
    step: Callable[[], None] = lambda: None,
    limits: Limits = _LIMITS,
) -> Way:
    """The way that shows the classes of ``rows`` best. ``parts``: what each fold learns from; they are asked too, since a choice
    that the held-out clips had a say in would flatter the folds. ``step``: called after each look at a clip.
    ``limits``: what one file may cost."""
    looks = []
    unreadable: set[Clip] = set()
    for way in ways:
        seen = Classifier(start.model, way, start.labels, start.name)
        found = []
        for row, result in zip(rows, clip_features(seen, rows, limits=limits), strict=True):
            if isinstance(result, VideoError):  # which the preparation names
                unreadable.add(row)
            found.append(result)
            step()
        looks.append(found)
    kept = [row for row in rows if row not in unreadable]
    if not clips_to_ask(kept):
        return Way({}, "")
    features = [gathered([one for one in found if isinstance(one, Found) and one.row in set(kept)]) for found in looks]
    shares = _shares(features, kept, kept)
    best = _best(shares)
    others = [_best(_shares(features, kept, [r for r in kept if r in set(part)])) for part in parts]
    part = f"{ways[1].clip_len / FPS:.1f} s at {FPS:g} frames a second"
    note = (
        f"looked at: {part if best else 'all'} of each clip. Linear heads on the start's features were right about "
        f"{shares[0]:.0%} of {len(kept)} held-out clips by all of each, {shares[1]:.0%} by {part}."
    )
    if any(other != best for other in others):
        agree = sum(other == best for other in others)
        note += (
            f" Of the folds' own clips, {agree} of {len(others)} say the same, so their figure may be a little high."
        )
    if best == 0:
        return Way({}, f"{note} --sampling time --fps {FPS:g} overrules.")
    changes = {"clip_len": ways[best].clip_len, "sampling": "time", "fps": FPS, "by_the_clips": True}
    return Way(changes, note + " --sampling uniform overrules.")


def _best(shares: Sequence[float]) -> int:
    best = max(range(1, len(shares)), key=lambda number: shares[number])
    return best if shares[best] >= shares[0] - _BEHIND else 0


def _shares(features: Sequence[Features], rows: Sequence[Clip], kept: Sequence[Clip]) -> list[float]:
    """Of each way, the share of ``kept`` that its best head is right about. All ways have as many heads to choose among."""
    labels = sorted({row.label for row in rows})
    targets = torch.tensor([labels.index(row.label) for row in rows])
    found = []
    for one in features:
        last = max(one.pooled)
        settings = probe.grid("linear", [last], last)
        hits, _ = probe.held_out_hits(one, kept, rows, targets, len(labels), settings, _FOLDS, 0)
        found.append(float(hits.max()) / max(len(kept), 1))
    return found
