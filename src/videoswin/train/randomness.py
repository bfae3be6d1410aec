"""Draws of a run, apart from the caller's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch

__all__ = ["generator_at", "seeded"]


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Inside the block PyTorch's global generators (of the CPU, and of ``device``) start from ``seed``; afterwards they go
    on from where they were. Dropout and fresh weights draw from them and from no other."""
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def generator_at(*where: object) -> torch.Generator:
    """The random numbers of one moment of a run, such as ``(seed, epoch, "mixing", step)``: the same on every machine."""
    digest = blake2b(repr(where).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
