"""Does the Triton kernel compute what the plain engine computes? Random cases, forward and all gradients."""

import multiprocessing
import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from benchmarks.lib.clock import Budget
from torch import Tensor

from videoswin.errors import ConfigError
from videoswin.kernels import attend, use_engine
from videoswin.model.windows import partition

__all__ = ["LIMITS", "Case", "check_kernel", "differences", "random_cases"]

LIMITS = {"float32": 5e-5, "bfloat16": 2e-2, "float16": 3e-3}
"""Largest difference from the plain engine in float32 on the same numbers, relative, in the 2-norm."""
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Case:
    """One call of the operator."""

    grid: Triple
    window: Triple
    shift: Triple
    batch: int
    heads: int
    head_dim: int
    padding: Literal["attended", "masked"]
    relative_bias: Literal["exact", "official"]
    causal: bool
    dtype: str


def random_cases(count: int, seed: int, dtypes: list[str], largest: int) -> Iterator[Case]:
    """The same ones for the same numbers. ``largest``: tokens along an axis of a grid."""
    draw = random.Random(seed)
    for number in range(count):
        window = (draw.choice([2, 4, 8]), draw.choice([3, 5, 7]), draw.choice([3, 5, 7]))
        window = (min(window[0], largest), min(window[1], largest), min(window[2], largest))
        shifted = draw.random() < 0.5
        causal = draw.random() < 0.2
        yield Case(
            grid=(draw.randint(1, largest), draw.randint(1, largest), draw.randint(1, largest)),
            window=window,
            shift=(window[0] // 2, window[1] // 2, window[2] // 2) if shifted else (0, 0, 0),
            batch=draw.choice([1, 2, 3]),
            heads=draw.choice([1, 2, 3, 4]),
            head_dim=draw.choice([32, 32, 32, 16, 64]),  # 32 is that of all published models
            padding=draw.choice(["attended", "masked"]),
            relative_bias="exact" if causal else draw.choice(["exact", "official"]),
            causal=causal,
            dtype=dtypes[number % len(dtypes)],
        )


def differences(case: Case, device: torch.device, seed: int) -> dict[str, float]:
    """Of the output and the gradients by qkv, pad and table; in parts of the larger of their own norm and a twentieth of the
    largest gradient's, since what is 0 in exact numbers is rounding in both."""
    dtype = getattr(torch, case.dtype)
    generator = torch.Generator().manual_seed(seed)
    boxes = partition(case.grid, case.window, case.shift, case.relative_bias, case.padding, device, case.causal)
    dim, tokens = case.heads * case.head_dim, case.grid[0] * case.grid[1] * case.grid[2]
    rows = (2 * case.window[0] - 1) * (2 * case.window[1] - 1) * (2 * case.window[2] - 1)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device).to(dtype)

    inputs = {"qkv": numbers(case.batch, tokens, 3 * dim), "pad": numbers(3 * dim), "table": numbers(rows, case.heads)}
    weights = numbers(case.batch, tokens, dim).float()
    found: dict[str, dict[str, Tensor]] = {}
    for engine, kind in (("plain", torch.float32), ("triton", dtype)):
        leaves = {name: value.to(kind, copy=True).requires_grad_() for name, value in inputs.items()}
        with use_engine(engine):  # type: ignore[arg-type]
            out = attend(leaves["qkv"], leaves["pad"], leaves["table"], boxes, case.heads)
            (out.float() * weights).sum().backward()
        grads = {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
        found[engine] = {"out": out.detach().float(), **{name: grad.float() for name, grad in grads.items()}}
    exact = found["plain"]
    floor = 0.05 * max(float(value.norm()) for name, value in exact.items() if name != "out")
    return {
        name: float((found["triton"].get(name, torch.zeros_like(value)) - value).norm())
        / max(float(value.norm()), floor * (name != "out"), 1e-30)
        for name, value in exact.items()
    }


def check_kernel(
    device: torch.device, count: int, budget: Budget, largest: int = 20, processes: int = 1
) -> dict[str, Any]:
    """How many of the cases were done and how far the worst was, by type; all that failed. Ends with the budget.

    Several ``processes`` share the cases: each compiles the kernels that its own need.
    """
    dtypes = list(LIMITS)
    if interpreted := os.environ.get("TRITON_INTERPRET") == "1":
        dtypes.remove("bfloat16")  # Triton 3.9's interpreter multiplies its bits as whole numbers
    facts: dict[str, Any] = {"asked": count, "limits": {d: LIMITS[d] for d in dtypes}, "interpreted": interpreted}
    try:
        with use_engine("triton"):
            pass
    except ConfigError as error:
        return facts | {"done": 0, "failed": 0, "error": str(error), "worst": {}, "failures": []}
    cases = list(enumerate(random_cases(count, 0, dtypes, largest)))
    if processes == 1:
        parts = [_check(cases, device, budget.left)]
    else:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            shares = [cases[first::processes] for first in range(processes)]
            parts = list(pool.map(_check, shares, [device] * processes, [budget.left] * processes))
    worst: dict[str, dict[str, float]] = {dtype: {} for dtype in dtypes}
    for part in parts:
        for dtype, found in part.worst.items():
            for name, value in found.items():
                worst[dtype][name] = max(value, worst[dtype].get(name, 0.0))
    failures = [failure for part in parts for failure in part.failures]
    return facts | {
        "done": sum(part.done for part in parts), "failed": len(failures), "worst": worst, "failures": failures[:20],
        "seconds": round(budget.seconds - budget.left, 1),
    }  # fmt: skip


@dataclass
class _Checked:
    """Some of the cases."""

    done: int = 0
    worst: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)


def _check(cases: list[tuple[int, Case]], device: torch.device, seconds: float) -> _Checked:
    """At least one of these cases, and as many as there is time for. The number of a case is its seed."""
    checked, budget = _Checked(), Budget(seconds)
    for number, case in cases:
        if (checked.done and not budget.left) or len(checked.failures) >= 20:
            break
        checked.done += 1
        try:
            found = differences(case, device, number)
        except Exception as error:  # noqa: BLE001  a case that cannot be computed is a result, and not the end
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"[:300]
            checked.failures.append({"case": asdict(case), "error": reason})
            continue
        worst = checked.worst.setdefault(case.dtype, {})
        for name, value in found.items():
            worst[name] = max(value, worst.get(name, 0.0))
        if not all(value <= LIMITS[case.dtype] for value in found.values()):
            checked.failures.append({"case": asdict(case), "differences": found})
    return checked
