"""What takes turns: our model in its forms, and torchvision's code with the same weights."""

import importlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import torch
from torch import Tensor, nn

from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, MissingExtraError, nearest
from videoswin.export import default_path, export
from videoswin.export import require as require_format
from videoswin.export.runtime import load_exported
from videoswin.interface.video_model import VideoModel
from videoswin.kernels import use_engine
from videoswin.model import VideoSwin
from videoswin.weights.formats import FAMILIES

__all__ = ["OTHERS", "OURS", "Model", "build", "choose", "gradients", "is_trainable", "require", "require_form"]

Model = Callable[[Tensor], Tensor]
OURS = "videoswin"
OTHERS = ("plain", "compiled", "onnx", "openvino", "torchvision")
"""What ``--peers`` can name."""
_EXPORTED = ("onnx", "openvino")


def choose(names: str) -> list[str]:
    """ "all", "none", or some names with commas in between.

    Raises:
        ConfigError: a name is unknown.
    """
    if names in ("all", "none"):
        return list(OTHERS) if names == "all" else []
    wanted = [name.strip().lower() for name in names.split(",")]
    for name in wanted:
        if name not in OTHERS:
            raise ConfigError(f'There is no peer "{name}". {nearest(name, [*OTHERS, "all", "none"])}')
    return [name for name in OTHERS if name in wanted]


def is_trainable(name: str) -> bool:
    return name not in _EXPORTED


def require(name: str, device: torch.device) -> None:
    """Ask for a library before anything is measured.

    Raises:
        MissingExtraError: it is not there, or does not load.
        ConfigError: the form does not run on this device.
    """
    if name == "torchvision":
        _torchvision()
    if name in _EXPORTED:
        if device.type != "cpu":
            raise ConfigError("Exported files run on the CPU.")
        require_format(name)


def require_form(name: str, model: VideoModel) -> None:
    """A :class:`ConfigError` if this model has no such form."""
    if name in ("plain", "torchvision") and "windows" not in model.capabilities:
        raise ConfigError(f"{name} is a form of Video Swin; {type(model).__name__} has PyTorch's own operators alone.")


def build(name: str, ours: VideoModel, clip: tuple[int, int, int]) -> Model:
    """A form with our model's weights, on its device: clips (B, 3, T, H, W) -> logits. A trainable one is a module."""
    if name in _EXPORTED:
        return _exported(name, ours, clip)
    if name == "torchvision" and isinstance(ours, VideoSwin):
        return _their_model(ours)
    plain = name == "plain" and isinstance(ours, VideoSwin)
    model: VideoModel = _Plain(ours.config) if plain else type(ours)(ours.config)
    model.load_state_dict(ours.state_dict())
    model.to(next(ours.parameters()).device)
    if name == "compiled":
        model.compile()  # in place, so that names of tensors stay
    return model


def gradients(name: str, model: nn.Module) -> dict[str, Tensor]:
    """Of the last backward pass, by our names."""
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return FAMILIES["torchvision_3d"].to_canonical(found).tensors if name == "torchvision" else found


class _Plain(VideoSwin):
    """With PyTorch's own operators only: what the compiled engine is worth."""

    def forward(self, video: Tensor) -> Tensor:
        with use_engine("plain"):
            return super().forward(video)


def _exported(to: str, ours: VideoModel, clip: tuple[int, int, int]) -> Model:
    preprocessing = Preprocessing(clip_len=clip[0], size=clip[1:], short_side=None)
    labels = tuple(f"class {i}" for i in range(ours.config.num_classes))
    with TemporaryDirectory() as folder:
        file = Path(folder) / default_path("model", to)
        export(Classifier(ours, preprocessing, labels), file, to)
        return load_exported(file).logits


def _their_model(ours: VideoSwin) -> nn.Module:
    config, family = ours.config, FAMILIES["torchvision_3d"]
    model = _torchvision().SwinTransformer3d(
        patch_size=list(config.patch_size),
        embed_dim=config.embed_dim,
        depths=list(config.depths),
        num_heads=list(config.num_heads),
        window_size=list(config.window_size),
        mlp_ratio=config.mlp_ratio,
        stochastic_depth_prob=0.0,
        num_classes=config.num_classes,
    )
    tensors = family.from_canonical(ours.state_dict(), config.window_size)
    buffers = {name: buffer.shape for name, buffer in model.named_buffers()}
    model.load_state_dict({k: v.view(buffers[k]) if k in buffers else v for k, v in tensors.items()})
    return model.to(ours.backbone.norm.weight.device)


def _torchvision() -> ModuleType:
    try:
        return importlib.import_module("torchvision.models.video.swin_transformer")
    except ImportError as error:
        raise MissingExtraError("torchvision is not installed: pip install torchvision") from error
    except RuntimeError as error:  # its compiled part is of another PyTorch
        reason = str(error).splitlines()[0]
        raise MissingExtraError(
            f"torchvision does not load beside this PyTorch ({reason}). Install the two from one index."
        ) from error
