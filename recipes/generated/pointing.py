"""A model, and the layers that say where the fingertip is: the dense answers that :mod:`generated.gesture_pretraining` learns from.

They read maps that the model computes, through hooks: the model stays the paper's, and the layers are dropped afterwards.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel
from videoswin.model import VideoSwin
from videoswin.model.blocks import PatchMerging

__all__ = ["Answers", "Pointers", "pointers_for"]

_HEAT_STAGE = 1  # the second stage: fine enough to point at a fingertip, deep enough to know one
_PLACE = 8  # pixels of a place of its map


class Answers(NamedTuple):
    """To one batch."""

    logits: Tensor
    heat_loss: Tensor
    tip_loss: Tensor


def pointers_for(model: VideoModel, clip_len: int, size: tuple[int, int]) -> "Pointers":
    """Those of its kind, for clips (clip_len, *size)."""
    return StagePointers(model) if _merges(model) else BlockPointers(model, clip_len, size)


class Pointers(nn.Module):
    """``heat`` says in which place of a map (B, T', H', W', C) the fingertip is, for each frame of a time step; ``tip`` says its
    coordinates."""

    def __init__(self, model: VideoModel, heat: nn.Linear, tip: nn.Linear) -> None:
        super().__init__()
        self.model, self.heat, self.tip = model, heat, tip
        self._seen: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []

    def forward(self, video: Tensor, tips: Tensor) -> Answers:
        """``video`` (B, 3, T, H, W), ``tips`` (B, T, 2) as shares of the picture."""
        features = self.model.forward_features(video).float()
        fine, last = (self.as_map(self._seen.pop(name), video).float() for name in ("fine", "last"))
        with torch.autocast(video.device.type, enabled=False):
            tip = self.tip(last.mean(dim=(2, 3))).view_as(tips)
            return Answers(self.model.classify(features), _heat_loss(self.heat(fine), tips), _tip_loss(tip, tips))

    def as_map(self, made: Tensor, video: Tensor) -> Tensor:
        """What the model made of a batch, as (B, T', H', W', C)."""
        raise NotImplementedError

    def let_go(self) -> None:
        """The model is as it was before: nothing listens to it."""
        for hook in self._hooks:
            hook.remove()


class StagePointers(Pointers):
    """Any Swin, with the two layers that say where the fingertip is; each time step holds ``patch_size[0]`` frames.

    They read the map that the second stage hands on, and the last one after its norm.
    """

    def __init__(self, model: VideoModel) -> None:
        frames, merges = model.config.patch_size[0], _merges(model)
        stage = min(_HEAT_STAGE, len(merges) - 1)
        heat = nn.Linear(model.config.stage_dims[stage], frames)
        super().__init__(model, heat, nn.Linear(model.num_features, 2 * frames))
        trunk: Any = model.backbone if isinstance(model, VideoSwin) else model
        self._hooks = [
            merges[stage].register_forward_pre_hook(lambda _, given: self._seen.update(fine=given[0])),
            trunk.norm.register_forward_hook(lambda _module, _given, made: self._seen.update(last=made)),
        ]

    def as_map(self, made: Tensor, video: Tensor) -> Tensor:
        return made


class BlockPointers(Pointers):
    """Any other system: it points on the map of the last block that is as fine as a Swin's second stage, and tells coordinates
    from that of its last block.

    Raises:
        ConfigError: no block hands on such a map.
    """

    def __init__(self, model: VideoModel, clip_len: int, size: tuple[int, int]) -> None:
        fine, last = _pointing_blocks(model, clip_len, size)
        heat = nn.Linear(fine.channels, clip_len // fine.steps)
        super().__init__(model, heat, nn.Linear(last.channels, 2 * clip_len // last.steps))
        self._hooks = [
            fine.block.register_forward_hook(self._keep("fine")),
            last.block.register_forward_hook(self._keep("last")),
        ]

    def as_map(self, made: Tensor, video: Tensor) -> Tensor:
        tokens = _map_of(self.model, made, video)
        assert tokens is not None  # as it was for the first clip
        return tokens

    def _keep(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda _module, _given, made: self._seen.update({name: made})


class _Block(NamedTuple):
    """One whose output is a map (B, steps, H', W', channels)."""

    block: nn.Module
    steps: int
    height: int
    width: int
    channels: int


def _merges(model: VideoModel) -> list[nn.Module]:
    """What lies between a Swin's stages; other systems have none."""
    return [module for module in model.modules() if isinstance(module, PatchMerging)]


@torch.no_grad()
def _pointing_blocks(model: VideoModel, clip_len: int, size: tuple[int, int]) -> tuple[_Block, _Block]:
    """The last one with a fine map, and the last one with a map."""
    video = torch.zeros(1, model.config.in_channels, clip_len, *size)
    found: list[_Block] = []

    def note(block: nn.Module, _given: Any, made: Any) -> None:
        tokens = _map_of(model, made, video)
        if tokens is not None:
            found.append(_Block(block, *tokens.shape[1:]))

    hooks = [block.register_forward_hook(note) for block in model.trunk_blocks()]
    was_training = model.training
    model.eval().forward_features(video)
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    fine = [one for one in found if one.height * _PLACE >= size[0] and one.width * _PLACE >= size[1]]
    if not fine:
        raise ConfigError(
            f"No block of this {type(model).__name__} has places of {_PLACE}x{_PLACE} pixels to point at."
        )
    return fine[-1], found[-1]


def _map_of(model: VideoModel, made: Tensor, video: Tensor) -> Tensor | None:
    """What a block made of a batch, as (B, T', H', W', C); None if it has no places.

    Networks of convolutions make (B, C, T', H', W'), transformers rows of tokens: of a clip, or of each of its time steps, with a
    class token before them or not.
    """
    if made.ndim == 5:
        return made.permute(0, 2, 3, 4, 1)
    patch = getattr(model.config, "patch_size", None)
    if made.ndim != 3 or not isinstance(patch, int):
        return None
    batch, _, frames, height, width = video.shape
    grid = (frames // getattr(model.config, "tubelet", 1), height // patch, width // patch)
    tokens = grid[0] * grid[1] * grid[2] * batch // len(made)
    if not 0 <= made.shape[1] - tokens <= 2:
        return None
    return made[:, made.shape[1] - tokens :].reshape(batch, *grid, made.shape[2])


def _heat_loss(heat: Tensor, tips: Tensor) -> Tensor:
    """``heat`` (B, T', H', W', frames of a time step): a cross entropy over the places of each frame."""
    batch, steps, height, width, frames = heat.shape
    heat = heat.permute(0, 1, 4, 2, 3).reshape(batch * steps * frames, height * width)
    column, row = (tips[..., 0] * width).floor().long(), (tips[..., 1] * height).floor().long()
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    target = torch.where(inside, row * width + column, -100)  # -100: cross_entropy leaves it out
    return F.cross_entropy(heat, target.flatten())


def _tip_loss(found: Tensor, tips: Tensor) -> Tensor:
    return F.smooth_l1_loss(found, (tips - 0.5) * 4, beta=0.2)
