"""Video Swin Transformer: from videos to labels, and back to why.

The way of the data: file -> frames -> clip -> tokens -> boxes (windows) -> logits -> labels.

    import videoswin
    classifier = videoswin.load("swin3d_micro_gestures")      # or the folder of a training run
    classifier("clip.mp4").predictions                        # (LabelScore(label="circle", score=0.97), ...)
    model = videoswin.create_model("swin3d_t", num_classes=10)  # an nn.Module: (B, 3, T, H, W) -> (B, 10)

Names are imported when they are first used, so that `import videoswin` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videoswin.classifier import Classifier, bundled_checkpoints, inflate, load
    from videoswin.data.decode import Frames, Limits, open_video
    from videoswin.data.index import read_index
    from videoswin.data.preprocessing import Preprocessing, Views
    from videoswin.errors import (
        ConfigError,
        Interrupted,
        MissingExtraError,
        TrainingError,
        VideoError,
        VideoSwinError,
        WeightsError,
    )
    from videoswin.evaluate import Evaluation
    from videoswin.model import PRESETS, SlidingStream, Stream, SwinConfig, VideoSwin, create_model
    from videoswin.predict import LabelScore, Prediction

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "Classifier",
    "ConfigError",
    "Evaluation",
    "Frames",
    "Interrupted",
    "LabelScore",
    "Limits",
    "MissingExtraError",
    "Prediction",
    "Preprocessing",
    "SlidingStream",
    "Stream",
    "SwinConfig",
    "TrainingError",
    "VideoError",
    "VideoSwin",
    "VideoSwinError",
    "Views",
    "WeightsError",
    "__version__",
    "bundled_checkpoints",
    "create_model",
    "inflate",
    "load",
    "open_video",
    "read_index",
]

_HOMES = {
    "videoswin.classifier": ("Classifier", "bundled_checkpoints", "inflate", "load"),
    "videoswin.data.decode": ("Frames", "Limits", "open_video"),
    "videoswin.data.index": ("read_index",),
    "videoswin.data.preprocessing": ("Preprocessing", "Views"),
    "videoswin.errors": (
        "ConfigError",
        "Interrupted",
        "MissingExtraError",
        "TrainingError",
        "VideoError",
        "VideoSwinError",
        "WeightsError",
    ),
    "videoswin.evaluate": ("Evaluation",),
    "videoswin.model": ("PRESETS", "SlidingStream", "Stream", "SwinConfig", "VideoSwin", "create_model"),
    "videoswin.predict": ("LabelScore", "Prediction"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'videoswin' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # the next look-up is a plain one
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
