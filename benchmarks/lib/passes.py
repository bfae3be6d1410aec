"""The two things a model is timed at: a forward pass, and a training step."""

from collections.abc import Callable

import torch
from benchmarks.lib.job import Job
from benchmarks.lib.peers import Model
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Pass", "forward_pass", "gradients_of", "output_of", "training_step"]

Pass = Callable[[], object]


def forward_pass(model: Model, video: Tensor, job: Job) -> Pass:
    """Logits of a batch, without anything that training would need."""
    if isinstance(model, nn.Module):
        model.eval()

    @torch.inference_mode()
    def run() -> Tensor:
        with job.autocast():
            return model(video)

    return run


def training_step(model: Model, video: Tensor, job: Job) -> Pass:
    """Forward, cross-entropy, backward, and a step of AdamW over all parameters.

    The step is so small that repeats keep computing with much the same weights.
    """
    assert isinstance(model, nn.Module)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    labels = torch.arange(len(video), device=video.device)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        _loss(model, video, labels, job).backward()
        optimizer.step()

    return run


def output_of(model: Model, video: Tensor, job: Job) -> Tensor:
    """Logits (B, num_classes) as float32."""
    output = forward_pass(model, video, job)()
    assert isinstance(output, Tensor)
    return output.float()


def gradients_of(model: nn.Module, video: Tensor, job: Job) -> None:
    """Leave the gradients of one step in the parameters, as fresh ones."""
    model.train()
    model.zero_grad(set_to_none=True)
    _loss(model, video, torch.arange(len(video), device=video.device), job).backward()


def _loss(model: nn.Module, video: Tensor, labels: Tensor, job: Job) -> Tensor:
    with job.autocast():
        logits = model(video)
    return F.cross_entropy(logits.float(), labels)
