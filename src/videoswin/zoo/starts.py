"""A video model from image weights, as each paper starts it: kernels repeated over time, temporal maps that begin at zero.

After such a start a clip of one repeated frame gives the image model's features: exactly for the transformers, and for I3D
away from the ends of the clip, where zeros are padded in time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.errors import ConfigError, nearest
from videoswin.interface.video_model import VideoModel

__all__ = ["ImageStart", "Kernel", "inflated", "start_from_image"]

Kernel = Literal["average", "center"]
"""How a 2D kernel becomes a 3D one: repeated over time and divided by its length (I3D), or in the middle frame alone, zeros
around it (ViViT's "central frame", index t // 2)."""

_NOT_FROM_IMAGES = ("head.", "head_dist.")


@dataclass(frozen=True)
class ImageStart:
    """What a start did: names of tensors that came from the image model, and of those that are as they were."""

    taken: tuple[str, ...]
    fresh: tuple[str, ...]


def start_from_image(model: VideoModel, image: Mapping[str, Tensor], kernel: Kernel | None = None) -> ImageStart:
    """Put an image model's weights into a video model, in place. The heads stay fresh.

    Args:
        model: any model of the zoo that has an image counterpart.
        image: the image model's tensors under the video model's names, kernels (out, in, h, w) or (out, in, 1, h, w): of ViT those
            of ``vit_b_16``, of a ResNet or an Inception network those of the video model; ``load(FILE).model.state_dict()`` of a
            public file. Classifiers may be in it; they are not used.
        kernel: "average" or "center"; None for what the system's paper does.

    Raises:
        ConfigError: a tensor is missing or does not fit; the model is unchanged.
    """
    system = getattr(model.config, "system", "swin")
    if system not in _STARTS:
        raise ConfigError(
            f'There is no start from image weights for "{system}" here. Choose one of: {", ".join(_STARTS)}.'
        )
    if kernel is not None and kernel not in get_args(Kernel):
        raise ConfigError(f'kernel="{kernel}" is unknown. {nearest(str(kernel), get_args(Kernel))}')
    ours = model.state_dict()
    taken: dict[str, Tensor] = {}
    for name, tensor in ours.items():
        source = _source(system, name)
        if source is None or name.startswith(_NOT_FROM_IMAGES):
            continue
        if source not in image:
            if name.endswith("num_batches_tracked"):
                continue
            raise ConfigError(f'The image weights have no tensor "{source}", from which "{name}" starts.')
        taken[name] = _fitted(name, image[source], tensor, model, kernel or _STARTS[system])
    with torch.no_grad():
        for name, tensor in taken.items():
            ours[name].copy_(tensor)  # the state dict's tensors are the model's own
        fresh = _silenced(model, system)
    return ImageStart(tuple(taken), tuple(name for name in ours if name not in taken or name in fresh))


# What starts from image weights, and how its kernels grow.
_STARTS: dict[str, Kernel] = {
    "inception": "average",
    "resnet": "average",
    "vit": "average",
    "vtn": "average",
    "timesformer": "average",
    "vivit": "center",
}


def inflated(weight: Tensor, frames: int, kernel: Kernel = "average") -> Tensor:
    """A 2D kernel (out, in, h, w) as a 3D one (out, in, frames, h, w)."""
    if kernel == "average":
        return weight.unsqueeze(2).expand(-1, -1, frames, -1, -1) / frames
    whole = weight.new_zeros(*weight.shape[:2], frames, *weight.shape[2:])
    whole[:, :, frames // 2] = weight
    return whole


def _source(system: str, name: str) -> str | None:
    """Which tensor of the image model one of ours starts from; None: it has no counterpart in images."""
    first, _, rest = name.partition(".")
    if system in ("inception", "resnet"):
        return None if ".context." in name or "gate" in name else name
    if system == "vit":
        return name
    if system == "vtn":
        return name if first == "encoder" else None
    if first == "head":
        return None
    if system == "timesformer":
        if name == "time_embed":
            return None
        # Steps before the ViT's attention are copies of it, silenced by their last layer.
        parts = name.split(".")
        if len(parts) > 2 and parts[2] == "steps":
            inner = {"norm": "norm1", "attn": "attn"}.get(parts[4])
            return None if inner is None else ".".join(["encoder", *parts[:2], inner, *parts[5:]])
        return f"encoder.{name}"
    return _vivit_source(name, first, rest)


def _vivit_source(name: str, first: str, rest: str) -> str | None:
    """ViViT: model 2's second encoder has no counterpart; model 3's temporal attention is a copy, and silent."""
    if first == "temporal":
        return None
    if first == "patch_embed":
        return f"encoder.patch_embed.proj.{rest}"
    name = name.replace(".norm_time.", ".norm1.").replace(".norm_space.", ".norm1.").replace(".norm_mlp.", ".norm2.")
    return "encoder." + name.replace(".attn_time.", ".attn.").replace(".attn_space.", ".attn.")


def _fitted(name: str, source: Tensor, ours: Tensor, model: VideoModel, kernel: Kernel) -> Tensor:
    """The image's tensor in our shape."""
    if source.ndim == 5 and source.shape[2] == 1:  # of a network on frames, whose kernels see one
        source = source.squeeze(2)
    if source.ndim == 4 and ours.ndim == 5:
        source = inflated(source, ours.shape[2], kernel)
    elif name.endswith("pos_embed") and source.shape != ours.shape and source.ndim == 3:
        source = _positions(source, ours, model)
    elif source.ndim == 4 and ours.ndim == 2:
        source = source.flatten(1)
    if source.shape != ours.shape:
        raise ConfigError(
            f"The image weights' \"{name}\" is {tuple(source.shape)}, and the model's {tuple(ours.shape)}."
        )
    return source.to(ours.dtype)


def _positions(source: Tensor, ours: Tensor, model: VideoModel) -> Tensor:
    """Positions of one frame (1, 1 + N, C) for another grid, and for all time steps where ours has them."""
    config = model.config
    side = config.crop_size // config.patch_size
    extra = 0 if getattr(model, "cls_token", True) is None else 2 if getattr(config, "distilled", False) else 1
    tokens = 1 if extra == 0 else extra
    cls, places = source[:, :tokens], source[:, tokens:]
    old = round(places.shape[1] ** 0.5)
    if old * old == places.shape[1] and old != side:
        # TimeSformer resizes to the nearest; the others' papers do not say, and bilinear is what scenic does.
        mode = "nearest" if config.system == "timesformer" else "bilinear"
        grid = places.transpose(1, 2).unflatten(2, (old, old))
        align = {} if mode == "nearest" else {"align_corners": False}
        places = F.interpolate(grid, size=(side, side), mode=mode, **align).flatten(2).transpose(1, 2)
    steps = (ours.shape[1] - extra) // max(places.shape[1], 1)
    return torch.cat([cls[:, :extra], places.repeat(1, max(steps, 1), 1)], dim=1)  # time runs slowest


def _silenced(model: VideoModel, system: str) -> set[str]:
    """Zero what would add time at the start; the names of it."""
    silent: set[str] = set()
    for name, module in model.named_modules():
        last_map = system == "timesformer" and ".steps." in name and name.endswith(".fc")
        last_map |= system == "vivit" and name.endswith(".attn_time.proj")
        if last_map and isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
            silent |= {f"{name}.weight", f"{name}.bias"}
    if system == "timesformer":
        table = getattr(model, "time_embed", None)
        if table is not None:
            nn.init.zeros_(table)
    return silent
