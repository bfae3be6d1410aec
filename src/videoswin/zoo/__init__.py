"""Every system that Video Swin builds on or is measured against, each file reading like its paper.

Names are imported when they are first used: what the models are called is known without PyTorch (``zoo.names``).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videoswin.zoo.macs import count_macs
    from videoswin.zoo.registry import CONFIGS, build, config_from_dict, config_to_dict, create_model, get_config
    from videoswin.zoo.starts import start_from_image

__all__ = [
    "CONFIGS",
    "build",
    "config_from_dict",
    "config_to_dict",
    "count_macs",
    "create_model",
    "get_config",
    "start_from_image",
]

_HOME_OF = {"count_macs": "macs", "start_from_image": "starts"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF.get(name, 'registry')}"), name)
