"""The model, top to bottom as in the paper: config, windows, attention, blocks, backbone, video_swin, presets.

Names are imported when they are first used: what can be configured is known without PyTorch.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videoswin.model.backbone import SwinBackbone
    from videoswin.model.config import SwinConfig
    from videoswin.model.presets import PRESETS, create_model, get_config
    from videoswin.model.video_swin import VideoSwin

__all__ = [
    "PRESETS",
    "SwinBackbone",
    "SwinConfig",
    "VideoSwin",
    "create_model",
    "get_config",
]

_HOMES = {
    "backbone": ("SwinBackbone",),
    "config": ("SwinConfig",),
    "presets": ("PRESETS", "create_model", "get_config"),
    "video_swin": ("VideoSwin",),
}
# Counting is a matter of all systems, and so is what a model is: they live there, and can be had here as well.
_ELSEWHERE = {
    **dict.fromkeys(("Macs", "count_macs", "stage_grids"), "videoswin.zoo.swin_macs"),
    **dict.fromkeys(("Capability", "VideoModel", "need"), "videoswin.interface.video_model"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    if name in _ELSEWHERE:
        return getattr(import_module(_ELSEWHERE[name]), name)
    if name in ("SlidingStream", "Stream"):  # they stood here before 2026-11-26
        warnings.warn(f"videoswin.model.{name} is now videoswin.{name}.", DeprecationWarning, stacklevel=2)
        globals()[name] = getattr(import_module("videoswin"), name)  # `from ... import` asks twice, and is told once
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
