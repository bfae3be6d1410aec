"""Box attention: one operator; plain PyTorch, a compiled kernel for CPUs, a Triton kernel for GPUs."""

from videoswin.kernels.boxes import BoxGroup, Partition
from videoswin.kernels.choose import InForce, attend, chosen_engine, engine_in_force, same_engine, use_engine

__all__ = [
    "BoxGroup",
    "InForce",
    "Partition",
    "attend",
    "chosen_engine",
    "engine_in_force",
    "same_engine",
    "use_engine",
]
