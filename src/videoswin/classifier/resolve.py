"""What a name means: the one place that says which model a user means by a text.

Every command and every function that takes a checkpoint asks here, so that a name means the same everywhere, and a wrong one
gets the same answer. Nothing is loaded or downloaded, and PyTorch is not imported: a typing error is answered at once.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from videoswin.classifier.bundled import bundled_checkpoints, bundled_folder
from videoswin.classifier.published import PUBLISHED, PublishedModel
from videoswin.classifier.published_zoo import PUBLISHED_ZOO, PublishedZooModel
from videoswin.errors import ConfigError, WeightsError, nearest
from videoswin.interface.model_config import ModelConfig
from videoswin.model.presets import PRESETS
from videoswin.storage.atomic import settled_folder
from videoswin.zoo.names import ZOO_NAMES

__all__ = [
    "EXPORTED_SUFFIXES", "Bundled", "Exported", "Folder", "Hub", "Preset", "Published", "PublishedZoo", "Target", "WeightsFile", "resolve",
]  # fmt: skip

EXPORTED_SUFFIXES = (".onnx", ".xml", ".pt2")
"""What files of ``videoswin export`` are called."""
_HUB = re.compile(r"(?i:hf)://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://.*", re.DOTALL)


@dataclass(frozen=True)
class Bundled:
    """A checkpoint that comes with the package."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Folder:
    """A folder, which should be a checkpoint; it was not looked into."""

    folder: Path


@dataclass(frozen=True)
class Hub:
    """A checkpoint folder on a hub: ``hf://user/repo`` or ``hf://user/repo@revision``."""

    repo: str
    revision: str | None


@dataclass(frozen=True)
class Published:
    """A public file of weights that has a name here."""

    name: str
    model: PublishedModel


@dataclass(frozen=True)
class PublishedZoo:
    """A public file of a system of the zoo that has a name here."""

    name: str
    model: PublishedZooModel


@dataclass(frozen=True)
class WeightsFile:
    """A file that should hold weights; it was not read."""

    path: Path


@dataclass(frozen=True)
class Exported:
    """A file of ``videoswin export``, by its suffix; it was not read."""

    path: Path


@dataclass(frozen=True)
class Preset:
    """An architecture without weights."""

    name: str

    @property
    def config(self) -> ModelConfig:
        """Its configuration; PyTorch is imported for the systems of the zoo."""
        if self.name in PRESETS:
            return PRESETS[self.name]
        from videoswin.zoo.registry import get_config

        return get_config(self.name)


Target = Bundled | Folder | Hub | Published | PublishedZoo | WeightsFile | Exported | Preset


def resolve(path_or_name: str | Path) -> Target:
    """What a text means. What exists under that name on this disk comes first, then checkpoints of the package,
    published models, and architectures.

    Raises:
        ConfigError: it means nothing; the nearest name that does is in the message.
        WeightsError: it is a pipe or a device, or a path of a file that is not there.
    """
    text = str(path_or_name)
    if "\0" in text:
        raise ConfigError(f"{text!r} is no path. Give a checkpoint folder.")
    if found := _HUB.fullmatch(text):
        return Hub(found["repo"], found["revision"])
    path = Path(path_or_name)
    if os.path.isfile(path):
        return Exported(path) if path.suffix in EXPORTED_SUFFIXES else WeightsFile(path)
    if os.path.isdir(folder := settled_folder(path)):
        return Folder(folder)
    if os.path.exists(path):
        raise WeightsError(path, "this is a pipe or a device, not a regular file", "Save the weights to a file first")
    if text in bundled_checkpoints():
        return Bundled(text, bundled_folder(text))
    if text in PUBLISHED:
        return Published(text, PUBLISHED[text])
    if text in PUBLISHED_ZOO:
        return PublishedZoo(text, PUBLISHED_ZOO[text])
    if text in PRESETS or text in ZOO_NAMES:
        return Preset(text)
    raise _nothing(text)


def _nothing(text: str) -> ConfigError | WeightsError:
    if found := _ADDRESS.fullmatch(text):
        if found["scheme"].lower() == "hf":
            return ConfigError(f"{text} is no address on a hub. Write hf://user/repo or hf://user/repo@revision.")
        reason = f"{text} is an address, and files are not loaded from addresses. Download it and give the file"
        return ConfigError(f"{reason}; checkpoints on a hub are hf://user/repo.")
    if Path(text).suffix in (*EXPORTED_SUFFIXES, ".pth", ".pt", ".safetensors"):
        return WeightsError(text, "the file was not found", "Check the path")
    hint = nearest(text, (*bundled_checkpoints(), *PUBLISHED, *PUBLISHED_ZOO, *PRESETS, *ZOO_NAMES))
    if not hint.startswith("Did you"):
        hint = "Give a folder or a file, or one of the names that videoswin models lists."
    return ConfigError(
        f'There is no checkpoint "{text}", neither a folder, a file nor a name known to videoswin. {hint}'
    )
