"""A folder that ``videoswin features`` filled, asked whether it is of a checkpoint."""

from pathlib import Path
from typing import Any

from videoswin.classifier.classifier import Classifier
from videoswin.errors import ConfigError
from videoswin.features.layouts import read_features_index
from videoswin.features.store import model_key

__all__ = ["STORE", "require_features_of", "store_of_clips"]

STORE = "store"
"""Where in the folder the features are, by contents."""


def require_features_of(folder: Path, classifier: Classifier) -> dict[str, Any]:
    """What ``features.json`` says.

    Raises:
        ConfigError: there are none, or they are of other weights or another preprocessing.
    """
    settings, _ = read_features_index(folder)
    if settings["model"] != model_key(classifier, {}):
        raise ConfigError(
            f"{folder}: these are features of another checkpoint or another preprocessing ({settings['checkpoint']}). "
            "Give that one, or make them anew with this one: videoswin features DATA --weights CHECKPOINT --out FOLDER"
        )
    return settings


def store_of_clips(folder: Path, classifier: Classifier) -> Path:
    """The store inside ``folder``, for :func:`videoswin.features.clips.clip_features`.

    Raises:
        ConfigError: as :func:`require_features_of`; or the features are not one vector for each clip.
    """
    settings = require_features_of(folder, classifier)
    if settings["pool"] != "mean" or settings["stride"] is not None:
        raise ConfigError(
            f"{folder}: holds rows along videos or whole maps, not a vector for each clip. Make it with --pool mean and "
            "without --stride."
        )
    return folder / STORE
