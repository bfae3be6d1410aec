"""Video Swin Transformer: video files to labels, features, timelines and live predictions.

The way of the data: file -> frames -> clip -> tokens -> boxes (windows) -> logits -> labels.

    import videoswin
    classifier = videoswin.load("swin3d_micro_gestures")      # or the folder of a training run
    classifier("clip.mp4").predictions                        # (LabelScore(label="circle", score=0.97), ...)
    model = videoswin.create_model("swin3d_t", num_classes=10)  # an nn.Module: (B, 3, T, H, W) -> (B, 10)

Names are imported when they are first used, so that `import videoswin` costs nothing.
"""

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videoswin.classifier.bundled import bundled_checkpoints
    from videoswin.classifier.classifier import Classifier
    from videoswin.classifier.loading import inflate, load
    from videoswin.data.annotations import read_index
    from videoswin.data.decode import Frames, Limits, open_video
    from videoswin.data.preprocessing import Preprocessing, Views
    from videoswin.errors import (
        ConfigError,
        Interrupted,
        MissingExtraError,
        OutputError,
        TrainingError,
        VideoError,
        VideoSwinError,
        WeightsError,
    )
    from videoswin.interface.video_model import VideoModel
    from videoswin.model import PRESETS, SwinConfig, VideoSwin
    from videoswin.predict.evaluation import Evaluation
    from videoswin.predict.results import LabelScore, Prediction
    from videoswin.streams.causal import Stream
    from videoswin.streams.sliding import SlidingStream
    from videoswin.zoo import create_model

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
    "OutputError",
    "Prediction",
    "Preprocessing",
    "SlidingStream",
    "Stream",
    "SwinConfig",
    "TrainingError",
    "VideoError",
    "VideoModel",
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
    "videoswin.classifier.bundled": ("bundled_checkpoints",),
    "videoswin.classifier.classifier": ("Classifier",),
    "videoswin.classifier.loading": ("inflate", "load"),
    "videoswin.data.decode": ("Frames", "Limits", "open_video"),
    "videoswin.data.annotations": ("read_index",),
    "videoswin.data.preprocessing": ("Preprocessing", "Views"),
    "videoswin.errors": (
        "ConfigError",
        "Interrupted",
        "MissingExtraError",
        "OutputError",
        "TrainingError",
        "VideoError",
        "VideoSwinError",
        "WeightsError",
    ),
    "videoswin.predict.evaluation": ("Evaluation",),
    "videoswin.model": ("PRESETS", "SwinConfig", "VideoModel", "VideoSwin"),
    "videoswin.streams.causal": ("Stream",),
    "videoswin.streams.sliding": ("SlidingStream",),
    "videoswin.predict.results": ("LabelScore", "Prediction"),
    "videoswin.zoo": ("create_model",),
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


# Modules that had other names before 2026-11-26; people's code may still use them.
_MOVED = {
    "videoswin.card": "videoswin.classifier.card",
    "videoswin.config_file": "videoswin.classifier.folder",
    "videoswin.data.flip": "videoswin.data.mirror_labels",
    "videoswin.data.index": "videoswin.data.annotations",
    "videoswin.device": "videoswin.classifier.device",
    "videoswin.evaluate": "videoswin.predict.evaluation",
    "videoswin.hub": "videoswin.classifier.hub",
    "videoswin.labels": "videoswin.classifier.labels",
    "videoswin.live.model": "videoswin.live.pace",
    "videoswin.model.engine": "videoswin.kernels.choose",
    "videoswin.model.heads": "videoswin.model.video_swin",
    "videoswin.pipeline": "videoswin.predict.batches",
    "videoswin.profile": "videoswin.predict.profile",
    "videoswin.report": "videoswin.predict.report_page",
    "videoswin.runtime": "videoswin.export.runtime",
    "videoswin.timeline": "videoswin.live.timeline",
    "videoswin.timeline_files": "videoswin.live.timeline_files",
    "videoswin.weights.catalog": "videoswin.classifier.published",
    "videoswin.weights.families": "videoswin.weights.formats",
}


class _MovedModules:
    """Finds a module under its old name, with a :class:`DeprecationWarning` that gives the new one."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(name, _MovedModules) if name in _MOVED else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        warnings.warn(f"{spec.name} is now {_MOVED[spec.name]}.", DeprecationWarning, stacklevel=2)
        module = import_module(_MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """It ran under its new name; the import system has just written the old one over it."""
        if module.__spec__:
            module.__spec__ = module.__spec__.loader_state


sys.meta_path.append(_MovedModules)  # type: ignore[arg-type]  # last: only asked for names that nobody else knows
