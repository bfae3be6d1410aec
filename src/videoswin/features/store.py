"""Where features are kept: one file for each clip, model, preprocessing and question.

The name of a file is made of what the clip's file holds, what the weights are, how frames are chosen and cut, and what was
asked for. So a changed file, another checkpoint or another size never meets old features, and nothing has to be deleted when
one of them changes. A file is there whole or not at all; one that is damaged counts as not there.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.clips import Clip
from videoswin.errors import VideoError, WeightsError
from videoswin.storage.cache import cache_folder
from videoswin.weights.safetensors import TensorInfo, read_header, read_tensors, write_tensors

__all__ = ["FeatureStore", "clip_key", "model_key"]

_VERSION = 3  # of what a file holds; part of its name
_NOT_SEEN = (
    "num_classes",
    "head_dropout",
    "head_parts",
    "head_memory",
)  # of a configuration: what features do not depend on


class FeatureStore:
    """The features of one classifier, for one question.

    Args:
        question: plain values for JSON that say what is computed: pooling, stages, stride.
        folder: None is the cache.
        fetch: called with each path before it is looked at, to put a file there that is kept elsewhere.
    """

    def __init__(
        self,
        classifier: Classifier,
        question: Mapping[str, Any],
        folder: Path | None = None,
        fetch: Callable[[Path], object] = lambda path: None,
    ) -> None:
        self.key = model_key(classifier, question)
        self.folder = (folder or cache_folder() / "features") / self.key
        self.folder.mkdir(parents=True, exist_ok=True)
        self._fetch = fetch

    def path(self, row: Clip) -> Path:
        """Where the features of a clip are, or would be. Reads the clip's file to its end.

        Raises:
            VideoError: the file cannot be read.
        """
        path = self.folder / f"{clip_key(row)}.safetensors"
        self._fetch(path)
        return path

    @staticmethod
    def read(path: Path) -> dict[str, Tensor] | None:
        """What :meth:`write` was given; None if it is not there, or damaged: it can be had again."""
        if not path.is_file():
            return None
        try:
            return read_tensors(path)
        except WeightsError:
            return None

    @staticmethod
    def read_header(path: Path) -> dict[str, TensorInfo] | None:
        """What the file holds, by name; None if it is not there, or not whole."""
        try:
            return read_header(path) if path.is_file() else None
        except WeightsError:
            return None

    @staticmethod
    def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors, in one step."""
        write_tensors(path, tensors)


def model_key(classifier: Classifier, question: Mapping[str, Any]) -> str:
    """Of the weights below the head, the preprocessing and the question: equal for equal features, and for nothing else."""
    digest = hashlib.blake2b(digest_size=12)
    config = {k: v for k, v in classifier.model.config.to_dict().items() if k not in _NOT_SEEN}
    facts = [_VERSION, type(classifier.model).__name__, config, classifier.preprocessing.to_dict(), dict(question)]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(classifier.model.state_dict().items()):
        if not classifier.model.is_of_head(name):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def clip_key(row: Clip) -> str:
    """Of the bytes of the clip's file, and of the seconds that it means."""
    try:
        with row.path.open("rb") as file:
            content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise VideoError(row.path, f"it cannot be read ({error.strerror})", "Check the path and its rights") from error
    return f"{content}-{row.start}-{row.end}" if row.is_part else content
