"""Clips that are copies of each other: encoded again, cropped, mirrored, or beginning at another moment.

Clips of one scene look alike, so what is compared is what changes: each frame less what stands still. Two steps. The search
looks for the liveliest moments of every clip, under every crop and its mirror image of a coarse grid, among the moments of all
others; a moment is three frames, so that it says how things move. The check takes the pairs that were found, moves the crop and
the delay until they fit best, and asks how much of what moves in one moves in the other, and whether what stands still agrees
as well.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from videoswin.data.fingerprints import RATE, resampled

__all__ = ["Copy", "find_copies"]

_SMALL = 24  # pixels of a frame in the search and at the beginning of the check
_COARSE = 12  # pixels of a frame of a moment
_STRIDE = 3  # frames of a film from moment to moment of the search
_APART = 2  # moments between the three frames of one
_DIMENSIONS = 96  # to which a moment is reduced
_QUERIES, _NEEDED = 4, 3  # moments of a clip that are looked for; how many of them count
_STORED = 24  # moments of a clip among which they are looked for, at most
_SCALES = (1.0, 0.92, 0.84, 0.76)
_LIVELY = 1.0  # grey levels: what changes less than that, root mean square, is noise
_CANDIDATES, _LIKELY = 6, 0.5  # pairs of a clip that are checked at most, and how alike they have to be
_OVERLAP_S, _OVERLAP = 0.8, 0.5  # seconds and share of the shorter clip that two copies have in common at least
_FINE = 56  # pixels of a frame at the end of the check
_COMPARED = 8  # frames that are compared while a fit is looked for
_BLUR = 7  # pixels
_HOPELESS, _PROMISING = 0.4, 0.55
_MOTION, _STILL = 0.6, 0.7  # correlations that a copy reaches
_CLEAR = 0.68  # motion that is enough by itself
_AHEAD = 0.12  # with less, nothing else may come so near to either clip
_SURE = 0.75
_WHOLE, _MOTION_OF_PART = 0.8, 0.85  # of the shorter clip; with less in common, they have to agree better
_LEAST_S = 0.5  # seconds; less than that is no evidence


@dataclass(frozen=True)
class Copy:
    """``first`` and ``second``: numbers of the clips. A box of the first, ``delay_s`` seconds later, is the second.

    ``box``: x and y of its middle, width and height, as shares of the frame. ``motion``, ``still``: correlation of what moves
    and of what stands still, over ``overlap_s`` seconds.
    """

    first: int
    second: int
    box: tuple[float, float, float, float]
    mirrored: bool
    delay_s: float
    overlap_s: float
    motion: float
    still: float

    @property
    def sure(self) -> bool:
        """Whether it can hardly be anything else: two people at the same pace in one place agree up to .8, and rarely more than this."""
        return self.motion >= _SURE

    @property
    def words(self) -> str:
        """What was done to one to get the other."""
        found = ["mirrored"] * self.mirrored
        if self.box[2] * self.box[3] < 0.93:
            found.append("cropped")
        if abs(self.delay_s) >= 0.15:
            found.append(f"{abs(self.delay_s):.1f} s apart")
        words = ", ".join(found) or "the same picture"
        return words if self.sure else f"perhaps: {words}"


def find_copies(films: Sequence[Tensor], step: Callable[[], None] = lambda: None) -> list[Copy]:
    """All pairs among films, uint8 (T, SIDE, SIDE) each, surest first. ``step`` is called after each film was searched for."""
    found: dict[tuple[int, int], Copy] = {}
    known = [_Film.of(film) for film in films]
    for first, second, box, mirrored in _search(known, step):
        copy = _check(known, first, second, box, mirrored)
        key = min(first, second), max(first, second)
        agrees = copy is not None and _agrees(copy, min(len(films[first]), len(films[second])))
        if copy is not None and agrees and (key not in found or copy.motion > found[key].motion):
            found[key] = copy
    return sorted(_distinct(list(found.values())), key=lambda c: -c.motion)


def _agrees(copy: Copy, shorter: int) -> bool:
    """Whether the agreement is enough; ``shorter``: frames of the shorter film. Where only a part of it agrees, that is easily chance:
    among all delays the best one is looked at."""
    whole = copy.overlap_s * RATE >= _WHOLE * shorter
    return (
        copy.motion >= (_MOTION if whole else _MOTION_OF_PART) and copy.still >= _STILL and copy.overlap_s >= _LEAST_S
    )


def _distinct(copies: Sequence[Copy]) -> Iterator[Copy]:
    """Without the pairs that are only as alike as others: people who all walk past the same wall."""
    motions: dict[int, list[float]] = {}
    for copy in copies:
        for number in (copy.first, copy.second):
            motions.setdefault(number, []).append(copy.motion)
    for copy in copies:
        nearly = sum(m > copy.motion - _AHEAD for n in (copy.first, copy.second) for m in motions[n])
        if copy.motion >= _CLEAR or nearly == 2:  # itself, on both sides
            yield copy


@dataclass(frozen=True)
class _Film:
    """``frames``: uint8 (T, SIDE, SIDE). ``moving``: float (t, _SMALL, _SMALL), of every _STRIDE-th frame what does not stand still;
    ``energy``: (t,), its root mean square."""

    frames: Tensor
    moving: Tensor
    energy: Tensor

    @classmethod
    def of(cls, film: Tensor) -> "_Film":
        small = F.adaptive_avg_pool2d(film[::_STRIDE].float()[None], _SMALL)[0]
        moving = _less(small, small.median(0).values)
        return cls(film, moving, moving.square().mean((1, 2)).sqrt())


def _less(frames: Tensor, still: Tensor) -> Tensor:
    """Frames (..., T, h, w) less what stands still in them, (..., h, w), at the brightness and contrast of each frame: a lamp or a
    camera's automatic exposure is no motion."""
    x, s = frames.flatten(-2), still.flatten(-2).unsqueeze(-2)
    x, s = x - x.mean(-1, keepdim=True), s - s.mean(-1, keepdim=True)
    gain = (x * s).sum(-1, keepdim=True) / s.square().sum(-1, keepdim=True).clamp(min=1e-6)
    return (x - gain.clamp(0.5, 2.0) * s).view(frames.shape)


