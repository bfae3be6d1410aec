"""Pictures and streams so plain that they can be checked by eye."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def scene(count: int, seed: int) -> np.ndarray:
    """Large patches of colour that drift a pixel a frame."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = patches.repeat(16, axis=0).repeat(16, axis=1)
    return np.stack([np.roll(picture, shift, axis=1) for shift in range(count)])


class Brightness:
    """A model of three classes: dark, middle, bright, by the mean of the frames pushed last."""

    frames_per_step = 2

    def __init__(self) -> None:
        self.pushed: list[int] = []
        self.resets = 0

    def reset(self, rows: list[int] | None = None) -> None:
        self.resets += 1

    def push(self, clip: Tensor) -> Tensor | None:
        self.pushed.append(clip.shape[2])
        mean = clip.mean()
        return -10 * (torch.tensor([[0.0, 0.5, 1.0]]) - mean) ** 2 * 10

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        pass
