"""Smoothing, hysteresis and minimum duration: what must hold for any scores at any times."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videoswin.errors import ConfigError
from videoswin.live.decisions import Decider, DecisionSettings, Event, Smoother, Standing, segments

LABELS = ("a", "b", "c")
PLAIN = DecisionSettings(smoothing_s=0, enter=0.6, leave=0.4, min_duration_s=0)


def run(settings: DecisionSettings, rows: list[tuple[float, list[float]]]) -> list[Event]:
    decider = Decider(settings)
    return [event for time_s, scores in rows for event in decider.feed(time_s, scores)] + decider.finish()


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[float, list[float]]]:
    """Rising times with uneven steps, and probabilities of three classes."""
    steps = draw(st.lists(st.floats(0.01, 2.0), min_size=1, max_size=40))
    found, time_s = [], 0.0
    for step in steps:
        time_s += step
        weights = draw(st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
        found.append((time_s, [w / sum(weights) for w in weights]))
    return found


@st.composite
def settings(draw: st.DrawFn) -> DecisionSettings:
    enter = draw(st.floats(0.1, 0.9))
    return DecisionSettings(0, enter, draw(st.floats(0, enter)), draw(st.floats(0, 3)))


@given(settings(), rows())
def test_starts_and_ends_alternate_and_last_long_enough(chosen: DecisionSettings, given: list) -> None:
    events = run(chosen, given)
    assert [event.kind for event in events] == ["start", "end"] * (len(events) // 2)
    for start, end in zip(events[::2], events[1::2], strict=True):
        assert start.label == end.label
        assert end.time_s - start.time_s >= chosen.min_duration_s
        assert start.time_s <= start.decided_s <= end.decided_s
    ends = [event.time_s for event in events[1::2]]
    assert all(end <= start.time_s for end, start in zip(ends, events[2::2], strict=False))


@given(settings(), rows())
def test_a_segment_begins_above_enter_and_never_falls_below_leave(chosen: DecisionSettings, given: list) -> None:
    for segment in segments(run(chosen, given), LABELS):
        seen = {
            time_s: scores[LABELS.index(segment.label)]
            for time_s, scores in given
            if segment.start_s <= time_s <= segment.end_s
        }
        assert seen[segment.start_s] >= chosen.enter
        assert all(score >= chosen.leave for time_s, score in seen.items() if time_s < segment.end_s)
        assert min(seen.values()) - 1e-9 <= segment.score <= max(seen.values()) + 1e-9


@given(rows(), st.floats(0.01, 5))
def test_smoothing_stays_between_the_extremes_and_keeps_the_sum(given: list, smoothing_s: float) -> None:
    smoother = Smoother(smoothing_s)
    low, high = [1.0] * 3, [0.0] * 3
    for time_s, scores in given:
        low = list(map(min, low, scores))
        high = list(map(max, high, scores))
        mean = smoother.feed(time_s, scores)
        assert sum(mean) == pytest.approx(1)
        assert all(a - 1e-9 <= m <= b + 1e-9 for a, m, b in zip(low, mean, high, strict=True))


@given(st.floats(0.05, 3), st.integers(1, 30))
def test_smoothing_counts_seconds_and_not_frames(smoothing_s: float, steps: int) -> None:
    """One long step and many short ones over the same second arrive at the same mean."""
    one, many = Smoother(smoothing_s), Smoother(smoothing_s)
    for smoother in (one, many):
        smoother.feed(0.0, [1.0, 0.0])
    expected = one.feed(1.0, [0.0, 1.0])
    for step in range(1, steps + 1):
        mean = many.feed(step / steps, [0.0, 1.0])
    assert mean == pytest.approx(expected)
    assert expected[0] == pytest.approx(math.exp(-1 / smoothing_s))


def test_no_smoothing_is_the_scores_themselves() -> None:
    smoother = Smoother(0)
    smoother.feed(0, [1.0, 0.0])
    assert smoother.feed(0.1, [0.25, 0.75]) == [0.25, 0.75]


def test_hysteresis_bridges_a_dip() -> None:
    dip = [(0.0, [0.9, 0.1]), (1.0, [0.5, 0.5]), (2.0, [0.9, 0.1]), (3.0, [0.3, 0.55]), (4.0, [0.3, 0.5])]
    (found,) = segments(run(PLAIN, dip), LABELS)
    assert found[:3] == (0, 3, "a")
    assert found.score == pytest.approx(2.3 / 3)


def test_a_flicker_never_happened() -> None:
    settings = DecisionSettings(0, 0.6, 0.4, min_duration_s=1.0)
    flicker = [(0, [0.9, 0.1]), (0.5, [0.1, 0.2]), (1, [0.1, 0.9]), (1.5, [0.1, 0.9]), (2, [0.1, 0.9])]
    assert [(e.kind, e.label, e.time_s, e.decided_s) for e in run(settings, flicker)] == [
        ("start", 1, 1, 2),
        ("end", 1, 2, 2),
    ]


def test_a_better_label_takes_over_without_a_gap() -> None:
    events = run(PLAIN, [(0, [0.9, 0.1]), (1, [0.41, 0.59]), (2, [0.4, 0.6]), (3, [0.4, 0.6])])
    assert [(e.kind, e.label, e.time_s) for e in events] == [
        ("start", 0, 0),
        ("end", 0, 2),
        ("start", 1, 2),
        ("end", 1, 3),
    ]


def test_what_stands_nearest_when_nothing_holds() -> None:
    decider = Decider(DecisionSettings(0, 0.6, 0.4, min_duration_s=1.0))
    assert decider.standing([]) == Standing(None)
    decider.feed(0, [0.5, 0.3])
    assert decider.standing([0.5, 0.3]) == Standing(None, 0, 0.5, None)
    decider.feed(1, [0.2, 0.7])
    decider.feed(1.5, [0.2, 0.8])
    assert decider.standing([0.2, 0.8]) == Standing(None, 1, 0.8, 0.5)
    decider.feed(2, [0.2, 0.8])
    assert decider.standing([0.2, 0.8]) == Standing(1)


def test_state_goes_on_as_if_nothing_had_happened() -> None:
    rows = [(t * 0.3, [0.5 + 0.4 * math.sin(t), 0.5 - 0.4 * math.sin(t)]) for t in range(30)]
    settings = DecisionSettings(0.4, 0.6, 0.4, 0.5)
    whole = [Smoother(0.4), Decider(settings)]
    expected = [event for t, s in rows for event in whole[1].feed(t, whole[0].feed(t, s))]
    for cut in range(30):
        smoother, decider = Smoother(0.4), Decider(settings)
        events = [event for t, s in rows[:cut] for event in decider.feed(t, smoother.feed(t, s))]
        states = smoother.state(), decider.state()
        smoother, decider = Smoother(0.4), Decider(settings)
        smoother.restore(states[0])
        decider.restore(states[1])
        events += [event for t, s in rows[cut:] for event in decider.feed(t, smoother.feed(t, s))]
        assert events == expected


@pytest.mark.parametrize("values", [{"enter": 0.3}, {"smoothing_s": -1}, {"enter": 1.5}, {"min_duration_s": math.nan}])
def test_settings_that_make_no_sense(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        DecisionSettings(**values)
