"""Weights between two points of training."""

import torch

from videoswin.classifier.classifier import Classifier
from videoswin.errors import ConfigError
from videoswin.model import VideoSwin

__all__ = ["move_towards"]


@torch.no_grad()
def move_towards(model: VideoSwin, labels: tuple[str, ...], start: Classifier, share: float) -> None:
    """Moves the weights of ``model`` by ``share`` (0 to 1) of the way to those of ``start``, in place.

    After fine-tuning on few clips, a way back towards the start keeps what the start knew about scenes that those clips do
    not show, and costs nothing when the model runs (WiSE-FT, Wortsman et al., 2022). The head's rows of labels that the start
    does not know stay as they are: there is nothing to go back to, and half way to any other row is no answer. ``labels``:
    those of the model's outputs.

    Raises:
        ConfigError: the two models differ in their tensors.
    """
    ours, theirs = model.backbone.state_dict(), start.model.backbone.state_dict()
    if ours.keys() != theirs.keys() or any(ours[name].shape != theirs[name].shape for name in ours):
        raise ConfigError("Weights can be averaged only between models of one architecture.")
    for name, tensor in ours.items():
        tensor.lerp_(theirs[name].to(tensor), share)
    if model.head is None or start.model.head is None:
        return
    for row, label in enumerate(labels):
        if label in start.labels:
            known = start.labels.index(label)
            for name in ("weight", "bias"):
                mine, other = getattr(model.head.fc, name), getattr(start.model.head.fc, name)
                mine[row].lerp_(other[known].to(mine), share)
