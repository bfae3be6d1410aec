"""What one clip costs each model of a comparison on this machine: seconds, in turns, and memory, each in a process of its own."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from videoswin.bench.measure import Job, peak_memory
from videoswin.bench.processor import processor_name
from videoswin.bench.timing import take_turns
from videoswin.bench.variants import OURS
from videoswin.errors import VideoSwinError
from videoswin.train.plan import Plan

__all__ = ["COSTS", "MISHAPS", "machine", "measure_costs", "one_line"]

COSTS = ("latency_s", "latency_ratio", "memory_bytes")
"""The figures of a model that are of the machine."""

MISHAPS = (VideoSwinError, RuntimeError, MemoryError, ValueError, ArithmeticError, LookupError, TypeError)
"""What may go wrong with one model and says nothing of the others."""

_REPEATS = 7


def machine(device: torch.device) -> dict[str, Any]:
    """What a figure in seconds belongs to; no names of hosts."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def measure_costs(
    models: Mapping[str, dict[str, Any]], plans: Mapping[str, Plan], device: torch.device, say: Callable[[str], None]
) -> None:
    """Into the entry of each model :data:`COSTS`, None where a figure cannot be had; nothing if all have them. All are measured anew
    where one is missing, since times compare only within one run."""
    if all(cost in models[name] for name in plans for cost in COSTS):
        return
    say("measuring time and memory of one clip")
    calls: dict[str, Callable[[], object]] = {}
    for name, plan in plans.items():
        models[name].update(dict.fromkeys(COSTS))
        try:
            call = _one_clip(plan, device)
            call()  # warm
        except MISHAPS as error:  # all models are held at once here: it may well learn alone
            say(f"the time of {name} is not known: {one_line(error)}")
        else:
            calls[name] = call
    times = take_turns(calls, _REPEATS, device) if calls else {}
    for name, taken in times.items():
        models[name]["latency_s"] = [taken.median, *taken.quartiles]
        models[name]["latency_ratio"] = taken.over(times[next(iter(times))])._asdict()
    for name in plans:
        try:
            clip = models[name]["clip"]
            job = Job(name, (clip[0], clip[1], clip[2]), 1, str(device), "float32", models[name]["config"])
            models[name]["memory_bytes"] = peak_memory(OURS, job, "forward")
        except (*MISHAPS, OSError) as error:  # of a system that does not tell, or too little memory
            say(f"the memory of {name} is not known: {one_line(error)}")


def one_line(error: Exception) -> str:
    """What went wrong, without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def _one_clip(plan: Plan, device: torch.device) -> Callable[[], object]:
    model = plan.classifier.model.to(device).eval()
    p = plan.classifier.preprocessing
    clip = torch.randn(1, 3, p.clip_len, *p.size, generator=torch.Generator().manual_seed(0)).to(device)

    def call() -> object:
        with torch.inference_mode():
            return model(clip)

    return call
