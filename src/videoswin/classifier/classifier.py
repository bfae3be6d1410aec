"""A classifier: a model with its preprocessing and the names of its classes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from videoswin.classifier.facts import Facts
from videoswin.classifier.folder import replace_checkpoint, to_config, write_files
from videoswin.classifier.hub import push_folder
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.interface.video_model import VideoModel, need
from videoswin.predict.answers import ONE_LABEL, Answer
from videoswin.predict.provenance import Training
from videoswin.predict.scoring import VideoClassifier, require_finite_logits
from videoswin.weights.load_report import LoadReport

__all__ = ["Classifier"]


@dataclass
class Classifier(VideoClassifier):
    """A model, its preprocessing and its labels; ``classifier("clip.mp4")`` gives a :class:`Prediction`.

    Raises:
        ConfigError: the labels do not match the model's outputs, a value is out of range, or the model cannot take the
            clips that the preprocessing makes.
    """

    model: Any
    """A :class:`~videoswin.model.VideoModel` of any system."""
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    """The name of each class, in the order of the model's outputs."""
    name: str = "unnamed"
    none_threshold: float | None = None
    """A best score below it means "none of these"."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """How well it does; kept in the checkpoint."""
    notes: str = ""
    """How it was made; kept in the checkpoint."""
    card: dict[str, Any] = field(default_factory=dict)
    """What its README.md should say and cannot be known here, such as ``{"license": "apache-2.0"}``; see
    :mod:`videoswin.classifier.card`."""
    training: Training | None = None
    """What it learnt from, if a run made it; kept in the checkpoint."""
    answer: Answer = ONE_LABEL
    """What its logits mean: one label for a video, or several; kept in the checkpoint."""
    report: LoadReport | None = None
    """What was loaded, if it came from a file of weights alone."""

    def __post_init__(self) -> None:
        self.labels = tuple(self.labels)
        _ = self.facts  # checked

    @classmethod
    def of(cls, model: VideoModel, facts: Facts, report: LoadReport | None = None) -> "Classifier":
        """The classifier of a model and what is known of it; ``facts.config`` has no say."""
        values = {f.name: getattr(facts, f.name) for f in fields(facts) if f.name != "config"}
        return cls(model, report=report, **values)

    @property
    def facts(self) -> Facts:
        """Everything but the numbers, checked as they stand now."""
        return Facts(
            config=self.model.config,
            preprocessing=self.preprocessing,
            labels=self.labels,
            name=self.name,
            none_threshold=self.none_threshold,
            metrics=self.metrics,
            notes=self.notes,
            card=self.card,
            training=self.training,
            answer=self.answer,
        )

    def logits(self, clips: Tensor) -> Tensor:
        """Normalised clips (B, 3, T, H, W) -> logits (B, num_classes), float32 on the CPU, wherever the model is.

        In evaluation mode; modules that were in training mode are so again afterwards.

        Raises:
            ConfigError: it has no classes.
            WeightsError: a logit is NaN or infinite.
        """
        self.require_classes()
        first = self._first_weight
        with _evaluating(self.model), torch.inference_mode():
            logits = self.model(clips.to(first.device, first.dtype)).float().cpu()
        return require_finite_logits(logits, self.name)

    def require_classes(self) -> "Classifier":
        """Itself, for verbs that answer with labels.

        Raises:
            ConfigError: it is a start, which names no classes yet.
        """
        if not self.labels:
            raise ConfigError(
                f"{self.name} is a start for training: it knows motion, and names no classes yet. Teach it yours: "
                f"videoswin train DATA --weights {self.name}"
            )
        return self

    def __repr__(self) -> str:
        p = self.preprocessing
        clip = f"{p.clip_len}x{p.size[0]}x{p.size[1]}"
        return f'Classifier("{self.name}", {len(self.labels)} labels, {self.num_parameters:,} parameters, clips {clip})'

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._first_weight.device

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @property
    def _first_weight(self) -> Tensor:
        """Of the layer that the clips go into, the first of every model; norms may be kept in another type."""
        return next(p for p in self.model.parameters() if p.ndim > 3)

    def as_causal(self) -> "Classifier":
        """The causal classifier with these weights, sharing their memory, for :class:`~videoswin.Stream`.

        It is another classifier, and answers worse until it is fine-tuned (``videoswin train --causal``); so the threshold
        and the figures of this one do not come along.
        """
        need(self.model, "causal", "A causal stream")
        notes = f"Causal, from the weights of {self.name}, which looks ahead; not fine-tuned."
        name = f"{self.name}_causal"
        return Classifier(
            self.model.as_causal(), self.preprocessing, self.labels, name, notes=notes, answer=self.answer
        )

    def to_dict(self) -> dict[str, Any]:
        """What ``config.json`` holds."""
        return to_config(self.facts)

    def save(self, folder: str | Path) -> None:
        """Write the checkpoint; an older one in ``folder`` is replaced in one step, or not at all.

        Raises:
            ConfigError: a field that was changed cannot be used.
            WeightsError: ``folder`` holds something that is no checkpoint, or a weight is NaN or infinite.
            OutputError: the disk is full, or the folder cannot be written there.
        """
        replace_checkpoint(folder, self.model, self.facts)

    def write_files(self, folder: Path) -> None:
        """The files of a checkpoint, into an existing folder; for callers that put more beside them."""
        write_files(folder, self.model, self.facts)

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


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Modules in training mode are in evaluation mode meanwhile: they alone, since some may be kept in it on purpose."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
