"""What ``videoswin features`` filled, read: a folder, or an address of a store as if it were one."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from videoswin.classifier.classifier import Classifier
from videoswin.errors import ConfigError
from videoswin.features.fetched import Fetched
from videoswin.features.layouts import read_features_index
from videoswin.features.store import model_key
from videoswin.storage.addresses import local_path

__all__ = ["STORE", "FeaturesFolder", "store_of_clips"]

STORE = "store"
"""Where in the folder the features are, by contents."""


class FeaturesFolder:
    """Features that are asked whose they are, and for their files.

    Args:
        place: a folder, or an address such as ``s3://bucket/features``, whose files are copied into the cache when they are
            asked for (:mod:`videoswin.features.fetched`).
        notice: told what is copied.

    Attributes:
        name: how the place may be shown.
        settings: what ``features.json`` says.
        lines: of ``index.jsonl``, those that have features.

    Raises:
        ConfigError: there are none, or the address holds a password.
        OutputError: the store cannot be reached.
    """

    def __init__(self, place: str | Path, notice: Callable[[str], object] = lambda line: None) -> None:
        local = local_path(place)
        if local is None:
            fetched = Fetched(str(place), notice)
            self.name, self.settings, self.lines = fetched.name, fetched.settings, fetched.lines
            self._files: Callable[[str], AbstractContextManager[Path]] = fetched.files
        else:
            self.name = str(local)
            self.settings, self.lines = read_features_index(local)
            self._files = lambda part: nullcontext(local)

    def files(self, part: str) -> AbstractContextManager[Path]:
        """A folder of this machine that has ``stageN`` or ``store`` in it. At the end of the block an address may change it.

        Raises:
            ConfigError: files at the address are not what its index describes.
            OutputError: the store cannot be reached, or the cache cannot be written to.
        """
        return self._files(part)

    def require_of(self, classifier: Classifier) -> None:
        """A :class:`ConfigError` if the features are of other weights or another preprocessing."""
        if self.settings["model"] != model_key(classifier, {}):
            raise ConfigError(
                f"{self.name}: these are features of another checkpoint or another preprocessing "
                f"({self.settings['checkpoint']}). Give that one, or make them anew with this one: videoswin features DATA "
                "--weights CHECKPOINT --out FOLDER"
            )


def store_of_clips(
    place: str | Path, classifier: Classifier, notice: Callable[[str], object] = lambda line: None
) -> Path:
    """The store of the features at ``place``, for :func:`videoswin.features.clips.clip_features`.

    Raises:
        ConfigError: there are none; they are of other weights or another preprocessing, or not one vector for each clip.
        OutputError: the store at an address cannot be reached.
    """
    features = FeaturesFolder(place, notice)
    features.require_of(classifier)
    if features.settings["pool"] != "mean" or features.settings["stride"] is not None:
        raise ConfigError(
            f"{features.name}: holds rows along videos or whole maps, not a vector for each clip. Make it with --pool mean and "
            "without --stride."
        )
    with features.files(STORE) as folder:
        return folder / STORE  # its names are made of contents: another process cannot change what they mean
