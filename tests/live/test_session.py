"""Two threads and a queue: nothing is lost when nobody hurries, and little is late when the model is too slow."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.live.helpers import Brightness
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import VideoError
from videoswin.live.decisions import DecisionSettings, segments
from videoswin.live.session import SampleQueue, Session
from videoswin.live.sources import Health, Seen
from videoswin.live.tracker import Engine, FrontEnd, Sample

PREPROCESSING = Preprocessing(clip_len=4, sampling="time", fps=10.0, size=(8, 8), short_side=8)
FRAME = torch.zeros((2, 2, 3), dtype=torch.uint8)


class Pictures:
    """A source in memory. ``live``: does not wait for anybody."""

    name, fps = "pictures", 10.0

    def __init__(self, levels: list[int], live: bool, pace_s: float = 0.0, failure: Exception | None = None) -> None:
        self.levels, self.live, self.pace_s, self.failure = levels, live, pace_s, failure
        self.health = Health()

    def __iter__(self) -> Iterator[Seen]:
        for number, level in enumerate(self.levels):
            if self.pace_s:
                time.sleep(self.pace_s)
            yield Seen(number / 10, time.monotonic(), torch.full((16, 16, 3), level, dtype=torch.uint8))
        if self.failure:
            raise self.failure


def engine(stream: Brightness | None = None, **options: object) -> Engine:
    settings = DecisionSettings(smoothing_s=0, enter=0.5, leave=0.4, min_duration_s=0.15)
    to_clip = lambda frames: frames.permute(3, 0, 1, 2).float() / 255  # noqa: E731
    return Engine(stream or Brightness(), to_clip, settings, view_frames=4, **options)  # type: ignore[arg-type]


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


# The engine -----------------------------------------------------------------------------------------------------------


def test_a_backlog_is_pushed_in_one_piece() -> None:
    stream = Brightness()
    updates = engine(stream).feed([sample(0, fresh=True), *map(sample, range(1, 7))])
    assert stream.pushed == [6]  # and the seventh waits for its partner
    assert [u.time_s for u in updates] == [0.5]


def test_a_fresh_start_resets_and_ends_what_held() -> None:
    stream = Brightness()
    one = engine(stream)
    updates = one.feed([sample(0, fresh=True), *map(sample, range(1, 4))])
    updates += one.feed([*map(sample, range(4, 8))])
    updates += one.feed([sample(20, fresh=True)])
    assert stream.resets == 2
    events = [event for update in updates for event in update.events]
    assert [(e.kind, e.time_s) for e in events] == [("start", 0.3), ("end", 2.0)]


def test_the_gate_closes_only_when_the_whole_view_is_still() -> None:
    stream = Brightness()
    one = engine(stream, gate=True)
    one.feed([sample(0, fresh=True)])
    for number in range(1, 20):
        one.feed([sample(number, moved=False)])
    assert one.skipped == 14  # the pair 4 and 5 is the first whose view is still; it is the last that is asked
    pushed = len(stream.pushed)
    one.feed([sample(20)])
    one.feed([sample(21)])
    assert len(stream.pushed) == pushed + 1


def test_a_fill_answers_at_once() -> None:
    stream = Brightness()
    engine(stream, fill=4).feed([sample(0, fresh=True), sample(1)])
    assert stream.pushed == [4, 2]


# The session ----------------------------------------------------------------------------------------------------------


def run(source: Pictures, stream: Brightness | None = None, queue_frames: int = 4) -> tuple[Session, list]:
    session = Session(source, FrontEnd(PREPROCESSING, 10.0), engine(stream), queue_frames=queue_frames)
    return session, [update for update in session if update]


def test_nothing_is_lost_when_the_source_waits() -> None:
    levels = [0] * 30 + [255] * 30
    session, updates = run(Pictures(levels, live=False))
    assert session.report().dropped == 0
    assert session.engine.samples == 60
    assert session.front.cuts == 1
    events = [event for update in updates for event in update.events] + session.engine.finish()
    assert [(s.label, s.start_s, s.end_s) for s in segments(events)] == [
        (0, pytest.approx(0.1, abs=0.11), 3.0),
        (2, pytest.approx(3.1, abs=0.11), pytest.approx(5.9, abs=0.11)),
    ]


def test_a_model_that_is_too_slow_loses_frames_and_not_time() -> None:
    """A hundred pictures in a second, and a model that takes a fifth of one for each push."""

    class Slow(Brightness):
        def push(self, clip: torch.Tensor) -> torch.Tensor | None:
            time.sleep(0.1)
            return super().push(clip)

    source = Pictures([128] * 100, live=True, pace_s=0.01)
    session = Session(source, FrontEnd(PREPROCESSING, 10.0, cuts=False), engine(Slow()), queue_frames=6)
    latencies = [session.report().latency_s for update in session if update]
    assert session.report().dropped > 0
    assert session.report().dropped + session.engine.samples == 100
    assert max(latencies) < 3  # 6 frames and two pushes are half a second; the rest is for a busy machine


def test_a_failure_of_the_source_comes_after_what_it_sent() -> None:
    source = Pictures([0] * 10, live=False, failure=VideoError("x", "gone", "Look"))
    session = Session(source, FrontEnd(PREPROCESSING, 10.0), engine(), queue_frames=4)
    seen: list = []
    with pytest.raises(VideoError, match="gone"):
        seen.extend(session)
    assert [u.time_s for u in seen if u][-1] == pytest.approx(0.9)


def test_stopping_ends_both_threads() -> None:
    source = Pictures([0] * 1_000_000, live=False)
    session = Session(source, FrontEnd(PREPROCESSING, 10.0), engine(), queue_frames=4)
    for number, _ in enumerate(session):
        if number == 5:
            session.stop()
    session._thread.join(5)
    assert not session._thread.is_alive()
