"""Box attention: one operator; plain PyTorch, a compiled kernel for CPUs, a Triton kernel for GPUs."""

from videoswin.kernels.choose import chosen_engine, use_engine

__all__ = ["chosen_engine", "use_engine"]
