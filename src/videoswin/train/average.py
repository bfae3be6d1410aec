"""Weights between two points of training."""

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel

__all__ = ["move_towards"]


@torch.no_grad()
def move_towards(model: VideoModel, labels: tuple[str, ...], start: Classifier, share: float) -> None:
    """Moves the weights of ``model`` by ``share`` (0 to 1) of the way to those of ``start``, in place.

    After fine-tuning on few clips, a way back towards the start keeps what the start knew about scenes that those clips do
    not show, and costs nothing when the model runs (WiSE-FT, Wortsman et al., 2022). The head's rows of labels that the start
    does not know stay as they are: there is nothing to go back to, and half way to any other row is no answer. ``labels``:
    those of the model's outputs.

    Raises:
        ConfigError: the two models differ in their tensors.
    """
    ours, theirs = _trunk(model), _trunk(start.model)
    if ours.keys() != theirs.keys() or any(ours[name].shape != theirs[name].shape for name in ours):
        raise ConfigError("Weights can be averaged only between models of one architecture.")
    for name, tensor in ours.items():
        if tensor.is_floating_point():  # batch norms count batches
            tensor.lerp_(theirs[name].to(tensor), share)
    pairs = [(row, start.labels.index(label)) for row, label in enumerate(labels) if label in start.labels]
    other = start.model.state_dict()
    for name, tensor in model.state_dict().items():
        if not model.is_of_head(name) or name not in other:
            continue
        known = other[name].to(tensor)
        if ".fc." not in name:
            tensor.lerp_(known, share)
        for row, theirs_row in pairs if ".fc." in name else ():
            tensor[row].lerp_(known[theirs_row], share)


def _trunk(model: VideoModel) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if not model.is_of_head(name)}