# Search ---------------------------------------------------------------------------------------------------------------


def _boxes() -> Tensor:
    """(V, 4): the whole frame and crops of it on a grid; half of them mirrored."""
    rows = []
    for scale in _SCALES:
        places = (0.5,) if scale == 1 else (scale / 2, 0.5, 1 - scale / 2)
        rows += [(x, y, scale, scale) for y in places for x in places]
    boxes = torch.tensor(rows)
    return torch.cat([boxes, boxes * torch.tensor([1.0, 1.0, -1.0, 1.0])])


def _search(films: Sequence[_Film], step: Callable[[], None]) -> Iterator[tuple[int, int, Tensor, bool]]:
    """(first, second, box, mirrored) of the pairs that are worth a check."""
    finder = _Finder(films)
    boxes = finder.boxes
    whole: set[tuple[int, int]] = set()
    for number in range(len(films)):
        score, which = finder.alike(number)
        near = score.topk(min(_CANDIDATES, len(films))).indices.tolist()
        for other in near:
            box, mirrored = boxes[which[other]].abs(), bool(boxes[which[other], 2] < 0)
            if float(score[other]) <= _LIKELY or (other, number) in whole:
                continue
            if float(box[2]) == 1.0:  # the same from the other side
                whole.add((number, other))
            yield number, other, box, mirrored
        step()


