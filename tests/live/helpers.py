"""Streams so plain that they can be checked by eye."""

import torch
from torch import Tensor, nn


class PlainSlide:
    """The last ``clip_len`` frames through the model, every ``hop`` frames: what a sliding stream has to equal."""

    frames_per_step = 2

    def __init__(self, model: nn.Module, clip_len: int, hop: int = 2) -> None:
        self.model, self.clip_len, self.hop = model, clip_len, hop
        self.calls = 0
        self.reset()

    def reset(self, rows: list[int] | None = None) -> None:
        self.frames: Tensor | None = None
        self.since = 0

    def push(self, clip: Tensor) -> Tensor | None:
        self.frames = clip if self.frames is None else torch.cat([self.frames, clip], dim=2)
        self.frames = self.frames[:, :, -self.clip_len :]
        self.since += clip.shape[2]
        if self.frames.shape[2] < self.clip_len or self.since < self.hop:
            return None
        self.since = 0
        self.calls += 1
        return self.model(self.frames)


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
