"""An exported file as a classifier."""

import hashlib
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError
from videoswin.export.formats import FORMATS
from videoswin.export.runtime.metadata import Metadata
from videoswin.predict.scoring import VideoClassifier, require_finite_logits

__all__ = ["ExportedClassifier", "Runtime"]


class Runtime(Protocol):
    """One library with one file open in it."""

    title: str
    """The library and its version, for people."""

    @property
    def metadata(self) -> Metadata: ...

    def run(self, clips: Tensor) -> Tensor:
        """float32 (B, 3, T, H, W), contiguous, on the CPU -> logits (B, num_classes), float32."""
        ...


class ExportedClassifier(VideoClassifier):
    """Predicts as the checkpoint does that the file was exported from. Preprocessing and labels are the file's own."""

    def __init__(self, path: Path, runtime: Runtime) -> None:
        self.path = path
        self.runtime = runtime
        self.metadata = runtime.metadata
        self.preprocessing: Preprocessing = self.metadata.preprocessing
        self.labels = self.metadata.labels
        self.name = self.metadata.name
        self.none_threshold = self.metadata.none_threshold
        self.training = self.metadata.training

    def __repr__(self) -> str:
        made = self.metadata.made
        what = f"{made.to} {made.precision}, {len(self.labels)} labels, {self.runtime.title}"
        return f'ExportedClassifier("{self.name}", {what})'

    @property
    def num_parameters(self) -> int:
        return self.metadata.made.num_parameters

    def logits(self, clips: Tensor) -> Tensor:
        """Normalised clips (B, 3, T, H, W) -> logits (B, num_classes), float32 on the CPU.

        Raises:
            ConfigError: the clips have another size than the file was exported for.
            WeightsError: the file gives something other than one finite logit for each label.
        """
        expected = self.metadata.clip_shape
        if clips.ndim != 5 or tuple(clips.shape[1:]) != expected:
            raise ConfigError(
                f"{self.path} takes clips of (B, {', '.join(map(str, expected))}); got {tuple(clips.shape)}. "
                "Export the checkpoint again for another size."
            )
        logits = self.runtime.run(clips.to("cpu", torch.float32).contiguous())
        if logits.shape != (len(clips), len(self.labels)):
            reason = (
                f"it gives outputs of shape {tuple(logits.shape)} for {len(clips)} clips and {len(self.labels)} labels"
            )
            raise WeightsError(self.path, reason, "Export the checkpoint again")
        return require_finite_logits(logits, str(self.path))

    def require_whole_clips(self) -> None:
        """A :class:`ConfigError` if the model needs what came before a clip: a file holds no state from clip to clip."""
        if self.metadata.config is not None and self.metadata.config.causal:
            raise ConfigError(
                f"{self.path} is the file of a causal model, whose answers rest on all frames so far, and an exported "
                "file starts anew with every clip. Give the checkpoint that it was exported from."
            )

    def fingerprint(self) -> str:
        """Of the bytes of the file, and of those that belong to it, in hexadecimal: what a result was computed with."""
        digest = hashlib.sha256()
        for path in (self.path, *(self.path.with_suffix(s) for s in FORMATS[self.metadata.made.to].beside)):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()
