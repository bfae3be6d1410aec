"""Time budgets for a run that has to end, and times that can be compared."""

import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch

__all__ = ["Budget", "OutOfTime", "interleaved", "summary", "synchronize", "time_limit"]


class OutOfTime(BaseException):
    """A step took longer than it was given. No :class:`Exception`, so that a library that tries again after any of these
    does not take it for one."""


class Budget:
    """Seconds that a part of a run may take, counted from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def share(self, seconds: float) -> "Budget":
        """Another budget, of what is left or less."""
        return Budget(min(seconds, self.left))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`OutOfTime` when the block takes longer, and again every second until it ends: a library may swallow it.
    Calls into compiled code are interrupted when they come back."""

    def stop(*_: object) -> None:
        raise OutOfTime(f"not done within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01), 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, least_s: float, budget: Budget
) -> dict[str, list[float]]:
    """Seconds of one call each, in turns; every round begins with another one. A sample is as many calls as take
    ``least_s`` together. Rounds end early, all with the same number, when the budget is used up; one is always made.
    """
    repeats = {name: max(1, round(least_s / max(_seconds(call, 1, device), 1e-6))) for name, call in calls.items()}
    names, seconds = list(calls), {name: [] for name in calls}
    for turn in range(rounds):
        if turn and not budget.left:
            break
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(_seconds(calls[name], repeats[name], device))
    return seconds


def summary(seconds: list[float], base: list[float]) -> dict[str, float]:
    """Median, least and most, and the ratio to ``base``: median of the rounds' ratios, with the least and the most."""
    ratios = [mine / its for mine, its in zip(seconds, base, strict=True)]
    return {
        "ms": 1e3 * statistics.median(seconds),
        "ms_least": 1e3 * min(seconds),
        "ms_most": 1e3 * max(seconds),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        "rounds": len(seconds),
    }


def _seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    synchronize(device)
    return (time.perf_counter() - start) / repeats
