"""torchvision's Video Swin with the weights of ours. Needs nothing of videoswin but the model."""

import importlib
import re
import sys
import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from videoswin.model import VideoSwin

__all__ = ["gradients_by_our_names", "ours_to_theirs", "torchvision_swin", "torchvision_title"]

_DECLARED: list[torch.library.Library] = []  # a declaration lives as long as its object


def torchvision_swin(ours: VideoSwin) -> nn.Module:
    """Their model, on our model's device and of its type, in evaluation mode.

    Raises:
        ImportError: torchvision is not installed.
    """
    config, weight = ours.config, ours.backbone.norm.weight
    theirs = _module().SwinTransformer3d(
        patch_size=list(config.patch_size),
        embed_dim=config.embed_dim,
        depths=list(config.depths),
        num_heads=list(config.num_heads),
        window_size=list(config.window_size),
        mlp_ratio=config.mlp_ratio,
        stochastic_depth_prob=0.0,
        num_classes=config.num_classes,
    )
    tensors = {ours_to_theirs(name): tensor for name, tensor in ours.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(tensors, strict=False)
    assert not unexpected, unexpected
    assert all(name.endswith("relative_position_index") for name in missing), missing  # buffers that they compute
    return theirs.to(weight.device, weight.dtype).eval()


def ours_to_theirs(name: str) -> str:
    """The name of a tensor there: stages and mergings take turns in ``features``."""
    name = name.removeprefix("backbone.").replace("head.fc.", "head.")
    name = re.sub(r"^layers\.(\d+)\.blocks\.", lambda found: f"features.{2 * int(found[1])}.", name)
    name = re.sub(r"^layers\.(\d+)\.downsample\.", lambda found: f"features.{2 * int(found[1]) + 1}.", name)
    return name.replace(".mlp.fc1.", ".mlp.0.").replace(".mlp.fc2.", ".mlp.3.")


def gradients_by_our_names(theirs: nn.Module, ours: VideoSwin) -> dict[str, Tensor]:
    """Of the last backward pass."""
    found = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    grads = {name: found[ours_to_theirs(name)] for name, _ in ours.named_parameters()}
    return {name: grad for name, grad in grads.items() if grad is not None}


def torchvision_title() -> str:
    """Its version, and how it was loaded."""
    _module()
    how = "model code only, its compiled operators declared" if _DECLARED else "as installed"
    return f"torchvision {sys.modules['torchvision'].__version__}, {how}"


@cache
def _module() -> Any:
    """The wheel's compiled part is built for the PyTorch of the same index. Beside another build the import stops at two
    operators which the video models never call. Declaring them lets the model code through."""
    path = "torchvision.models.video.swin_transformer"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to load image Python extension")
        try:
            return importlib.import_module(path)
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DECLARED.append(library)
        return importlib.import_module(path)
