"""The model, top to bottom as in the paper: config, windows, attention, blocks, backbone, heads, presets."""

from videoswin.model.backbone import SwinBackbone
from videoswin.model.config import SwinConfig
from videoswin.model.heads import VideoSwin
from videoswin.model.macs import Macs, count_macs, stage_grids
from videoswin.model.presets import PRESETS, create_model, get_config
from videoswin.model.sliding import SlidingStream
from videoswin.model.streaming import Stream
from videoswin.model.streams import VideoStream

__all__ = [
    "PRESETS",
    "Macs",
    "SlidingStream",
    "Stream",
    "SwinBackbone",
    "SwinConfig",
    "VideoStream",
    "VideoSwin",
    "count_macs",
    "create_model",
    "get_config",
    "stage_grids",
]
