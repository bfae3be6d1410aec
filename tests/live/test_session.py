"""Two threads and a queue: nothing is lost when nobody hurries, and little is late when the model is too slow."""

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.live.helpers import Brightness
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import Interrupted, VideoError, WeightsError
from videoswin.live.decisions import DecisionSettings, segments
from videoswin.live.frame_selector import FrameSelector, Sample
from videoswin.live.session import SampleQueue, Session, open_source
from videoswin.live.sources import Health, Picture
from videoswin.live.tracker import Tracker

PREPROCESSING = Preprocessing(clip_len=4, sampling="time", fps=10.0, size=(8, 8), short_side=8)
FRAME = torch.zeros((2, 2, 3), dtype=torch.uint8)


class Pictures:
    """A source in memory. ``live``: does not wait for the model."""

    name, fps = "pictures", 10.0

    def __init__(self, levels: list[int], live: bool, failure: BaseException | None = None) -> None:
        self.levels, self.live, self.failure = levels, live, failure
        self.health = Health()
        self.stopped = self.closed = False

    def open(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        self.closed = True

    def __iter__(self) -> Iterator[Picture]:
        for number, level in enumerate(self.levels):
            if self.stopped:
                return
            yield Picture(number / 10, torch.full((16, 16, 3), level, dtype=torch.uint8), self.due(number))
        if self.failure:
            raise self.failure

    def due(self, number: int) -> float:
        return number / 10


class World:
    """A clock, a camera of ten frames a second and a model that takes half a second for each push, in one order of events:
    the model's work lets time pass, the camera gives what is due by then, and the model goes on when that is through."""

    def __init__(self, frames: int) -> None:
        self.now = 0.0
        self.frames = frames
        self.given = 0
        self.changed = threading.Condition()
        world = self

        class Camera(Pictures):
            def __iter__(self) -> Iterator[Picture]:
                for picture in super().__iter__():
                    world.until(partial(world.has_come, picture.time_s))
                    yield picture
                    with world.changed:
                        world.given += 1
                        world.changed.notify_all()

        class Model(Brightness):
            def push(self, clip: torch.Tensor) -> torch.Tensor | None:
                with world.changed:
                    world.now += 0.5
                    world.changed.notify_all()
                world.until(lambda: world.given >= min(world.frames, int(world.now * 10 + 1e-6)))
                return super().push(clip)

        self.camera, self.model = Camera([128] * frames, live=True), Model()

    def until(self, true: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(true, timeout=60)

    def has_come(self, time_s: float) -> bool:
        return self.now + 1e-6 >= time_s

    def clock(self) -> float:
        return self.now


def tracker(stream: Brightness | None = None, **options: object) -> Tracker:
    settings = DecisionSettings(smoothing_s=0, enter=0.5, leave=0.4, min_duration_s=0.15)
    to_clip = lambda frames: frames.permute(3, 0, 1, 2).float() / 255  # noqa: E731
    return Tracker(stream or Brightness(), to_clip, settings, view_frames=4, **options)  # type: ignore[arg-type]


def sample(number: int, **fields: bool) -> Sample:
    return Sample(number / 10, 0.0, FRAME, **fields)


# The queue ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 5))
def test_a_full_queue_drops_the_oldest_and_keeps_the_fresh_start(fresh: list[bool], capacity: int) -> None:
    queue = SampleQueue(capacity, drops=True)
    for number, one in enumerate(fresh):
        queue.put(sample(number, fresh=one))
    kept = queue.take(0) or []
    assert [round(s.time_s * 10) for s in kept] == list(range(len(fresh)))[-capacity:]
    assert queue.dropped == max(0, len(fresh) - capacity)
    if len(fresh) > capacity and any(fresh[:-capacity]):
        assert kept[0].fresh
    assert [s.fresh for s in kept[1:]] == fresh[-capacity:][1:]


def test_a_queue_that_does_not_drop_makes_its_filler_wait() -> None:
    queue = SampleQueue(2, drops=False)
    thread = threading.Thread(target=lambda: [queue.put(sample(n)) for n in range(9)])
    thread.start()
    seen: list[float] = []
    while len(seen) < 9:
        batch = queue.take(1) or []
        assert 0 < len(batch) <= 2
        seen += [s.time_s for s in batch]
    thread.join()
    assert seen == [n / 10 for n in range(9)]
    assert queue.dropped == 0
    queue.close()
    assert queue.take(1) is None


# The tracker ----------------------------------------------------------------------------------------------------------


def test_a_backlog_is_pushed_in_one_piece() -> None:
    stream = Brightness()
    updates = tracker(stream).feed([sample(0, fresh=True), *map(sample, range(1, 7))])
    assert stream.pushed == [6]  # and the seventh waits for its partner
    assert [u.time_s for u in updates] == [0.5]


def test_a_fresh_start_resets_and_ends_what_held() -> None:
    stream = Brightness()
    one = tracker(stream)
    updates = one.feed([sample(0, fresh=True), *map(sample, range(1, 4))])
    updates += one.feed([*map(sample, range(4, 8))])
    updates += one.feed([sample(20, fresh=True)])
    assert stream.resets == 2
    events = [event for update in updates for event in update.events]
    assert [(e.kind, e.time_s) for e in events] == [("start", 0.3), ("end", 2.0)]


def test_the_gate_closes_only_when_the_whole_view_is_still() -> None:
    stream = Brightness()
    one = tracker(stream, gate=True)
    one.feed([sample(0, fresh=True)])
    for number in range(1, 20):
        one.feed([sample(number, moved=False)])
    assert one.skipped == 14  # the pair 4 and 5 is the first whose view is still; it is the last that is asked
    pushed = len(stream.pushed)
    one.feed([sample(20)])
    one.feed([sample(21)])
    assert len(stream.pushed) == pushed + 1


def test_a_prepadded_view_answers_at_once() -> None:
    stream = Brightness()
    tracker(stream, prepad=4).feed([sample(0, fresh=True), sample(1)])
    assert stream.pushed == [4, 2]


# The session ----------------------------------------------------------------------------------------------------------


def run(source: Pictures, stream: Brightness | None = None, queue_frames: int = 4) -> tuple[Session, list]:
    session = Session(source, FrameSelector(PREPROCESSING, 10.0), tracker(stream), queue_frames=queue_frames)
    return session, [update for update in session if update]


def test_nothing_is_lost_when_the_source_waits() -> None:
    levels = [0] * 30 + [255] * 30
    session, updates = run(Pictures(levels, live=False))
    assert session.stats().dropped == 0
    assert session.tracker.samples == 60
    assert session.selector.cuts == 1
    events = [event for update in updates for event in update.events] + session.tracker.finish()
    assert [(s.label, s.start_s, s.end_s) for s in segments(events, "abc")] == [
        ("a", pytest.approx(0.1, abs=0.11), 3.0),
        ("c", pytest.approx(3.1, abs=0.11), pytest.approx(5.9, abs=0.11)),
    ]


def test_a_model_that_is_too_slow_loses_frames_and_not_time() -> None:
    """Five frames come while the model looks at two or more, and three may wait."""
    world = World(frames=101)
    with world.changed:
        world.now = 0.1  # two frames are there: the model begins
    selector = FrameSelector(PREPROCESSING, 10.0, cuts=False)
    session = Session(world.camera, selector, tracker(world.model), queue_frames=3, clock=world.clock, max_lag_s=9.0)
    latencies = []
    for update in session:
        if update:
            latencies.append(session.stats().latency_s)
        if world.given + 1 < world.frames and not session._queue._items:
            with world.changed:  # the model waits: so does the world, for the next frame
                world.now += 0.1
                world.changed.notify_all()
    assert session.stats().dropped > 30
    assert session.stats().dropped + session.tracker.samples == 101
    assert max(latencies) <= 0.5 + 0.3 + 0.2 + 1e-6  # a push, what may wait, and what was being put in meanwhile


def test_a_failure_of_the_source_comes_after_what_it_sent() -> None:
    source = Pictures([0] * 10, live=False, failure=VideoError("x", "gone", "Look"))
    session = Session(source, FrameSelector(PREPROCESSING, 10.0), tracker(), queue_frames=4)
    seen: list = []
    with pytest.raises(VideoError, match="gone"):
        seen.extend(session)
    assert [u.time_s for u in seen if u][-1] == pytest.approx(0.9)


def test_stopping_ends_the_thread_and_closes_the_source() -> None:
    source = Pictures([0] * 1_000_000, live=False)
    session = Session(source, FrameSelector(PREPROCESSING, 10.0), tracker(), queue_frames=4)
    for number, _ in enumerate(session):
        if number == 5:
            assert session.stop(60)
    assert not session._thread.is_alive()
    assert source.closed
    assert session.stop()


def test_a_session_is_iterated_once() -> None:
    session, _ = run(Pictures([0] * 4, live=False))
    with pytest.raises(RuntimeError, match="iterated once"):
        list(session)


def test_a_session_that_is_never_iterated_closes_its_source() -> None:
    source = Pictures([0] * 4, live=False)
    session = Session(source, FrameSelector(PREPROCESSING, 10.0), tracker(), queue_frames=4)
    assert session.stop()
    assert source.closed
    assert list(session) == []


def test_a_source_that_cannot_be_stopped_is_not_waited_for() -> None:
    """As a camera whose driver does not come back."""
    stuck, free = threading.Event(), threading.Event()

    class Stuck(Pictures):
        def __iter__(self) -> Iterator[Picture]:
            yield from super().__iter__()
            stuck.set()
            free.wait(60)

    source = Stuck([0] * 4, live=False)
    session = Session(source, FrameSelector(PREPROCESSING, 10.0), tracker(), queue_frames=4)
    updates = iter(session)
    next(updates)
    assert stuck.wait(60)
    assert not session.stop(grace_s=0.01)
    assert not source.closed  # the thread may still be inside it
    free.set()
    session._thread.join(60)
    list(updates)
    assert source.closed


def test_opening_ends_when_asked_to_and_failures_are_raised_here() -> None:
    class Never(Pictures):
        def __init__(self) -> None:
            super().__init__([], live=True)
            self.event = threading.Event()

        def open(self) -> None:
            self.event.wait(60)
            raise Interrupted("stopped")

        def stop(self) -> None:
            self.event.set()

    with pytest.raises(Interrupted):
        open_source(Never(), lambda: True)

    class Broken(Pictures):
        def open(self) -> None:
            raise VideoError("x", "gone", "Look")

    with pytest.raises(VideoError, match="gone"):
        open_source(Broken([], live=True), lambda: False)


def test_scores_that_are_no_numbers_are_an_error() -> None:
    class Broken(Brightness):
        def push(self, clip: torch.Tensor) -> torch.Tensor | None:
            return torch.tensor([[0.0, float("nan"), 1.0]])

    with pytest.raises(WeightsError, match="no numbers"):
        run(Pictures([0] * 10, live=False), Broken())


def test_a_class_that_stands_for_none_never_holds() -> None:
    """Brightness answers with one class for bright frames and another for dark ones; one of them is "none"."""
    seen = {}
    for none in (None, 0, 1):
        one = tracker(none=none)
        updates = [update for number in range(12) for update in one.feed([sample(number)])]
        seen[none] = {event.label for update in updates for event in update.events if event.kind == "start"}
        assert none is None or all(update.scores[none] == 0 for update in updates if update.scores)
    assert len(seen[None]) == 1
    (holds,) = seen[None]
    assert seen[holds] == set()
    assert seen[1 - holds] == {holds}
