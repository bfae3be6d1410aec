"""A bounded number of places: whoever finds none is refused at once, and a place is free again however its holder ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from videoswin.serve.refusals import Refused

__all__ = ["Places"]


class Places:
    """``size`` places, for use in one event loop. ``full``: the sentence for those who find none."""

    def __init__(self, size: int, full: str) -> None:
        self._size, self._full = size, full
        self.taken = 0

    def require_room(self) -> None:
        """Raise 503 if there is no place."""
        if self.taken >= self._size:
            raise Refused.busy(self._full)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place. Raises 503 if there is none."""
        self.require_room()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
