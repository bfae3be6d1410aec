"""What lower thresholds would have given, counted on the way, so that "no segments" comes with an answer to "why?"."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from videoswin.live.decisions import Decider, DecisionSettings

__all__ = ["BestScore", "ThresholdScan"]

_STEPS = tuple(round(0.05 * step, 2) for step in range(1, 20))


class BestScore(NamedTuple):
    """The highest score of all answers: of class ``label``, at ``time_s`` seconds."""

    score: float
    label: int
    time_s: float


class ThresholdScan:
    """Follows the scores with every ``enter`` below the one of ``settings``, in steps of .05, and counts segments.

    ``best``: the highest score so far, None before the first answer.
    """

    def __init__(self, settings: DecisionSettings) -> None:
        lower = [step for step in _STEPS if step < settings.enter]
        self._deciders = [Decider(replace(settings, enter=step, leave=min(step, settings.leave))) for step in lower]
        self._counts = [0] * len(lower)
        self.best: BestScore | None = None

    def feed(self, time_s: float, scores: Sequence[float]) -> None:
        """Smoothed scores; times never decrease."""
        label = max(range(len(scores)), key=scores.__getitem__)
        if self.best is None or scores[label] > self.best.score:
            self.best = BestScore(scores[label], label, time_s)
        for number, decider in enumerate(self._deciders):
            self._count(number, decider.feed(time_s, scores))

    def finish(self, time_s: float | None = None) -> None:
        """A cut or a gap at ``time_s``, or the end."""
        for number, decider in enumerate(self._deciders):
            self._count(number, decider.finish(time_s))

    def segments_at(self) -> dict[float, int]:
        """``enter`` -> how many segments it would have given, from the highest that gives any down."""
        found = {decider.settings.enter: n for decider, n in zip(self._deciders, self._counts, strict=True) if n}
        return dict(sorted(found.items(), reverse=True))

    def _count(self, number: int, events: Sequence[Any]) -> None:
        self._counts[number] += sum(event.kind == "end" for event in events)

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "counts": self._counts, "deciders": [decider.state() for decider in self._deciders]}

    def restore(self, state: dict[str, Any]) -> None:
        self.best = BestScore(*state["best"]) if state["best"] else None
        self._counts = [int(count) for count in state["counts"]]
        for decider, values in zip(self._deciders, state["deciders"], strict=True):
            decider.restore(values)
