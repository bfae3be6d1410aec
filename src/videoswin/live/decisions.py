"""From scores that flicker to decisions that a program can act on.

Three steps, each a small class over (time, probabilities): an exponential mean in seconds rather than frames
(:class:`Smoother`), two thresholds and a minimum duration (:class:`Decider`), and the segments that the events delimit.
No frame, no model, no clock: times come in from outside, so files and cameras behave alike.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from videoswin.errors import ConfigError

__all__ = ["Decider", "DecisionSettings", "Event", "Segment", "Smoother", "Standing", "segments"]


@dataclass(frozen=True)
class DecisionSettings:
    """How scores become labels. While nothing holds, the answer is "none".

    Raises:
        ConfigError: a value that makes no sense, or ``leave`` above ``enter``.
    """

    smoothing_s: float = 0.5
    """Time constant of the exponential mean, seconds; 0 for none."""
    enter: float = 0.6
    """The score that a label needs to begin."""
    leave: float = 0.4
    """The score below which it ends; the gap between the two keeps a label from flickering."""
    min_duration_s: float = 0.5
    """Seconds that a label has to hold before its start is announced. One that ends sooner is left out."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} is {value!r}. Use a number of 0 or more.")
        if not self.leave <= self.enter <= 1:
            raise ConfigError(
                f"enter is {self.enter} and leave is {self.leave}. Use scores with 0 <= leave <= enter <= 1."
            )


class Event(NamedTuple):
    """A label began or ended."""

    kind: str
    """"start" or "end"."""
    label: int
    time_s: float
    """When it happened, in seconds of the video."""
    decided_s: float
    """The time of the frame with which that became certain."""
    score: float
    """Mean smoothed score of the label so far."""


class Segment(NamedTuple):
    """From ``start_s`` to ``end_s`` seconds the video shows ``label``, with this mean score."""

    start_s: float
    end_s: float
    label: str
    score: float = 1.0


class Standing(NamedTuple):
    """What holds now, and what comes nearest to it."""

    label: int | None
    """The class that holds, or None."""
    best: int | None = None
    """Where none holds: the class with the highest score; None before the first answer."""
    score: float = 0.0
    """Of ``best``."""
    waiting_s: float | None = None
    """Seconds for which ``best`` has been above ``enter``; None if it is not."""


class Smoother:
    """Exponential mean of probabilities over time: after ``smoothing_s`` seconds of a change, 63 % of it have arrived."""

    def __init__(self, smoothing_s: float) -> None:
        self._smoothing_s = smoothing_s
        self.reset()

    def reset(self) -> None:
        self._time_s = 0.0
        self._mean: list[float] = []
        self._before: tuple[float, list[float]] | None = None  # the mean at the time before the last

    def feed(self, time_s: float, scores: Sequence[float]) -> list[float]:
        """The mean with these scores in it. Times never decrease; unequal steps weigh by their seconds. Scores for the
        same time as the last ones replace them: the later answer knows more.
        """
        if self._mean and time_s > self._time_s:
            self._before = self._time_s, self._mean
        if self._before is None:
            self._mean = list(scores)
        else:
            before_s, before = self._before
            share = 1 - math.exp(-(time_s - before_s) / self._smoothing_s) if self._smoothing_s > 0 else 1.0
            self._mean = [old + share * (new - old) for old, new in zip(before, scores, strict=True)]
        self._time_s = time_s
        return list(self._mean)

    def state(self) -> dict[str, Any]:
        return {"time_s": self._time_s, "mean": self._mean, "before": self._before}

    def restore(self, state: dict[str, Any]) -> None:
        self._time_s, self._mean = float(state["time_s"]), list(state["mean"])
        self._before = (float(state["before"][0]), list(state["before"][1])) if state["before"] else None


@dataclass
class _Held:
    """A label that holds, announced or not yet."""

    label: int
    start_s: float
    announced: bool = False
    total: float = 0.0
    count: int = 0

    @property
    def score(self) -> float:
        return self.total / self.count if self.count else 0.0


class Decider:
    """Smoothed scores in, events out: hysteresis, minimum duration, and "none" in between.

    At most one label holds at a time. Every start is followed by exactly one end of the same label (after
    :meth:`finish`), and no announced label lasts less than ``min_duration_s``.
    """

    def __init__(self, settings: DecisionSettings) -> None:
        self.settings = settings
        self._held: _Held | None = None
        self._last_s = 0.0

    @property
    def label(self) -> int | None:
        """The class that holds and was announced, or None."""
        return self._held.label if self._held and self._held.announced else None

    def feed(self, time_s: float, scores: Sequence[float]) -> list[Event]:
        """The events that these scores bring. ``time_s`` in seconds of the video, never decreasing; ``scores`` 0 to 1."""
        events: list[Event] = []
        best = max(range(len(scores)), key=scores.__getitem__)
        held = self._held
        if held and (scores[held.label] < self.settings.leave or self._is_beaten(held, best, scores)):
            events += self._end(time_s, time_s)
        if self._held is None and scores[best] >= self.settings.enter:
            self._held = _Held(best, time_s)
        self._last_s = time_s
        if self._held:
            events += self._hold(time_s, scores[self._held.label])
        return events

    def standing(self, scores: Sequence[float]) -> Standing:
        """What holds after these scores, which were fed last, and what is nearest to it if nothing does."""
        if self.label is not None or not scores:
            return Standing(self.label)
        best = self._held.label if self._held else max(range(len(scores)), key=scores.__getitem__)
        return Standing(None, best, scores[best], self._last_s - self._held.start_s if self._held else None)

    def finish(self, time_s: float | None = None) -> list[Event]:
        """Nothing follows (the end, a cut): what holds ends at ``time_s``, by default the last time that was fed."""
        end_s = self._last_s if time_s is None else max(time_s, self._last_s)
        return self._end(end_s, end_s)

    def _is_beaten(self, held: _Held, best: int, scores: Sequence[float]) -> bool:
        return best != held.label and scores[best] >= self.settings.enter and scores[best] > scores[held.label]

    def _hold(self, time_s: float, score: float) -> list[Event]:
        held = self._held
        assert held is not None
        held.total += score
        held.count += 1
        if held.announced or time_s - held.start_s < self.settings.min_duration_s:
            return []
        held.announced = True
        return [Event("start", held.label, held.start_s, time_s, held.score)]

    def _end(self, time_s: float, decided_s: float) -> list[Event]:
        held, self._held = self._held, None
        if held is None:
            return []
        ended = Event("end", held.label, time_s, decided_s, held.score)
        if held.announced:
            return [ended]
        if time_s - held.start_s < self.settings.min_duration_s or time_s <= held.start_s:
            return []  # it never happened
        return [Event("start", held.label, held.start_s, decided_s, held.score), ended]

    def state(self) -> dict[str, Any]:
        return {"held": asdict(self._held) if self._held else None, "last_s": self._last_s}

    def restore(self, state: dict[str, Any]) -> None:
        self._held = _Held(**state["held"]) if state["held"] else None
        self._last_s = float(state["last_s"])


def segments(events: Iterable[Event], labels: Sequence[str]) -> list[Segment]:
    """The segments that pairs of start and end delimit; a start without its end is left out. ``labels``: names of the classes."""
    found: list[Segment] = []
    start: Event | None = None
    for event in events:
        if event.kind == "start":
            start = event
        elif start is not None:
            found.append(Segment(start.time_s, event.time_s, labels[event.label], event.score))
            start = None
    return found
