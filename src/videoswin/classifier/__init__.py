"""A model with its preprocessing and labels: how it is named, kept and loaded.

Names are imported when they are first used: what a name means (:mod:`videoswin.classifier.resolve`) is known without PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videoswin.classifier.bundled import bundled_checkpoints, sample_videos
    from videoswin.classifier.classifier import Classifier
    from videoswin.classifier.loading import inflate, load

__all__ = ["Classifier", "bundled_checkpoints", "inflate", "load", "sample_videos"]

_HOME_OF = {
    "Classifier": "classifier",
    "bundled_checkpoints": "bundled",
    "inflate": "loading",
    "load": "loading",
    "sample_videos": "bundled",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
