"""What a run starts from: weights and preprocessing, chosen by the user or by what the clips are like."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.model import VideoSwin, create_model
from videoswin.train.channels import as_grey, grey_preprocessing
from videoswin.train.footage import Footage
from videoswin.train.randomness import seeded
from videoswin.weights.checkpoint import inspect_checkpoint

__all__ = ["DEFAULT_START", "MICRO_PREPROCESSING", "Start", "adopt", "choose_start"]

DEFAULT_START = "swin3d_micro_gestures"
"""The bundled weights that a run starts from when none are named. They know pointing hands, from generated and real clips;
recipes/general_start.py makes weights that know more kinds of motion, and none of its are bundled yet (docs/log.md)."""

MICRO_PREPROCESSING = Preprocessing(clip_len=16, sampling="uniform", size=(56, 56), short_side=56)
"""Default for fresh weights of swin3d_micro: the whole video in 16 frames, at a size that windows of 7 tokens tile without
padding."""

_DENSE_ENOUGH = 6.0  # frames a second; a step, a wave or a blow takes half a second
_LONG = 8.0  # seconds; longer clips are looked at in parts
_PART_FPS = 8.0
_SMALL = 10_000_000  # parameters; narrow models have little to lose and are tuned as a whole


@dataclass(frozen=True)
class Start:
    """``build()`` gives the classifier to train, the same one every time. ``recipe``: which one suits it. ``notes``: what it
    is, and why."""

    build: Callable[[], Classifier]
    recipe: str
    notes: tuple[str, ...]


def choose_start(
    labels: tuple[str, ...],
    model: str | None,
    weights: str | None,
    footage: Footage,
    change: Callable[[Preprocessing], Preprocessing],
    overrides: dict[str, Any],
    seed: int,
    name: str,
) -> Start:
    """The named architecture, the named checkpoint, or with neither the default start.

    ``change`` applies what the user wants otherwise to a preprocessing, ``overrides`` to the architecture.

    Raises:
        ConfigError: both are named, a value does not fit.
        WeightsError: ``weights`` cannot be loaded.
    """
    if model is not None and weights is not None:
        raise ConfigError(
            "Give --model (fresh weights) or --weights (a checkpoint), not both; with neither, "
            f"{DEFAULT_START} is the start."
        )
    if model is not None:
        base = MICRO_PREPROCESSING if model == "swin3d_micro" else Preprocessing()
        preprocessing = change(grey_preprocessing(base) if overrides.get("in_channels") == 1 else base)

        def fresh() -> Classifier:
            with seeded(seed):
                return Classifier(
                    create_model(model, num_classes=len(labels), **overrides), preprocessing, labels, name
                )

        return Start(fresh, "scratch", (f"{model} with fresh weights, {len(labels)} classes.",))
    named = weights or DEFAULT_START
    # A file without a head names no classes; the fresh one that it gets is for these.
    source = load(named, num_classes=len(labels)) if _is_headless_file(named) else load(named)
    if overrides.get("in_channels") == 1:
        source = as_grey(source)
    notes = []
    base = source.preprocessing
    if weights is None:
        notes.append(
            f"start: {DEFAULT_START}, which learnt the motion of pointing hands and little of bodies; "
            "--weights or --model choose another."
        )
        base, why = _suited(base, footage)
        notes.append(why)
    preprocessing = change(base)
    known = sum(label in source.labels for label in labels)
    if weights is not None:
        notes.append(
            f"weights of {source.name}; {known} of {len(labels)} classes are known to its head, the others start afresh."
        )

    def adopted() -> Classifier:
        with seeded(seed):
            tuned, _ = adopt(source, labels, **overrides)
        return Classifier(tuned, preprocessing, labels, name, notes=f"Fine-tuned from {source.name}.")

    small = source.num_parameters < _SMALL
    return Start(adopted, "motion" if small else "finetune", tuple(notes))


def _is_headless_file(weights: str) -> bool:
    if not os.path.isfile(weights) or weights.endswith(
        (".onnx", ".xml", ".pt2")
    ):  # which load() refuses by their names
        return False
    return inspect_checkpoint(weights).config.num_classes == 0


def _suited(base: Preprocessing, footage: Footage) -> tuple[Preprocessing, str]:
    """Which frames a clip of the default start shows, and why."""
    seconds = footage.seconds
    if seconds > _LONG:
        length = 2 * base.clip_len
        why = f"half of the clips are longer than {_LONG:g} s, so parts of {length / _PART_FPS:g} s are looked at"
        return replace(base, clip_len=length, sampling="time", fps=_PART_FPS), f"{length} frames a clip: {why}."
    rate = base.clip_len / seconds if seconds else 0.0
    if seconds and rate < _DENSE_ENOUGH:
        length = 2 * base.clip_len
        return replace(base, clip_len=length), (
            f"{length} frames a clip, spread over it: {base.clip_len} would be {rate:.1f} a second for a clip of "
            f"{seconds:.1f} s, too few to follow quick motion."
        )
    return base, f"{base.clip_len} frames a clip, spread over it: {rate:.1f} a second." if seconds else ""


def adopt(source: Classifier, labels: tuple[str, ...], **overrides: Any) -> tuple[VideoSwin, list[str]]:
    """A model for other labels with the weights of ``source``: the backbone whole, and the head's rows of those labels
    that both know. Gives the model and the names of the labels that start afresh."""
    model = create_model(source.model.config, num_classes=len(labels), **overrides)
    model.backbone.load_state_dict(source.model.backbone.state_dict())  # copies, and widens half floats
    fresh = [label for label in labels if label not in source.labels]
    if model.head is not None and source.model.head is not None:
        with torch.no_grad():
            for row, label in enumerate(labels):
                if label in source.labels:
                    known = source.labels.index(label)
                    model.head.fc.weight[row] = source.model.head.fc.weight[known]
                    model.head.fc.bias[row] = source.model.head.fc.bias[known]
    return model, fresh
