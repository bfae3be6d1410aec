"""Weights between two points of training."""

import torch

from videoswin.errors import ConfigError
from videoswin.model import VideoSwin

__all__ = ["move_towards"]


@torch.no_grad()
def move_towards(model: VideoSwin, other: VideoSwin, share: float) -> None:
    """Moves the weights of ``model`` by ``share`` (0 to 1) of the way to those of ``other``, in place.

    After fine-tuning on few clips, a way back towards the start keeps what the start knew about scenes that those clips do
    not show, and costs nothing when the model runs (WiSE-FT, Wortsman et al., 2022).

    Raises:
        ConfigError: the two models differ in their tensors.
    """
    ours, theirs = model.state_dict(), other.state_dict()
    if ours.keys() != theirs.keys() or any(ours[name].shape != theirs[name].shape for name in ours):
        raise ConfigError("Weights can be averaged only between models of one architecture with the same classes.")
    for name, tensor in ours.items():
        tensor.lerp_(theirs[name], share)
