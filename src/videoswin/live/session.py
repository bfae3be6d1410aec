"""A source in one thread, the model in another, and between them a queue that forgets.

The policy when the machine is too slow, in the order in which it applies:

1. Whatever has queued up is pushed through the model in one piece, and answers in between are left out.
2. The queue holds at most ``queue_frames`` sampled frames. When it is full, the *oldest* is dropped and counted: what is new
   matters more. The stream goes on over the hole.
3. Frames that are overdue by more than ``max_lag_s`` before they are even looked at (a decoder that cannot keep up) are
   passed over and counted as late.

So latency is bounded by the queue's length plus one step of the model, and memory is bounded always. A source that waits for us
(``--fast``) loses nothing: there the queue makes the decoder wait.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from videoswin.errors import Interrupted
from videoswin.live.frame_selector import FrameSelector, Sample
from videoswin.live.sources import Picture, PictureSource
from videoswin.live.tracker import Tracker, Update

__all__ = ["SampleQueue", "Session", "SessionStats", "open_source"]

_GRACE_S = 2.0


class SampleQueue:
    """Samples from one thread to another, at most ``capacity``. ``drops``: full means that the oldest is dropped (and
    counted in ``dropped``); otherwise, that :meth:`put` waits."""

    def __init__(self, capacity: int, drops: bool) -> None:
        self._capacity, self._drops = capacity, drops
        self._items: deque[Sample] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0

    def put(self, sample: Sample) -> None:
        with self._changed:
            while not self._drops and len(self._items) >= self._capacity and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            if len(self._items) >= self._capacity:
                lost = self._items.popleft()
                self.dropped += 1
                if lost.fresh and self._items:  # the fresh start must not be lost with the frame
                    self._items[0] = replace(self._items[0], fresh=True, cut=lost.cut)
                elif lost.fresh:
                    sample = replace(sample, fresh=True, cut=lost.cut)
            self._items.append(sample)
            self._changed.notify_all()

    def take(self, timeout_s: float) -> list[Sample] | None:
        """All that is there; an empty list after ``timeout_s`` without any; None once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            if not self._items:
                return None if self._closed else []
            items = list(self._items)
            self._items.clear()
            self._changed.notify_all()
            return items

    def close(self) -> None:
        """Nothing more will come; what is there can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(frozen=True)
class SessionStats:
    """How a session stands."""

    latency_s: float
    """From the moment the newest answered frame was due to its answer."""
    fps: float
    """Frames a second from the source, over the last seconds."""
    answers_per_s: float
    """Answers of the model, over the last seconds."""
    dropped: int
    """Sampled frames that were too many."""


def open_source(source: PictureSource, is_asked_to_stop: Callable[[], bool]) -> None:
    """Open a source in a thread of its own, so that this one sees a wish to stop at once, however long the source takes.

    Raises:
        Interrupted: it was asked to stop. The source may still be in its thread for a while.
        VideoError: it cannot be opened.
    """
    failures: list[BaseException] = []

    def work() -> None:
        try:
            source.open()
        except BaseException as error:  # noqa: BLE001  it belongs to the thread that waits, and is raised there
            failures.append(error)

    thread = threading.Thread(target=work, name="videoswin opening", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
        if is_asked_to_stop():
            source.stop()
            thread.join(_GRACE_S)
            raise Interrupted(f"{source.name}: stopped.")
    if failures:
        raise failures[0]


class Session:
    """Iterate, once, for updates; each comes with no more delay than the policy allows. End with :meth:`stop`.

    Args:
        queue_frames: samples that may wait for the model.
        max_lag_s: see the policy.
        watcher: sees every picture that is looked at, in the source's thread.
    """

    def __init__(
        self,
        source: PictureSource,
        selector: FrameSelector,
        tracker: Tracker,
        *,
        queue_frames: int,
        max_lag_s: float = 1.0,
        watcher: Callable[[Picture], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source, self.selector, self.tracker = source, selector, tracker
        self._queue = SampleQueue(queue_frames, drops=source.live)
        self._max_lag_s = max_lag_s
        self._watcher = watcher
        self._clock = clock
        self._failure: BaseException | None = None
        self._started = self._stopping = False
        self._thread = threading.Thread(target=self._read, name="videoswin source", daemon=True)
        self._pictures, self._answers = _Rate(clock), _Rate(clock)
        self._latency_s = 0.0

    def stop(self, grace_s: float = _GRACE_S) -> bool:
        """End the iteration after the current step, wait for the source's thread, and close the source. May be called twice,
        from any thread.

        Returns:
            Whether the thread has ended within ``grace_s`` seconds. A camera's driver or a name server can hold it for longer;
            then the source stays open until the thread is let go.
        """
        self._stopping = True
        self._queue.close()
        self.source.stop()
        if self._started and threading.current_thread() is not self._thread:
            self._thread.join(grace_s)
            if self._thread.is_alive():
                return False
        if not self._started:
            self.source.close()
        return True

    def stats(self) -> SessionStats:
        return SessionStats(self._latency_s, self._pictures.value(), self._answers.value(), self._queue.dropped)

    def __iter__(self) -> Iterator[Update | None]:
        """Updates as they come, and None about every half second without one, so that a view stays alive.

        Raises:
            VideoError: the source failed, after the updates that came before.
            RuntimeError: it was iterated before.
        """
        if self._started:
            raise RuntimeError("A session is iterated once; make a new one for another pass.")
        if self._stopping:
            return
        self._started = True
        self._thread.start()
        try:
            while not self._stopping:
                samples = self._queue.take(timeout_s=0.5)
                if samples is None:
                    break
                # Catching up is for sources that do not wait; the others give the same answers every time.
                pieces = [samples] if self.source.live else [[sample] for sample in samples]
                updates = [update for piece in pieces for update in self.tracker.feed(piece)]
                now = self._clock()
                for update in updates:
                    if update.scores:
                        self._latency_s = now - update.due
                        self._answers.count()
                    yield update
                if not updates:
                    yield None
        finally:
            self.stop()
        if self._failure is not None:
            raise self._failure

    def _read(self) -> None:
        looked_s = -1e9
        try:
            for picture in self.source:
                if self._stopping:
                    return
                self._pictures.count()
                overdue = self.source.live and self._clock() - picture.due > self._max_lag_s
                if overdue and 0 <= picture.time_s - looked_s < self._max_lag_s:  # but one is looked at every so often
                    self.source.health.late += 1
                    continue
                looked_s = picture.time_s
                if self._watcher:
                    self._watcher(picture)
                for sample in self.selector.feed(picture):
                    self._queue.put(sample)
        except BaseException as error:  # noqa: BLE001  it belongs to the thread that iterates, and is raised there
            self._failure = error
        finally:
            try:
                self.source.close()
            finally:
                self._queue.close()


class _Rate:
    """Events a second over the last few seconds."""

    def __init__(self, clock: Callable[[], float], window_s: float = 3.0) -> None:
        self._clock, self._window_s = clock, window_s
        self._times: deque[float] = deque(maxlen=1000)
        self._start = clock()

    def count(self) -> None:
        self._times.append(self._clock())

    def value(self) -> float:
        now = self._clock()
        recent = sum(now - t <= self._window_s for t in tuple(self._times))
        return recent / max(1e-3, min(self._window_s, now - self._start))
