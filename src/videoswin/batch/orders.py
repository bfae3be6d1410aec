"""What the workers of a batch are given, whichever engine runs them, and what their deaths say about the files.

A worker that dies gives its part back; another one takes it. A file that kills whoever reads it must not do so for ever: after
two deaths over a part its files are first read one by one, each known before it is begun, and one that kills the process again
and again becomes a row with an error. Results are the same as without any death, since a part is computed afresh and as a
whole.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from videoswin.batch.parts import part_name, part_table
from videoswin.batch.place import Place
from videoswin.batch.work import Files, Reader, Work
from videoswin.errors import VideoSwinError

__all__ = ["Order", "Orders", "PartDone", "do_part"]

_DEATHS_OF_A_PART = 2  # after so many, its files are read one by one first
_DEATHS_OF_A_FILE = 5  # that many in a row over one file are not chance
_DEATHS_BEFORE_WORK = 5  # of workers that have not even loaded the checkpoint
_KILLS = "the process that reads it dies each time ({} times)"


@dataclass(frozen=True)
class PartDone:
    """One part is at its place."""

    number: int
    files: int
    errors: tuple[str, ...]
    """A line for each file that failed."""


@dataclass(frozen=True)
class Order:
    """One part for one worker."""

    number: int
    files: Files
    blamed: frozenset[str]
    """Its files that are not to be opened any more."""
    careful: bool
    """Read each file by itself first."""

    @property
    def to_try(self) -> list[str]:
        """What is read first, one by one."""
        return [path for _, path in self.files if path not in self.blamed] if self.careful else []


class Orders:
    """The parts that are left, and a book of deaths."""

    def __init__(self, parts: Iterator[tuple[int, Files]]) -> None:
        self._parts = parts
        self._again: deque[tuple[int, Files]] = deque()
        self._deaths: Counter[int] = Counter()
        self._killers: Counter[str] = Counter()
        self._blamed: set[str] = set()
        self._early = 0

    def next(self) -> Order | None:
        """The next part to be done; None if none is left."""
        part = self._again.popleft() if self._again else next(self._parts, None)
        if part is None:
            return None
        number, files = part
        blamed = frozenset(self._blamed and self._blamed & {path for _, path in files})
        return Order(number, files, blamed, self._deaths[number] >= _DEATHS_OF_A_PART)

    def survived(self, path: str) -> None:
        """A worker read this file by itself and lives."""
        self._killers.pop(path, None)

    def done(self, number: int) -> None:
        """A part is at its place."""
        self._deaths.pop(number, None)

    def died(self, order: Order | None, path: str | None, ready: bool, why: str) -> str | None:
        """A worker is dead.

        Args:
            order: what it was busy with.
            path: the file that it read by itself.
            ready: it had loaded the checkpoint.

        Returns:
            A line for the user, if work was lost.

        Raises:
            VideoSwinError: no worker lives long enough to begin.
        """
        self._early = 0 if ready else self._early + 1
        if self._early >= _DEATHS_BEFORE_WORK:
            raise VideoSwinError(f"the processes of the batch end before they begin ({why}). Is there memory?")
        if order is None:
            return None
        self._again.appendleft((order.number, order.files))
        self._deaths[order.number] += ready
        if path is not None:
            self._killers[path] += 1
            if self._killers[path] >= _DEATHS_OF_A_FILE:
                self._blamed.add(path)
        return f"a process of the batch died ({why}); part {order.number} is done again."


def do_part(reader: Reader, work: Work, place: Place, order: Order) -> PartDone:
    """Compute a part as a whole, and put it at its place."""
    good = [file for file in order.files if file[1] not in order.blamed]
    found = {row["row"]: row for row in reader.rows(good)}
    for row, path in order.files:
        if path in order.blamed:
            text = f"{path}: {_KILLS.format(_DEATHS_OF_A_FILE)}. Check the file, or the memory of the machine"
            found[row] = {"row": row, "path": path, "error": text}
    rows: Sequence[dict[str, Any]] = [found[row] for row, _ in order.files]
    errors = tuple(row["error"] for row in rows if row["error"] is not None)
    place.put_part(part_name(order.number, len(errors)), part_table(rows, work.features, work.timeline))
    return PartDone(order.number, len(rows), errors)