class _Finder:
    """The moments of all films, reduced to the directions in which they differ most."""

    def __init__(self, films: Sequence[_Film]) -> None:
        self.films, self.boxes = films, _boxes()
        rows = torch.zeros(len(films), _STORED, 3 * _COARSE * _COARSE)
        for number, film in enumerate(films):
            lively = (film.energy > _LIVELY).nonzero().flatten()
            if len(lively):
                chosen = lively[torch.linspace(0, len(lively) - 1, min(_STORED, len(lively))).round().long()]
                small = F.adaptive_avg_pool2d(film.moving[None], _COARSE)[0]
                rows[number, : len(chosen)] = _moments(small[None], chosen)[0]
        flat = rows.flatten(0, 1)
        _, vectors = torch.linalg.eigh(flat.T @ flat)
        self._basis = vectors[:, -_DIMENSIONS:]
        self._database = (flat @ self._basis).T.contiguous()

    def alike(self, number: int) -> tuple[Tensor, Tensor]:
        """How alike each film is to the one of this number, (N,), and under which box."""
        film, boxes, count = self.films[number], self.boxes, len(self.films)
        queries = _liveliest(film)
        if not len(queries):
            return torch.full((count,), -1.0), torch.zeros(count, dtype=torch.int64)
        places = _three(queries, len(film.moving))
        some = film.moving[places.flatten()].expand(len(boxes), -1, -1, -1)
        parts = resampled(some, boxes, _COARSE)
        parts = _moments(parts, torch.arange(len(queries)), apart=places.shape[1]) @ self._basis
        alike = (parts.flatten(0, 1) @ self._database).view(-1, count, _STORED).amax(2)
        best = alike.view(len(boxes), len(queries), -1).topk(min(_NEEDED, len(queries)), dim=1).values.mean(1)  # (V, N)
        best[:, number] = -1.0
        return best.max(0)


def _three(moments: Tensor, count: int) -> Tensor:
    """(n, 3): numbers of the three frames of moments, of a film of ``count``."""
    return (moments[:, None] + _APART * torch.arange(-1, 2)).clamp(0, count - 1)


def _moments(films: Tensor, chosen: Tensor, apart: int = 0) -> Tensor:
    """Films (V, t, h, w) at the moments ``chosen``, (n,) -> (V, n, 3 * h * w) of length 1. ``apart``: the films hold just the
    moments, so many frames each."""
    places = chosen[:, None] * apart + torch.arange(3) if apart else _three(chosen, films.shape[1])
    rows = films[:, places.flatten()].unflatten(1, (-1, 3)).flatten(3)
    return F.normalize((rows - rows.mean(-1, keepdim=True)).flatten(2), dim=-1)


def _liveliest(film: _Film) -> Tensor:
    """A few moments in which much is not as usual, apart from each other."""
    energy = film.energy.clone()
    chosen = []
    for _ in range(_QUERIES):
        best = int(energy.argmax())
        if float(energy[best]) <= _LIVELY:
            break
        chosen.append(best)
        energy[max(0, best - 3) : best + 4] = 0
    return torch.tensor(chosen, dtype=torch.int64)


# Check ----------------------------------------------------------------------------------------------------------------


def _check(films: Sequence[_Film], first: int, second: int, box: Tensor, mirrored: bool) -> Copy | None:
    a, b = films[first], films[second]
    sign = torch.tensor([1.0, 1.0, -1.0 if mirrored else 1.0, 1.0])
    delay = _STRIDE * _best_delay(a, b, box * sign)
    fit = _fit(a, b, _neighbours(box, 0.06), sign, delay, _SMALL)
    if fit.motion < _HOPELESS:
        return None
    fit = _best_late(a, b, fit, sign, (-2, -1, 0, 1, 2), _SMALL)
    for reach in (0.03, 0.03, 0.015):
        fit = _fit(a, b, _neighbours(fit.box, reach), sign, fit.delay, _SMALL)
    if fit.motion < _PROMISING:
        return None
    fit = _fit(a, b, _neighbours(fit.box, 0.015), sign, fit.delay, _FINE)
    fit = _best_late(a, b, fit, sign, (-1, 0, 1), _FINE)
    fit = _fit(a, b, _neighbours(fit.box, 0.007), sign, fit.delay, _FINE)
    at, bt = _overlap(len(a.frames), len(b.frames), fit.delay)
    if at is None or bt is None:
        return None
    thin = torch.linspace(0, len(at) - 1, min(4 * _COMPARED, len(at))).round().long()
    parts = resampled(a.frames[at[thin]].float()[None], (fit.box * sign)[None], _FINE)
    target = F.adaptive_avg_pool2d(b.frames[bt[thin]].float()[None], _FINE)[0]
    motion, still = (float(value) for value in _agreement(parts, target, sharp=True))
    x, y, width, height = fit.box.tolist()
    return Copy(first, second, (x, y, width, height), mirrored, fit.delay / RATE, len(at) / RATE, motion, still)


