"""Forward passes, training steps and latency on a GPU: models in turns, each row written as soon as it is known."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from benchmarks.lib.clock import Budget, OutOfTime, interleaved, summary, synchronize, time_limit
from benchmarks.lib.gpu_models import (
    COMPILED,
    EAGER,
    GRADIENTS,
    OUTPUTS,
    Model,
    Reference,
    bytes_of_layers,
    free,
    loss_of,
    make,
)  # fmt: skip
from torch import Tensor

from videoswin.model import SwinConfig, get_config
from videoswin.zoo.swin_macs import count_macs

__all__ = ["TURNS", "Peak", "Sizes", "latency", "measure_peak", "speed"]

Row = dict[str, Any]
_DTYPES = {"bf16": torch.bfloat16, "float32": torch.float32}
TURNS = ("eager", "compiled")
"""Which models take turns: those that are not compiled, and these with the compiled ones."""
_ROUNDS = 5
_TINY = SwinConfig(embed_dim=32, depths=(1, 2), num_heads=(1, 2), window_size=(2, 3, 3), num_classes=5)


@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    presets: tuple[str, ...] = ("swin3d_t", "swin3d_b")
    precisions: tuple[str, ...] = ("bf16", "float32")
    clip: tuple[int, int, int] = (32, 224, 224)
    batches: tuple[int, ...] = (8, 32, 1)
    """In this order: the compiled models are compiled for any batch at the first one, and anew for a batch of one."""
    least_s: float = 0.05
    """Of one sample: short calls are repeated."""
    turns: tuple[str, ...] = TURNS


@dataclass(frozen=True)
class Peak:
    """The card at its best, measured."""

    flops: dict[str, float]
    """Of a large matrix product in each precision, a second."""
    bytes_per_s: float
    """Of a copy, read plus written."""


def measure_peak(device: torch.device, side: int = 8192, copied: int = 2**30) -> Peak:
    """The quickest of some matrix products and copies."""
    flops = {}
    for name, dtype in _DTYPES.items():
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        out = torch.empty(side, side, device=device, dtype=dtype)
        flops[name] = 2 * side**3 / _quickest(partial(torch.mm, a, b, out=out), device)
    source = torch.zeros(copied // 4, device=device)
    target = torch.empty_like(source)
    return Peak(flops, 2 * copied / _quickest(partial(target.copy_, source), device))


def speed(device: torch.device, sizes: Sizes, peak: Peak, budget: Budget) -> Iterator[Row]:
    """Rows of forward passes and training steps. bf16 comes first, and the small model; what there is no time for is a row
    that says so.

    Everything is measured without the compiled models first, since compiling may take all the time there is, and then once
    more with them. ``turns`` says which: rows of one kind of turns share their rounds.
    """
    jobs = [
        (turns, precision, preset, what)
        for turns in sizes.turns
        for precision in sizes.precisions
        for preset in sizes.presets
        for what in ("forward", "train")
    ]
    for number, (turns, precision, preset, what) in enumerate(jobs):
        facts = {"part": what, "model": preset, "precision": precision, "turns": turns}
        if not budget.left:
            yield {**facts, "error": "not measured: out of time"}
            continue
        # An equal share of what is left, and half as much again: jobs of small models leave more to the others. Compiling
        # takes a minute or more, and half a compiled model is none: there, the first job may take all.
        share = budget.share(1.5 * budget.left / (len(jobs) - number)) if turns == "eager" else budget
        names = EAGER if turns == "eager" else (*EAGER, *COMPILED)
        job = _Job(device, sizes, peak, _config(preset), precision, what, names)
        yield from ({**facts, **row} for row in job.rows(share))
        free(device)


class _Job:
    """One model in one precision, forward or training, at all batch sizes."""

    def __init__(
        self,
        device: torch.device,
        sizes: Sizes,
        peak: Peak,
        config: SwinConfig,
        precision: str,
        what: str,
        names: Sequence[str],
    ) -> None:
        self.device, self.sizes, self.peak, self.config, self.names = device, sizes, peak, config, names
        self.precision, self.training = precision, what == "train"
        # Inference in bf16 throughout; training as people train: float32 weights, products in bf16.
        self.dtype = torch.float32 if self.training else _DTYPES[precision]

    def autocast(self) -> AbstractContextManager[Any]:
        if self.training and self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def rows(self, budget: Budget) -> Iterator[Row]:
        torch.manual_seed(1)
        clips = torch.randn(2, 3, *self.sizes.clip, device=self.device)
        try:
            reference = Reference(self.config, clips)
        except torch.OutOfMemoryError:
            yield {"error": "out of memory"}
            return
        models: list[Model] = []
        for name in self.names:
            made = self._checked(name, reference, budget)
            if isinstance(made, Model):
                models.append(made)
            else:
                yield {"name": name, **made}
        for batch in self.sizes.batches:
            yield from self._batch(models, batch, budget)

    def _checked(self, name: str, reference: Reference, budget: Budget) -> "Model | Row":
        """The model, compiled where it is to be, and known to compute the right thing; or why it is not measured."""
        start = time.perf_counter()
        try:
            with time_limit(_limit(name, budget)):
                model = make(name, reference, self.dtype, self.training)
                if self.training:
                    difference = reference.gradient_difference(model, self.autocast)
                else:
                    difference = reference.output_difference(model, self.dtype)
                synchronize(self.device)
        except (Exception, OutOfTime) as error:  # noqa: BLE001  a model that fails is a row, and not the end
            free(self.device)
            return {"error": _reason(error)}
        limit = (GRADIENTS if self.training else OUTPUTS)[self.precision]
        if not difference <= limit:
            return {"error": f"differs by {difference:.1e}, more than {limit:.0e}: not timed", "difference": difference}
        model.facts = {"difference": difference, "first_s": round(time.perf_counter() - start, 1)}
        return model

    def _batch(self, models: list[Model], batch: int, budget: Budget) -> Iterator[Row]:
        clips = torch.randn(batch, 3, *self.sizes.clip, device=self.device).to(self.dtype)
        calls: dict[str, Callable[[], object]] = {}
        memory: dict[str, int] = {}
        for model in models:
            call = None
            try:
                if not budget.left:
                    raise OutOfTime("not measured: out of time")
                with time_limit(_limit(model.name, budget)):
                    call = self._call(model, clips)
                    call()  # warm; compiles where this size was not compiled
                    memory[model.name] = self._memory_of(call)
                calls[model.name] = call
            except (Exception, OutOfTime) as error:  # noqa: BLE001
                yield {"batch": batch, "name": model.name, "error": _reason(error)}
                model.module.zero_grad(set_to_none=True)
                del call
                free(self.device)
        if not calls:
            return
        try:
            seconds = interleaved(calls, _ROUNDS, self.device, self.sizes.least_s, budget)
        except torch.OutOfMemoryError:
            yield {"batch": batch, "error": "out of memory, all models together"}
            return
        finally:
            for model in models:
                model.module.zero_grad(set_to_none=True)
        base = next((name for name in ("torchvision", "ours, plain") if name in seconds), next(iter(seconds)))
        by_name = {model.name: model for model in models}
        for name, taken in seconds.items():
            yield self._row(batch, taken, seconds[base], base) | by_name[name].facts | {
                "name": name, "memory_mib": round(memory[name] / 2**20, 1),
            }  # fmt: skip

    def _call(self, model: Model, clips: Tensor) -> Callable[[], object]:
        if not self.training:

            @torch.inference_mode()
            def forward() -> object:
                return model.call(clips)

            return forward
        if model.optimizer is None:
            fused = self.device.type == "cuda"
            model.optimizer = torch.optim.AdamW(model.module.parameters(), lr=1e-6, fused=fused)
        optimizer = model.optimizer

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            with self.autocast():
                logits = model.call(clips)
            loss_of(logits.float()).backward()
            optimizer.step()

        return step

    def _memory_of(self, call: Callable[[], object]) -> int:
        """Bytes that one call adds to what is there; 0 where the device does not say."""
        if self.device.type != "cuda":
            return 0
        synchronize(self.device)
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        call()
        synchronize(self.device)
        return torch.cuda.max_memory_allocated(self.device) - before

    def _row(self, batch: int, seconds: list[float], base: list[float], base_name: str) -> Row:
        found = summary(seconds, base)
        passes = 3 if self.training else 1  # backward multiplies twice as much, and moves about twice as much
        element = 2 if self.precision == "bf16" else 4
        median_s = found["ms"] / 1e3
        flops = 2 * count_macs(self.config, *self.sizes.clip).executed * batch * passes
        moved = bytes_of_layers(self.config, self.sizes.clip, batch, element) * passes
        return {
            "batch": batch,
            "clips_per_s": batch / median_s,
            **found,
            "ratio_to": base_name,
            "share_of_products": flops / median_s / self.peak.flops[self.precision],
            "share_of_memory": moved / median_s / self.peak.bytes_per_s,
        }


def latency(device: torch.device, sizes: Sizes, budget: Budget, calls: int = 50) -> Iterator[Row]:
    """One clip at a time in bf16, called as usual, and as a CUDA graph that is played again."""
    for preset in sizes.presets:
        config = _config(preset)
        clips = torch.randn(2, 3, *sizes.clip, device=device)
        reference = Reference(config, clips)
        one = clips[:1].to(torch.bfloat16)
        plays: dict[str, Callable[[], object]] = {}
        for name in ("ours, triton", "ours, plain", "torchvision"):
            for graphed in (False, True):
                title = f"{name}, graph" if graphed else name
                try:
                    with time_limit(max(5.0, budget.left / 4)):
                        model = make(name, reference, torch.bfloat16, training=False)
                        play = _graph(model, one) if graphed else partial(_infer, model, one)
                        play()
                    plays[title] = play
                except (Exception, OutOfTime) as error:  # noqa: BLE001
                    yield {"part": "latency", "model": preset, "name": title, "error": _reason(error)}
        if plays:
            seconds = interleaved(plays, calls, device, 0.0, budget)
            base = next((name for name in ("torchvision", "ours, plain") if name in plays), next(iter(plays)))
            for name, taken in seconds.items():
                p95 = sorted(taken)[min(len(taken) - 1, int(0.95 * len(taken)))]
                facts = {"part": "latency", "model": preset, "precision": "bf16", "batch": 1, "name": name}
                yield {**facts, **summary(taken, seconds[base]), "ms_p95": 1e3 * p95, "ratio_to": base}
        del plays, reference
        free(device)


@torch.inference_mode()
def _infer(model: Model, clips: Tensor) -> Tensor:
    return model.call(clips)


def _graph(model: Model, clips: Tensor) -> Callable[[], object]:
    if clips.device.type != "cuda":
        raise RuntimeError("CUDA graphs need a CUDA device")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            expected = _infer(model, clips)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = _infer(model, clips)
    graph.replay()
    synchronize(clips.device)
    torch.testing.assert_close(out.float(), expected.float(), rtol=1e-2, atol=1e-2)

    def play(_: object = (model, clips)) -> None:  # a graph reads their memory, and does not keep it
        graph.replay()

    return play


def _limit(name: str, budget: Budget) -> float:
    """Seconds for getting a model ready. Compiling may take half of what is left, so that something is measured."""
    return max(5.0, budget.left / 2 if name.endswith("compiled") else budget.left)


def _config(preset: str) -> SwinConfig:
    """Nothing is drawn; windows that are clipped in space (none at 224 pixels) read the table as torchvision does."""
    config = _TINY if preset == "tiny" else get_config(preset)
    return config.replace(drop_path=0.0, head_dropout=0.0, relative_bias="official")


def _quickest(call: Callable[[], object], device: torch.device, repeats: int = 10) -> float:
    best = float("inf")
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def _reason(error: BaseException) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory"
    if (inside := str(error).find("OutOfTime: ")) >= 0:  # the compiler wraps it in errors of its own
        return str(error)[inside + len("OutOfTime: ") :].splitlines()[0]
    lines = str(error).strip().splitlines() or [""]
    return str(error) if isinstance(error, OutOfTime) else f"{type(error).__name__}: {lines[0]}"[:300]
