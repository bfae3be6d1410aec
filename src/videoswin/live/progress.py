"""The file that keeps the place of a long pass: what it holds is what was written, and it belongs to one pass only.

One line says what it is, one holds the SHA-256 of all that follows, and then come tensors in the safetensors format. Whether
it belongs to a pass is a question of contents: the bytes of the video and of the weights, and every setting that shapes a
result. No sum of floats is in it, so the number of threads and the device do not matter.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.errors import ConfigError
from videoswin.predict.scoring import VideoClassifier
from videoswin.storage.atomic import replace_file

__all__ = ["DamagedProgressError", "ProgressFile", "fingerprint"]

_FIRST_LINE = b"videoswin progress 2\n"
_CHUNK = 2**20


class DamagedProgressError(ConfigError):
    """The file is not what was written, or was written by another version."""


class ProgressFile:
    """Numbers and tensors of a pass, under the name ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Replace what was there, in one step. ``state``: plain values for JSON."""
        text = torch.frombuffer(bytearray(json.dumps(state).encode()), dtype=torch.uint8)
        blob = save({"state": text, **{name: tensor.contiguous() for name, tensor in tensors.items()}})
        with replace_file(self.path) as new, new.open("wb") as file:
            file.write(_FIRST_LINE + hashlib.sha256(blob).hexdigest().encode() + b"\n")
            file.write(blob)

    def read(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """What :meth:`write` was given; None if there is no file. Raises :class:`DamagedProgressError`."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        if not content.startswith(_FIRST_LINE):
            raise DamagedProgressError(f"{self.path} is damaged, or of another version of videoswin.")
        digest, _, blob = content[len(_FIRST_LINE) :].partition(b"\n")
        if digest != hashlib.sha256(blob).hexdigest().encode():
            raise DamagedProgressError(f"{self.path} is damaged: its checksum does not fit.")
        try:
            tensors = load(blob)
            return json.loads(tensors.pop("state").numpy().tobytes()), tensors
        except (SafetensorError, KeyError, ValueError) as error:
            raise DamagedProgressError(f"{self.path} is damaged ({error}).") from error

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def fingerprint(classifier: VideoClassifier, video: str | Path | bytes, settings: Mapping[str, Any]) -> str:
    """The SHA-256 of everything that shapes the answers to a video.

    Args:
        settings: plain values for JSON, beside the classifier's own.
    """
    total = hashlib.sha256()
    facts = {
        "settings": settings,
        "preprocessing": classifier.preprocessing.to_dict(),
        "labels": list(classifier.labels),
        "model": asdict(classifier.model.config) if isinstance(classifier, Classifier) else None,
    }
    total.update(json.dumps(facts, sort_keys=True).encode())
    total.update(_digest([video] if isinstance(video, bytes) else _pieces(Path(video))))
    total.update(_weights_digest(classifier))
    return total.hexdigest()


def _weights_digest(classifier: VideoClassifier) -> bytes:
    if isinstance(classifier, Classifier):
        found = hashlib.sha256()
        for name, tensor in sorted(classifier.model.state_dict().items()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return found.digest()
    path = Path(classifier.path)  # type: ignore[attr-defined]  # an exported file: OpenVINO's are two
    beside = [path.with_suffix(".bin")] if path.suffix == ".xml" else []
    return b"".join(_digest(_pieces(file)) for file in [path, *beside])


def _digest(pieces: Iterable[bytes]) -> bytes:
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.digest()


def _pieces(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