class _Fit(NamedTuple):
    motion: float
    box: Tensor
    delay: int


def _best_late(a: _Film, b: _Film, fit: _Fit, sign: Tensor, late: Sequence[int], side: int) -> _Fit:
    """The same box some frames earlier or later, where that fits best."""
    tries = fit.box[None]
    return max((_fit(a, b, tries, sign, fit.delay + more, side) for more in late), key=lambda f: f.motion)


def _fit(a: _Film, b: _Film, tries: Tensor, sign: Tensor, delay: int, side: int) -> _Fit:
    """The best of the boxes ``tries``, (n, 4), at this delay."""
    at, bt = _overlap(len(a.frames), len(b.frames), delay)
    if at is None or bt is None:
        return _Fit(-1.0, tries[0], delay)
    thin = torch.linspace(0, len(at) - 1, min(_COMPARED, len(at))).round().long()
    frames = a.frames[at[thin]].float()[None]
    if side == _SMALL:
        frames = F.adaptive_avg_pool2d(frames, side)
    parts = resampled(frames.expand(len(tries), -1, -1, -1), tries * sign, side)
    target = F.adaptive_avg_pool2d(b.frames[bt[thin]].float()[None], side)[0]
    motion, still = _agreement(parts, target, sharp=side == _FINE)
    place = int((motion + 0.5 * still).argmax())
    return _Fit(float(motion[place]), tries[place], delay)


def _neighbours(box: Tensor, reach: float) -> Tensor:
    """(n, 4): boxes a little beside, larger or smaller."""
    steps = [(dx, dy, 0, 0) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    steps += [(0, 0, 1, 1), (0, 0, -1, -1), (0, 0, 1, 0), (0, 0, -1, 0), (0, 0, 0, 1), (0, 0, 0, -1)]
    tries = box + reach * torch.tensor(steps, dtype=torch.float32)
    tries[:, 2:] = tries[:, 2:].clamp(0.5, 1.0)
    half = tries[:, 2:] / 2
    tries[:, :2] = torch.minimum(torch.maximum(tries[:, :2], half), 1 - half)
    return torch.unique(tries, dim=0)


def _best_delay(a: _Film, b: _Film, box: Tensor) -> int:
    """By how many moments the second is behind the first, for the best agreement of what moves."""
    left = resampled(a.moving[None], box[None], _COARSE)[0].flatten(1)
    right = F.adaptive_avg_pool2d(b.moving[None], _COARSE)[0].flatten(1)
    ta, tb = len(left), len(right)
    skewed = F.pad((left @ right.T).flip(0), (0, ta)).flatten()[: ta * (ta + tb - 1)].view(ta, ta + tb - 1)
    products = skewed.sum(0)  # of each delay, from ta - 1 down to 1 - tb
    delays = ta - 1 - torch.arange(ta + tb - 1)
    start, stop = delays.clamp(min=0), (tb + delays).clamp(max=ta)
    of_a, of_b = (F.pad(one.square().sum(1).cumsum(0), (1, 0)) for one in (left, right))
    norms = (of_a[stop] - of_a[start]) * (of_b[stop - delays] - of_b[start - delays])
    values = products / norms.clamp(min=1e-6).sqrt()
    values[stop - start < _needed_overlap(ta, tb, RATE / _STRIDE)] = -2.0
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
    moving, sought = _less(parts, mean), _less(target, wanted)
    if sharp:
        moving, sought = (x - F.avg_pool2d(x, _BLUR, 1, _BLUR // 2, count_include_pad=False) for x in (moving, sought))
    motion = F.cosine_similarity(moving.flatten(1), sought.flatten()[None], dim=1)
    still = F.cosine_similarity(
        mean.flatten(1) - mean.mean((1, 2))[:, None], (wanted - wanted.mean()).flatten()[None], dim=1
    )
    return motion, still
