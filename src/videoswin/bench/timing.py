"""Times that can be compared: taken in turns, in one process, with their spread."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch

__all__ = ["Ratio", "Times", "take_turns", "timed"]


@dataclass(frozen=True)
class Times:
    """Seconds of the repeats, in the order in which they were taken."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the repeats was faster than the first, a quarter slower than the second."""
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0]
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    def over(self, base: "Times") -> "Ratio":
        """How many times as long as ``base``; both were measured in the same rounds."""
        rounds = [mine / its for mine, its in zip(self.seconds, base.seconds, strict=True)]
        return Ratio(self.median / base.median, min(rounds), max(rounds))


class Ratio(NamedTuple):
    """A ratio of medians, with the smallest and the largest ratio of any one round."""

    median: float
    low: float
    high: float


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, until its last kernel is done."""
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def take_turns(
    calls: Mapping[str, Callable[[], object]],
    repeats: int,
    device: torch.device,
    after_each: Callable[[], None] = lambda: None,
) -> dict[str, Times]:
    """Times of calls made in turns. They should be warm already.

    A machine that slows down for a while slows all of them, and each round begins with another call, so that none always
    runs behind the same one.
    """
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(timed(calls[name], device))
            after_each()
    return {name: Times(tuple(taken)) for name, taken in seconds.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
