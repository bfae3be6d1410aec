"""Models that look at grey clips, from weights for colours."""

from dataclasses import replace

import torch

from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.model import VideoSwin

__all__ = ["as_grey", "grey_preprocessing"]

_LUMA = (0.299, 0.587, 0.114)


def grey_preprocessing(base: Preprocessing) -> Preprocessing:
    """``base`` for one channel: normalised with the mean and the deviation that grey has there."""
    if len(base.mean) == 1:
        return base
    mean, std = (sum(w * v for w, v in zip(_LUMA, values, strict=True)) for values in (base.mean, base.std))
    return replace(base, mean=(mean,), std=(std,))


@torch.no_grad()
def as_grey(source: Classifier) -> Classifier:
    """The classifier for grey clips that answers them as ``source`` answers the same clips in colours, all three of them equal:
    the patch embedding's kernels for the three colours are one, and the bias takes up that each is normalised in its own way.

    Clips that whole patches do not fill (sizes that 4 does not divide, odd numbers of frames) are padded with zeros, which are
    another grey in each case; there the answers differ a little.

    Raises:
        ConfigError: the model is no Video Swin model for three channels.
    """
    model = source.model
    if not isinstance(model, VideoSwin) or model.config.in_channels not in (1, 3):
        raise ConfigError("One channel can be made of three for Video Swin models only.")
    if model.config.in_channels == 1:
        return source
    before, after = source.preprocessing, grey_preprocessing(source.preprocessing)
    grey = VideoSwin(model.config.replace(in_channels=1))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    kernel, bias = (state[f"backbone.patch_embed.proj.{name}"].double() for name in ("weight", "bias"))
    mean, std = torch.tensor(before.mean).double(), torch.tensor(before.std).double()
    colour = kernel / std.view(1, 3, 1, 1, 1)  # for values from 0 to 255
    offset = (colour * (after.mean[0] - mean).view(1, 3, 1, 1, 1)).sum(dim=(1, 2, 3, 4))
    state["backbone.patch_embed.proj.weight"] = (colour.sum(1, keepdim=True) * after.std[0]).float()
    state["backbone.patch_embed.proj.bias"] = (bias + offset).float()
    grey.load_state_dict(state)
    return replace(source, model=grey.train(model.training), preprocessing=after)
