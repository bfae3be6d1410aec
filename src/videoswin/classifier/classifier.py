"""A classifier: the model together with what it cannot do without, the preprocessing and the names of its classes.

On disk it is one folder, a checkpoint:

    runs/wave/best/
        model.safetensors   the numbers
        config.json         everything else: architecture, preprocessing, labels, threshold, how well it did
        README.md           the model card: the same for people, made from config.json and never read

Loading trusts neither of the first two. Names and shapes of the tensors are compared with the architecture before any
memory is taken, and must agree exactly: a checkpoint that fits "nearly" would classify, badly, without a word.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from videoswin.classifier.card import check_card, model_card
from videoswin.classifier.config_file import (
    CONFIG_FILE,
    FOR_HUBS,
    WEIGHTS_FILE,
)
from videoswin.classifier.hub import push_folder
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.model import VideoSwin
from videoswin.predict.scoring import VideoClassifier
from videoswin.storage.atomic import replace_folder
from videoswin.weights.load_report import LoadReport
from videoswin.weights.safetensors import write_tensors

__all__ = ["Classifier", "check_labels", "check_threshold"]
CARD_FILE = "README.md"


@dataclass
class Classifier(VideoClassifier):
    """A model, its preprocessing and its labels; ``classifier("clip.mp4")`` gives a :class:`Prediction`.

    ``labels``: the name of each class, in the order of the model's outputs. ``none_threshold``: a best score below it
    means "none of these". ``metrics`` and ``notes``: how well it does and how it was made, kept in the checkpoint.
    ``card``: what its README.md should say and cannot be known here, such as ``{"license": "apache-2.0"}``; see
    :mod:`videoswin.classifier.card`.
    ``report``: what was loaded, if it came from a file of weights alone.

    Raises:
        ConfigError: the labels do not match the model's outputs, a value is out of range, or the model cannot take the
            clips that the preprocessing makes.
    """

    model: VideoSwin
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    name: str = "unnamed"
    none_threshold: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    report: LoadReport | None = None

    def __post_init__(self) -> None:
        self.labels = tuple(self.labels)
        check_labels(self.labels, self.model.config.num_classes)
        check_threshold(self.none_threshold)
        check_card(self.card)
        _check_clips_fit(self.model, self.preprocessing)

    def logits(self, clips: Tensor) -> Tensor:
        """Normalised clips (B, 3, T, H, W) -> logits (B, num_classes), float32 on the CPU, wherever the model is.

        In evaluation mode; a model in training goes on training afterwards.
        """
        weight = self.model.backbone.norm.weight
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                return self.model(clips.to(weight.device, weight.dtype)).float().cpu()
        finally:
            self.model.train(was_training)

    def __repr__(self) -> str:
        p = self.preprocessing
        clip = f"{p.clip_len}x{p.size[0]}x{p.size[1]}"
        return f'Classifier("{self.name}", {len(self.labels)} labels, {self.num_parameters:,} parameters, clips {clip})'

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.backbone.norm.weight.device

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    def as_causal(self) -> "Classifier":
        """The causal classifier with these weights, sharing their memory, for :class:`~videoswin.Stream`.

        It is another classifier, and answers worse until it is fine-tuned (``videoswin train --causal``); so the threshold
        and the figures of this one do not come along.
        """
        notes = f"Causal, from the weights of {self.name}, which looks ahead; not fine-tuned."
        return Classifier(self.model.as_causal(), self.preprocessing, self.labels, f"{self.name}_causal", notes=notes)

    def to_dict(self) -> dict[str, Any]:
        """What ``config.json`` holds."""
        return {
            "format": "videoswin",
            "version": 1,
            **FOR_HUBS,
            "name": self.name,
            "model": self.model.config.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "id2label": {str(i): label for i, label in enumerate(self.labels)},
            "label2id": {label: i for i, label in enumerate(self.labels)},
            "none_threshold": self.none_threshold,
            "metrics": self.metrics,
            "notes": self.notes,
            "card": self.card,
        }

    def save(self, folder: str | Path) -> None:
        """Write the checkpoint; an older one in ``folder`` is replaced in one step, or not at all.

        Raises:
            WeightsError: ``folder`` holds something that is no checkpoint, or a weight is NaN or infinite.
        """
        with replace_folder(folder, marker=CONFIG_FILE) as new:
            self.write_files(new)

    def write_files(self, folder: Path) -> None:
        """The files of a checkpoint, into an existing folder; for callers that put more beside them."""
        write_tensors(folder / WEIGHTS_FILE, self.model.state_dict())
        try:
            text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"The metrics or notes cannot be written as JSON ({error}). Use finite numbers and text."
            ) from None
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
        (folder / CARD_FILE).write_text(model_card(self), encoding="utf-8")

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, message: str = "") -> str:
        """Upload the checkpoint to a hub as ``user/repo``, which is made if it is not there; gives its address.

        Raises:
            MissingExtraError: the extra ``hub`` is not installed.
            WeightsError: the hub refuses, or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            self.write_files(Path(folder))
            return push_folder(Path(folder), repo_id, private=private, message=message or f"Upload {self.name}")

    @classmethod
    def from_pretrained(cls, folder_or_repo: str | Path, revision: str | None = None) -> "Classifier":
        """:func:`load` for a checkpoint folder or a repository on a hub ("user/repo"). Nothing else is downloaded than
        config.json, model.safetensors and README.md, and nothing is executed."""
        from videoswin import load  # by the package's own door: loading.py builds on this file

        if revision is None and os.path.isdir(folder_or_repo):
            return load(folder_or_repo)
        return load(f"hf://{folder_or_repo}" + (f"@{revision}" if revision else ""))


def check_labels(labels: tuple[str, ...], num_classes: int) -> None:
    """One name for each output, no name twice; else a :class:`ConfigError`."""
    if len(labels) != num_classes or not labels:
        raise ConfigError(
            f"The model has {num_classes} outputs and there are {len(labels)} labels; give one label for each."
        )
    twice = sorted({label for label in labels if labels.count(label) > 1}) if len(set(labels)) < len(labels) else []
    if twice:
        raise ConfigError(f'The label "{twice[0]}" is used for more than one class; give each its own.')


def check_threshold(threshold: Any) -> None:
    """A score or None; else a :class:`ConfigError`."""
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold is not None and not (is_number and 0 <= threshold <= 1):
        raise ConfigError(f"none_threshold={threshold!r} must be a score between 0 and 1, or None.")


def _check_clips_fit(model: VideoSwin, preprocessing: Preprocessing) -> None:
    clip = torch.empty((1, model.config.in_channels, preprocessing.clip_len, *preprocessing.size), device="meta")
    model.backbone.checked(clip)
    if model.config.in_channels != 3:
        raise ConfigError(f"in_channels={model.config.in_channels}, and videos have 3 colour channels; use 3.")
