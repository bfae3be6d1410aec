"""How well one clip lies in another: crop and delay are moved until what moves agrees best.

What is asked then is how much of what moves in one moves in the other, and whether what stands still agrees as well.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from videoswin.audit.candidates import COARSE, Start
from videoswin.audit.films import SMALL, STRIDE, Film, changes
from videoswin.data.fingerprints import RATE, resampled

__all__ = ["Fit", "best_fit"]

_OVERLAP_S, _OVERLAP = 0.8, 0.5  # seconds and share of the shorter clip that two copies have in common at least
_FINE = 56  # pixels of a frame at the end
_COMPARED = 8  # frames that are compared while a fit is looked for
_BLUR = 7  # pixels
_STILL_WEIGHT = 0.5  # of what stands still, beside what moves
_HOPELESS, _PROMISING = 0.5, 0.55  # correlation of what moves, at the beginning and half-way
_OUTLINES, _BACKGROUND = 0.45, 0.85  # of the outlines of what moves, and of what stands still, before the last steps


class Fit(NamedTuple):
    """``box`` of the clip ``first``, ``delay`` frames later, is ``second``: so much of what moves and of what stands still agrees, over
    ``frames`` frames."""

    first: int
    second: int
    box: Tensor
    mirrored: bool
    delay: int
    frames: int
    motion: float
    still: float


def best_fit(films: Sequence[Film], starts: Sequence[Start]) -> Fit | None:
    """From the best of ``starts``, all of one pair; None where nothing agrees."""
    first, second, mirrored, place = max((_begin(films, start) for start in starts), key=lambda begun: begun[-1].both)
    if place.motion < _HOPELESS:
        return None
    a, b = films[first], films[second]
    sign = torch.tensor([1.0, 1.0, -1.0 if mirrored else 1.0, 1.0])
    place = _near(a, b, _neighbours(place.box, 0.06), sign, place.delay, SMALL)
    place = _best_late(a, b, place, sign, (-2, -1, 0, 1, 2), SMALL)
    for reach in (0.03, 0.03, 0.015):
        place = _near(a, b, _neighbours(place.box, reach), sign, place.delay, SMALL)
    if place.motion < _PROMISING or place.still < _BACKGROUND:
        return None
    place = _near(a, b, _neighbours(place.box, 0.015), sign, place.delay, _FINE)
    if place.motion < _OUTLINES or place.still < _BACKGROUND:
        return None
    place = _best_late(a, b, place, sign, (-1, 0, 1), _FINE)
    place = _near(a, b, _neighbours(place.box, 0.007), sign, place.delay, _FINE)
    at, bt = _overlap(len(a.frames), len(b.frames), place.delay)
    if at is None or bt is None:
        return None
    thin = torch.linspace(0, len(at) - 1, min(4 * _COMPARED, len(at))).round().long()
    parts = resampled(a.frames[at[thin]].float()[None], (place.box * sign)[None], _FINE)
    target = F.adaptive_avg_pool2d(b.frames[bt[thin]].float()[None], _FINE)[0]
    motion, still = (float(value) for value in _agreement(parts, target, sharp=True))
    return Fit(first, second, place.box, mirrored, place.delay, len(at), motion, still)


def _begin(films: Sequence[Film], start: Start) -> tuple[int, int, bool, "_Place"]:
    """A start with the delay that suits it."""
    a, b = films[start.first], films[start.second]
    sign = torch.tensor([1.0, 1.0, -1.0 if start.mirrored else 1.0, 1.0])
    delay = STRIDE * _best_delay(a, b, start.box * sign)
    return start.first, start.second, start.mirrored, _near(a, b, start.box[None], sign, delay, SMALL)


class _Place(NamedTuple):
    """Where one clip lies in another, and how much of what moves and of what stands still agrees there."""

    motion: float
    still: float
    box: Tensor
    delay: int

    @property
    def both(self) -> float:
        return self.motion + _STILL_WEIGHT * self.still


def _best_late(a: Film, b: Film, found: _Place, sign: Tensor, late: Sequence[int], side: int) -> _Place:
    """The same box some frames earlier or later, where that fits best."""
    tries = found.box[None]
    return max((_near(a, b, tries, sign, found.delay + more, side) for more in late), key=lambda place: place.motion)


def _near(a: Film, b: Film, tries: Tensor, sign: Tensor, delay: int, side: int) -> _Place:
    """The best of the boxes ``tries``, (n, 4), at this delay."""
    at, bt = _overlap(len(a.frames), len(b.frames), delay)
    if at is None or bt is None:
        return _Place(-1.0, -1.0, tries[0], delay)
    thin = torch.linspace(0, len(at) - 1, min(_COMPARED, len(at))).round().long()
    frames = a.frames[at[thin]].float()[None]
    if side == SMALL:
        frames = F.adaptive_avg_pool2d(frames, side)
    parts = resampled(frames.expand(len(tries), -1, -1, -1), tries * sign, side)
    target = F.adaptive_avg_pool2d(b.frames[bt[thin]].float()[None], side)[0]
    motion, still = _agreement(parts, target, sharp=side == _FINE)
    best = int((motion + _STILL_WEIGHT * still).argmax())
    return _Place(float(motion[best]), float(still[best]), tries[best], delay)


def _neighbours(box: Tensor, reach: float) -> Tensor:
    """(n, 4): boxes a little beside, larger or smaller."""
    steps = [(dx, dy, 0, 0) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    steps += [(0, 0, 1, 1), (0, 0, -1, -1), (0, 0, 1, 0), (0, 0, -1, 0), (0, 0, 0, 1), (0, 0, 0, -1)]
    tries = box + reach * torch.tensor(steps, dtype=torch.float32)
    tries[:, 2:] = tries[:, 2:].clamp(0.5, 1.0)
    half = tries[:, 2:] / 2
    tries[:, :2] = torch.minimum(torch.maximum(tries[:, :2], half), 1 - half)
    return torch.unique(tries, dim=0)


def _best_delay(a: Film, b: Film, box: Tensor) -> int:
    """By how many moments the second is behind the first, for the best agreement of what moves."""
    left = resampled(a.moving[None], box[None], COARSE)[0].flatten(1)
    right = F.adaptive_avg_pool2d(b.moving[None], COARSE)[0].flatten(1)
    ta, tb = len(left), len(right)
    skewed = F.pad((left @ right.T).flip(0), (0, ta)).flatten()[: ta * (ta + tb - 1)].view(ta, ta + tb - 1)
    products = skewed.sum(0)  # of each delay, from ta - 1 down to 1 - tb
    delays = ta - 1 - torch.arange(ta + tb - 1)
    start, stop = delays.clamp(min=0), (tb + delays).clamp(max=ta)
    of_a, of_b = (F.pad(one.square().sum(1).cumsum(0), (1, 0)) for one in (left, right))
    norms = (of_a[stop] - of_a[start]) * (of_b[stop - delays] - of_b[start - delays])
    values = products / norms.clamp(min=1e-6).sqrt()
    values[stop - start < _needed_overlap(ta, tb, RATE / STRIDE)] = -2.0
    return int(delays[values.argmax()])


def _needed_overlap(a: int, b: int, rate: float) -> float:
    """Frames that two copies have in common at least, of films of ``a`` and ``b`` frames at ``rate`` a second."""
    return max(2.0, min(max(_OVERLAP_S * rate, _OVERLAP * min(a, b)), 0.6 * min(a, b)))


def _overlap(a: int, b: int, delay: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Frames of the first and of the second that show the same moment; None if they are too few."""
    start, stop = max(0, delay), min(a, b + delay)
    if stop - start < 0.9 * _needed_overlap(a, b, RATE):
        return None, None
    at = torch.arange(start, stop)
    return at, at - delay


def _agreement(parts: Tensor, target: Tensor, sharp: bool = False) -> tuple[Tensor, Tensor]:
    """Correlations of (n, T, h, w) with (T, h, w): of what moves, and of what stands still; (n,) each. ``sharp``: of the outlines
    of what moves; two people who pass at the same pace are alike as blurs."""
    mean, wanted = parts.mean(1), target.mean(0)
    moving, sought = changes(parts, mean), changes(target, wanted)
    if sharp:
        moving, sought = (x - F.avg_pool2d(x, _BLUR, 1, _BLUR // 2, count_include_pad=False) for x in (moving, sought))
    motion = F.cosine_similarity(moving.flatten(1), sought.flatten()[None], dim=1)
    still = F.cosine_similarity(
        mean.flatten(1) - mean.mean((1, 2))[:, None], (wanted - wanted.mean()).flatten()[None], dim=1
    )
    return motion, still
