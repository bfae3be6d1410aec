"""Clips that are copies of each other: encoded again, cropped, mirrored, or beginning at another moment.

Clips of one scene look alike, so what is compared is what changes: each frame less what stands still. ``candidates`` finds the
pairs that move alike, ``fits`` moves crop and delay until they agree best, and here it is decided how much agreement is a copy.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from videoswin.audit.candidates import starts
from videoswin.audit.films import Film
from videoswin.audit.fits import best_fit
from videoswin.data.fingerprints import RATE
from videoswin.predict.parallel import in_parallel

__all__ = ["Copy", "find_copies"]

_MOTION, _STILL = 0.6, 0.9  # correlations that a copy reaches
_CLEAR = 0.68  # motion that is enough by itself
_AHEAD = 0.12  # with less, nothing else may come so near to either clip
_SURE = 0.85
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
    found = []
    known = [Film.of(film) for film in films]
    # The search is over before the fits begin: it has the cores for itself, too.
    for fit in in_parallel(lambda some: best_fit(known, some), list(starts(known, step))):
        if fit:
            box = tuple(fit.box.tolist())
            copy = Copy(
                fit.first, fit.second, box, fit.mirrored, fit.delay / RATE, fit.frames / RATE, fit.motion, fit.still
            )
            if _agrees(copy, min(len(films[fit.first]), len(films[fit.second]))):
                found.append(copy)
    return sorted(_distinct(found), key=lambda c: -c.motion)


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
