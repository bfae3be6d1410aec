"""What every model is to the rest of the package: a module from clips to logits, with a few known methods."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from videoswin.errors import ConfigError
from videoswin.interface.model_config import ModelConfig

__all__ = ["Capability", "VideoModel", "need"]

Capability = Literal["windows", "causal", "pyramid"]
"""What only some systems can: attention in boxes that can be shown and exchanged; a causal form that streams; maps of every
stage for detection heads."""

_NEEDS: dict[Capability, str] = {
    "windows": "attention windows",
    "causal": "a causal model",
    "pyramid": "a map of every stage",
}


class VideoModel(nn.Module):
    """A video classifier: ``model(video)`` takes a normalised clip batch (B, 3, T, H, W) and gives logits (B, num_classes).

    Subclasses write :meth:`forward_features`, :attr:`num_features` and :meth:`check_clip`; most leave the rest alone. With
    ``num_classes=0`` the model has no head and gives features (B, num_features).
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    heads: ClassVar[tuple[str, ...]] = ("head",)
    """Submodules that name the classes; the rest of the model is its trunk."""
    config: Any
    """The system's own :class:`~videoswin.interface.model_config.ModelConfig`."""
    head: Any
    """A module (B, num_features) -> (B, num_classes), or None."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.head = None
        self.grad_checkpointing = False

    @property
    def num_features(self) -> int:
        """Length of a clip's feature vector."""
        raise NotImplementedError

    def forward(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> logits (B, num_classes)."""
        return self.classify(self.forward_features(video))

    def forward_features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> what :meth:`classify` takes: the last map (B, C, T', H', W') or tokens, as the system has it."""
        raise NotImplementedError

    def features(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> one vector a clip, (B, num_features): what the last linear layer reads."""
        return self.pool(self.forward_features(video))

    def pool(self, features: Tensor) -> Tensor:
        """(B, C, ...) -> (B, C): the mean over all places and times."""
        return features.flatten(2).mean(dim=2) if features.ndim > 2 else features

    def classify(self, features: Tensor) -> Tensor:
        """What :meth:`forward_features` gave -> logits (B, num_classes)."""
        pooled = self.pool(features)
        return pooled if self.head is None else self.head(pooled)

    def checked(self, video: Tensor) -> Tensor:
        """The video itself, or a :class:`ConfigError` that names the wrong axis."""
        channels = self.config.in_channels
        if video.ndim != 5:
            raise ConfigError(f"A video batch is (B, {channels}, T, H, W); got shape {tuple(video.shape)}.")
        if video.shape[1] != channels:
            raise ConfigError(
                f"Axis 1 holds the {channels} colour channels of (B, C, T, H, W); "
                f"got {video.shape[1]} in shape {tuple(video.shape)}."
            )
        self.check_clip((video.shape[2], video.shape[3], video.shape[4]))
        if not video.is_floating_point():
            raise ConfigError(f"The model takes normalised floats; got {video.dtype}. Use Preprocessing, or to_clip().")
        return video

    def is_of_head(self, name: str) -> bool:
        """Whether a parameter, buffer or submodule of this name belongs to a head."""
        return name.partition(".")[0] in self.heads

    def trunk_blocks(self) -> list[nn.Module]:
        """The repeated parts of the trunk, in the order in which a clip passes them."""
        raise NotImplementedError

    def check_clip(self, size: tuple[int, int, int]) -> None:
        """(T, H, W) in frames and pixels; a :class:`ConfigError` names the axis that the model cannot take."""
        raise NotImplementedError

    def set_grad_checkpointing(self, enabled: bool = True) -> None:
        """Recompute each block in the backward pass: less memory, about a third more time."""
        self.grad_checkpointing = enabled

    def run(self, block: Callable[..., Tensor], *inputs: object) -> Tensor:
        """``block(*inputs)``, computed again in the backward pass if gradient checkpointing is on."""
        if not (self.grad_checkpointing and self.training and torch.is_grad_enabled()):
            return block(*inputs)
        contexts = lambda: (nullcontext(), _statistics_kept(self))  # noqa: E731
        return checkpoint(block, *inputs, use_reentrant=False, context_fn=contexts)  # type: ignore[return-value]


def need(model: VideoModel, capability: Capability, what: str) -> None:
    """A :class:`ConfigError` if this model's system cannot do ``what``, which needs the capability.

    >>> from videoswin.model import create_model
    >>> need(create_model("swin3d_micro"), "windows", "Pruning windows")
    """
    if capability not in model.capabilities:
        name = type(model).__name__
        raise ConfigError(f"{what} needs {_NEEDS[capability]}, which {name} does not have. Use a Video Swin model.")


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Batch norms use the batch's statistics without counting them: a batch that is computed twice counts once."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
