"""Which pairs of clips may be copies of each other, and how one may lie in the other.

Two questions. Which clips move alike: the liveliest moments of every clip, under every crop and its mirror image of a coarse grid,
are looked for among the moments of all others; a moment is three frames, so that it says how things move. And for the pairs that do,
under which crop what stands still agrees best, for either clip as the crop of the other, mirrored or not.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from videoswin.audit.films import SMALL, Film
from videoswin.data.fingerprints import resampled
from videoswin.predict.parallel import in_parallel

__all__ = ["COARSE", "Start", "starts"]

COARSE = 12
"""Pixels of a frame of a moment."""
_APART = 2  # moments between the three frames of one
_DIMENSIONS = 96  # to which a moment is reduced
_QUERIES, _NEEDED = 4, 3  # moments of a clip that are looked for; how many of them count
_STORED = 24  # moments of a clip among which they are looked for, at most
_LIVELY = 1.0  # grey levels: what changes less than that, root mean square, is noise
_LIKELY = 0.5  # how alike the moments of a candidate are
_CANDIDATES, _OF_FEW = 6, 3000  # so many for each clip; more where all clips together have not more than this
_SCALES = (1.0, 0.92, 0.84, 0.76)
_STILL_SCALES = tuple(1 - 0.04 * n for n in range(8))
_STILL_STEP = 0.035  # shares of the frame between two crops of what stands still
_WEIGHT = 2.0  # of what stands still beside what moves, when candidates are chosen
_STILL, _NEARLY = 0.6, 0.06  # correlation that is asked for, and how far behind the best of a pair a start may be


class Start(NamedTuple):
    """A box of the clip ``first`` may be the clip ``second``. ``box``: (4,), x and y of its middle, width and height."""

    first: int
    second: int
    box: Tensor
    mirrored: bool


def starts(films: Sequence[Film], step: Callable[[], None]) -> Iterator[list[Start]]:
    """For each pair that is worth a closer look, from where to begin. ``step`` is called after each film was searched for."""
    moments, stills = _Moments(films), _Stills(films)
    found: dict[tuple[int, int], list[_Scored]] = {}
    chosen = in_parallel(lambda number: list(_candidates(moments, stills, number)), range(len(films)))
    for number, candidates in enumerate(chosen):
        for other, some in candidates:
            found.setdefault((min(number, other), max(number, other)), []).extend(some)
        step()
    # A crop is found from either side, and only the whole frame can hold it.
    reverse: list[list[int]] = [[] for _ in films]
    for pair, some in found.items():
        for first, second in (pair, pair[::-1]):
            if all(one.start.first != first for one in some):
                reverse[first].append(second)
    lacking = [number for number, others in enumerate(reverse) if others]
    turned = in_parallel(
        lambda number: stills.starts(number, reverse[number], *stills.alike(number, reverse[number])), lacking
    )
    for number, candidates in zip(lacking, turned, strict=True):
        for other, some in candidates:
            found[min(number, other), max(number, other)].extend(some)
    for some in found.values():
        best = max(one.still for one in some)
        if best >= _STILL:
            yield [one.start for one in some if one.still >= best - _NEARLY]


class _Scored(NamedTuple):
    """A start, and how well what stands still agrees there at best."""

    still: float
    start: Start


def _candidates(moments: "_Moments", stills: "_Stills", number: int) -> Iterator[tuple[int, list[_Scored]]]:
    """The films that are most like the one of this number, as it is or mirrored, and starts in it."""
    count = len(moments.films)
    move, boxes = moments.alike(number)
    still, crops = stills.alike(number, list(range(count)))
    together = move + _WEIGHT * still
    together[:, number] = -torch.inf
    wanted = min(count - 1, max(_CANDIDATES, _OF_FEW // count))
    near = together.amax(0).topk(wanted).indices.tolist()
    for other, some in stills.starts(number, near, still[:, near], crops[:, near]):
        for scored, start in list(some):
            mirrored = int(start.mirrored)
            if move[mirrored, other] > _LIKELY:
                some.append(_Scored(scored, start._replace(box=moments.boxes[boxes[mirrored, other]])))
        yield other, some


def _boxes(scales: Sequence[float], places: Callable[[float], list[float]]) -> Tensor:
    """(V, 4): crops of a grid."""
    return torch.tensor([(x, y, scale, scale) for scale in scales for y in places(scale) for x in places(scale)])


def _and_mirrored(boxes: Tensor) -> Tensor:
    """(2 * V, 4): with a negative width, a box is mirrored."""
    return torch.cat([boxes, boxes * torch.tensor([1.0, 1.0, -1.0, 1.0])])


def _best(alike: Tensor) -> tuple[Tensor, Tensor]:
    """(2 * V, N) -> the best and its box, (2, N) each: as it is, and mirrored."""
    best, which = alike.unflatten(0, (2, -1)).max(1)
    return best, which


def _corners(scale: float) -> list[float]:
    return [0.5] if scale == 1 else [scale / 2, 0.5, 1 - scale / 2]


def _closely(scale: float) -> list[float]:
    number = round((1 - scale) / _STILL_STEP) + 1
    return torch.linspace(scale / 2, 1 - scale / 2, number).tolist() if number > 1 else [0.5]


# What stands still ------------------------------------------------------------------------------------------------------


class _Stills:
    """What stands still in all films, and under which crop of one it is that of another."""

    def __init__(self, films: Sequence[Film]) -> None:
        self.films, self.boxes = films, _boxes(_STILL_SCALES, _closely)
        self._crops = _and_mirrored(self.boxes)
        self._rows = _centred(torch.stack([film.still for film in films]).flatten(1)) if films else torch.empty(0)

    def alike(self, number: int, others: list[int]) -> tuple[Tensor, Tensor]:
        """The correlation of ``others`` with the best crop of the film of this number, and which crop, (2, n) each."""
        still = self.films[number].still.expand(len(self._crops), 1, -1, -1)
        return _best(_centred(resampled(still, self._crops, SMALL).flatten(1)) @ self._rows[others].T)

    def starts(self, number: int, others: list[int], score: Tensor, which: Tensor) -> list[tuple[int, list[_Scored]]]:
        """For each of ``others`` where it may lie in the film of this number, as it is and mirrored, by what :meth:`alike` says of
        them."""
        return [
            (
                other,
                [_Scored(float(score[m, n]), Start(number, other, self.boxes[which[m, n]], bool(m))) for m in (0, 1)],
            )
            for n, other in enumerate(others)
        ]


def _centred(rows: Tensor) -> Tensor:
    return F.normalize(rows - rows.mean(1, keepdim=True), dim=1)


# What moves -------------------------------------------------------------------------------------------------------------


class _Moments:
    """The moments of all films, reduced to the directions in which they differ most."""

    def __init__(self, films: Sequence[Film]) -> None:
        self.films, self.boxes = films, _boxes(_SCALES, _corners)
        self._crops = _and_mirrored(self.boxes)
        rows = torch.zeros(len(films), _STORED, 3 * COARSE * COARSE)
        for number, film in enumerate(films):
            lively = (film.energy > _LIVELY).nonzero().flatten()
            if len(lively):
                chosen = lively[torch.linspace(0, len(lively) - 1, min(_STORED, len(lively))).round().long()]
                small = F.adaptive_avg_pool2d(film.moving[None], COARSE)[0]
                rows[number, : len(chosen)] = _moments(small[None], chosen)[0]
        flat = rows.flatten(0, 1)
        _, vectors = torch.linalg.eigh(flat.T @ flat)
        self._basis = vectors[:, -_DIMENSIONS:]
        self._database = (flat @ self._basis).T.contiguous()

    def alike(self, number: int) -> tuple[Tensor, Tensor]:
        """How alike each film is to the one of this number, and under which box, (2, N) each."""
        film, boxes, count = self.films[number], self._crops, len(self.films)
        queries = _liveliest(film)
        if not len(queries):
            return torch.zeros(2, count), torch.zeros(2, count, dtype=torch.int64)
        places = _three(queries, len(film.moving))
        some = film.moving[places.flatten()].expand(len(boxes), -1, -1, -1)
        parts = resampled(some, boxes, COARSE)
        parts = _moments(parts, torch.arange(len(queries)), apart=places.shape[1]) @ self._basis
        alike = (parts.flatten(0, 1) @ self._database).view(-1, count, _STORED).amax(2)
        return _best(alike.view(len(boxes), len(queries), -1).topk(min(_NEEDED, len(queries)), dim=1).values.mean(1))


def _three(moments: Tensor, count: int) -> Tensor:
    """(n, 3): numbers of the three frames of moments, of a film of ``count``."""
    return (moments[:, None] + _APART * torch.arange(-1, 2)).clamp(0, count - 1)


def _moments(films: Tensor, chosen: Tensor, apart: int = 0) -> Tensor:
    """Films (V, t, h, w) at the moments ``chosen``, (n,) -> (V, n, 3 * h * w) of length 1. ``apart``: the films hold just the
    moments, so many frames each."""
    places = chosen[:, None] * apart + torch.arange(3) if apart else _three(chosen, films.shape[1])
    rows = films[:, places.flatten()].unflatten(1, (-1, 3)).flatten(3)
    return F.normalize((rows - rows.mean(-1, keepdim=True)).flatten(2), dim=-1)


def _liveliest(film: Film) -> Tensor:
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
