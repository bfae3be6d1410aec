"""The processes of a run: one, or as many as ``torchrun`` started, with a device each.

PyTorch's own DistributedDataParallel and FSDP2 (``fully_shard``), and not Fabric or Accelerate: what a run needs of such a
library is the averaging of gradients and the sharding of weights, and those are wrappers round PyTorch's. Its own draws,
checkpoints, batches and signals this trainer has already, where they hold to the bit; theirs would have to be kept out.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn

from videoswin.errors import ConfigError

__all__ = ["Processes", "joined", "part_of", "settle", "whole"]


class Processes:
    """``rank`` of ``world``; the first is the one that writes and speaks."""

    def __init__(self, rank: int = 0, world: int = 1, strategy: str = "ddp") -> None:
        self.rank = rank
        self.world = world
        self.strategy = strategy

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def shares(self) -> bool:
        """Whether each process holds a part of the model only."""
        return self.world > 1 and self.strategy == "fsdp"

    def split(self, model: nn.Module) -> None:
        """With ``fsdp``, leaves each process a part of every block, in place."""
        if not self.shares:
            return
        from torch.distributed.fsdp import fully_shard

        stages = getattr(getattr(model, "backbone", None), "stages", ())
        for stage in stages:
            for block in stage.blocks:
                fully_shard(block)
        fully_shard(model)

    def wrapped(self, answers: nn.Module, device: torch.device) -> nn.Module:
        """The module whose gradients are averaged over the processes while they are computed."""
        if self.world == 1 or self.shares or not any(p.requires_grad for p in answers.parameters()):
            return answers
        from torch.nn.parallel import DistributedDataParallel

        devices = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(answers, device_ids=devices, broadcast_buffers=False)

    def apart(self, wrapped: nn.Module, until: bool) -> Any:
        """Inside the block gradients are not averaged yet, unless this is the last batch of a step (``until``)."""
        if self.world == 1:
            return nullcontext()
        if self.shares:
            for module in wrapped.modules():
                if hasattr(module, "set_requires_gradient_sync"):
                    module.set_requires_gradient_sync(until)  # type: ignore[operator]
            return nullcontext()
        return nullcontext() if until or not hasattr(wrapped, "no_sync") else wrapped.no_sync()  # type: ignore[operator]

    def sum(self, values: Sequence[float]) -> list[float]:
        """Of all processes."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(total, group=_plain_group())
        return total.tolist()

    def gather(self, values: list[Any]) -> list[Any]:
        """The lists of all processes, one after the other."""
        if self.world == 1:
            return values
        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, values, group=_plain_group())
        return [value for part in found for value in part]

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            distributed.barrier(group=_plain_group())


_groups: list[Any] = []


def _plain_group() -> Any:
    """A group that talks over gloo, which takes numbers on the CPU; made once, by all at the same time."""
    if not _groups:
        _groups.append(distributed.new_group(backend="gloo"))
    return _groups[0]


def settle(model: nn.Module) -> None:
    """With ``fsdp``, back to the parts: a forward pass without a backward one leaves some parameters whole."""
    for module in model.modules():
        if hasattr(module, "reshard"):
            module.reshard()  # type: ignore[operator]


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which this process may hold a part. All processes have to ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # type: ignore[operator]


def part_of(like: Tensor, tensor: Tensor) -> Tensor:
    """This process's part of a whole tensor, as it holds one of ``like``; scalars and whole tensors stay."""
    if not hasattr(like, "placements") or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)  # type: ignore[attr-defined]


@contextmanager
def joined(strategy: str, device: torch.device) -> Iterator[Processes]:
    """The processes that ``torchrun`` started, this one among them; without it, this one alone.

    Raises:
        ConfigError: ``fsdp`` without torchrun.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        if strategy == "fsdp":
            raise ConfigError(
                'strategy="fsdp" shares a model among processes; start them: torchrun --nproc-per-node N -m videoswin train.'
            )
        yield Processes()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        _plain_group()
        yield Processes(distributed.get_rank(), world, strategy)
    finally:
        _groups.clear()
        distributed.destroy_process_group()
