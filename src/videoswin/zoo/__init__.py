"""Every system that Video Swin builds on or is measured against, each file reading like its paper."""

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
