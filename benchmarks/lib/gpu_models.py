"""The models that take turns on a GPU: ours with each engine and compiled, and torchvision's."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from benchmarks.lib.torchvision_swin import gradients_by_our_names, torchvision_swin
from torch import Tensor, nn

from videoswin.kernels import use_engine
from videoswin.model import SwinConfig, VideoSwin, create_model
from videoswin.zoo.swin_macs import stage_grids

__all__ = [
    "COMPILED",
    "EAGER",
    "GRADIENTS",
    "OUTPUTS",
    "Model",
    "Reference",
    "bytes_of_layers",
    "free",
    "loss_of",
    "make",
]

EAGER = ("ours, triton", "ours, plain", "torchvision")
COMPILED = ("torchvision, compiled", "ours, compiled")
OUTPUTS = {"float32": 1e-4, "bf16": 5e-2}
"""Largest relative difference of the logits to those of our plain engine in float32; a model beyond it is not timed."""
GRADIENTS = {"float32": 1e-3, "bf16": 1.5e-1}
"""The same for all gradients together."""


@dataclass
class Model:
    """One of the models, ready to be called with clips (B, 3, T, H, W)."""

    name: str
    module: nn.Module
    call: Callable[[Tensor], Tensor]
    compiled: bool
    facts: dict[str, Any] = field(default_factory=dict)
    """What its rows say beside times."""
    optimizer: torch.optim.Optimizer | None = None

    def gradients(self, ours: VideoSwin) -> dict[str, Tensor]:
        if isinstance(self.module, VideoSwin):
            return {name: p.grad for name, p in self.module.named_parameters() if p.grad is not None}
        return gradients_by_our_names(self.module, ours)


class Reference:
    """Our model in float32 with the plain engine, and what it gives on the first clips: what all are compared with."""

    def __init__(self, config: SwinConfig, clips: Tensor) -> None:
        torch.manual_seed(0)
        self.ours = create_model(config).to(clips.device).eval()
        with torch.no_grad():
            for name, parameter in self.ours.named_parameters():  # fresh weights hide mistakes: zeros and ones
                if name.endswith("relative_position_bias_table"):
                    parameter.normal_()
                elif parameter.ndim == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
        self._clips = clips
        with use_engine("plain"):
            logits = self.ours(clips)
            loss_of(logits).backward()
        self.logits = logits.detach()
        self.grads = {name: p.grad for name, p in self.ours.named_parameters() if p.grad is not None}
        self.ours.zero_grad(set_to_none=True)

    def output_difference(self, model: Model, dtype: torch.dtype) -> float:
        with torch.inference_mode():
            return _relative(model.call(self._clips.to(dtype)).float(), self.logits)

    def gradient_difference(self, model: Model, autocast: Callable[[], Any]) -> float:
        """Over all gradients as one vector."""
        model.module.zero_grad(set_to_none=True)
        with autocast():
            logits = model.call(self._clips)
        loss_of(logits.float()).backward()
        found = model.gradients(self.ours)
        model.module.zero_grad(set_to_none=True)
        if found.keys() != self.grads.keys():
            return float("inf")
        exact = torch.cat([self.grads[name].flatten() for name in self.grads])
        return _relative(torch.cat([found[name].float().flatten() for name in self.grads]), exact)


def make(name: str, reference: Reference, dtype: torch.dtype, training: bool) -> Model:
    """One of :data:`EAGER` or :data:`COMPILED`, with the reference's weights.

    Raises:
        ImportError: torchvision is not installed.
        videoswin.errors.ConfigError: Triton cannot be had here.
    """
    kind, _, how = name.partition(", ")
    if kind == "torchvision":
        module = torchvision_swin(reference.ours).to(dtype)
    else:
        module = VideoSwin(reference.ours.config)
        module.load_state_dict(reference.ours.state_dict())
        module.to(reference.logits.device, dtype)
    module.train(training)
    if how == "compiled":
        compiled = torch.compile(module)

        def call_compiled(clips: Tensor) -> Tensor:
            if len(clips) > 1:  # once for all batches but that of one clip, which compilers treat apart
                torch._dynamo.maybe_mark_dynamic(clips, 0)
            return compiled(clips)

        return Model(name, module, call_compiled, compiled=True)
    if kind == "torchvision":
        return Model(name, module, module, compiled=False)
    with use_engine(how):  # type: ignore[arg-type]  # to hear now if it cannot be had
        pass

    def call(clips: Tensor) -> Tensor:
        with use_engine(how):  # type: ignore[arg-type]
            return module(clips)

    return Model(name, module, call, compiled=False)


def loss_of(logits: Tensor) -> Tensor:
    """Cross-entropy with the labels 0, 1, 2 ..."""
    return nn.functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def bytes_of_layers(config: SwinConfig, clip: tuple[int, int, int], batch: int, element: int) -> int:
    """What the layers of a forward pass read and write when each does so once and nothing is fused: tokens in and out, and
    the weights. Patches and the head count for little and are left out."""
    total = 0
    for dim, depth, grid in zip(config.stage_dims, config.depths, stage_grids(config, *clip), strict=True):
        tokens, hidden = batch * grid[0] * grid[1] * grid[2], int(dim * config.mlp_ratio)
        # Two norms (2C each), qkv (C + 3C), attention (3C + C), proj (2C), two sums (3C each): 20 C; fc1, GELU, fc2.
        block = tokens * (20 * dim + (dim + hidden) + 2 * hidden + (hidden + dim))
        weights = 4 * dim * dim + 2 * dim * hidden
        total += depth * (block + weights)
        total += tokens * 5 * dim if dim != config.stage_dims[-1] else 0  # merging
    return total * element


def free(device: torch.device) -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _relative(got: Tensor, expected: Tensor) -> float:
    difference = float((got.double() - expected.double()).norm() / expected.double().norm().clamp(min=1e-30))
    return difference if difference == difference else float("inf")
