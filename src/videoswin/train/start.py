"""What a run starts from: weights and preprocessing, chosen by the user or by what the clips are like."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.interface.model_config import ModelConfig
from videoswin.interface.video_model import VideoModel
from videoswin.model import SwinConfig
from videoswin.train.channels import as_grey, grey_preprocessing
from videoswin.train.footage import Footage
from videoswin.train.randomness import seeded
from videoswin.weights.any_file import inspect_file
from videoswin.zoo.registry import create_model, get_config

__all__ = ["DEFAULT_START", "MICRO_PREPROCESSING", "Start", "Wanted", "adopt", "choose_start"]

DEFAULT_START = "swin3d_micro_motion"
"""The bundled weights that a run starts from when none are named. They learnt generated motion of hands, bodies and objects
(recipes/general_start.py), and saw no real clip."""

MICRO_PREPROCESSING = Preprocessing(clip_len=16, sampling="uniform", size=(56, 56), short_side=56)
"""Default for fresh weights of swin3d_micro: the whole video in 16 frames, at a size that windows of 7 tokens tile without
padding."""

_DENSE_ENOUGH = 4.0  # frames a second; twice as many frames cost twice the time for few points (docs/log.md)
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


@dataclass(frozen=True)
class Wanted:
    """What a run is to start from: an architecture's name and the fields in which it is to differ, or a checkpoint and what its
    tensors do not tell (see :func:`~videoswin.classifier.loading.load`)."""

    model: str | None = None
    weights: str | None = None
    like: str | None = None
    told: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model is not None and self.weights is not None:
            raise ConfigError(
                "Give --model (fresh weights) or --weights (a checkpoint), not both; with neither, "
                f"{DEFAULT_START} is the start."
            )
        if self.weights is None and (self.like is not None or (self.told and self.model is None)):
            option = "--like" if self.like is not None else f"--{next(iter(self.told)).replace('_', '-')}"
            raise ConfigError(f"{option} says what the tensors of a file do not; give the file by --weights.")


def choose_start(
    labels: tuple[str, ...],
    wanted: Wanted,
    footage: Footage,
    change: Callable[[Preprocessing], Preprocessing],
    overrides: dict[str, Any],
    seed: int,
    name: str,
) -> Start:
    """The named architecture, the named checkpoint, or with neither the default start.

    ``change`` applies what the user wants otherwise to a preprocessing, ``overrides`` to the architecture.

    Raises:
        ConfigError: a value does not fit.
        WeightsError: ``weights`` cannot be loaded.
    """
    if wanted.model is not None:
        model, weights = wanted.model, None
        named_config = get_config(model).replace(**wanted.told)
        base = _fresh_preprocessing(model, named_config)
        preprocessing = change(grey_preprocessing(base) if overrides.get("in_channels") == 1 else base)
        architecture = _sized(named_config, preprocessing)
        _require_fields(architecture, overrides)

        def fresh() -> Classifier:
            with seeded(seed):
                return Classifier(
                    create_model(architecture, num_classes=len(labels), **overrides), preprocessing, labels, name
                )

        return Start(fresh, "scratch", (f"{model} with fresh weights, {len(labels)} classes.",))
    weights = wanted.weights
    named = weights or DEFAULT_START
    # A file without a head names no classes; the fresh one that it gets is for these.
    new_head = len(labels) if _is_headless_file(named, wanted) else None
    source = load(named, new_head, like=wanted.like, **wanted.told)
    if overrides.get("in_channels") == 1:
        source = as_grey(source)
    _require_fields(source.model.config, overrides)
    notes = []
    base = source.preprocessing
    if weights is None:
        notes.append(
            f"start: {DEFAULT_START}, which learnt generated motion of hands, bodies and objects; --weights or --model "
            "choose another."
        )
        base, why = _suited(base, footage)
        notes.append(why if change(base).clip_len == base.clip_len and change(base).sampling == base.sampling else "")
    preprocessing = change(base)
    known = sum(label in source.labels for label in labels)
    if weights is not None:
        heads = f"{known} of {len(labels)} classes are known to its head, the others start afresh"
        if known and not _has_plain_head(source):
            heads = "its taught head gives way to a plain one, and all classes start afresh"
        notes.append(
            f"weights of {source.name}; {heads if source.labels else 'a start without a head, which gets one'}."
        )

    def adopted() -> Classifier:
        with seeded(seed):
            tuned, _ = adopt(source, labels, **overrides)
        return Classifier(tuned, preprocessing, labels, name, notes=f"Fine-tuned from {source.name}.")

    small = source.num_parameters < _SMALL
    return Start(adopted, "motion" if small else "finetune", tuple(notes))


def _fresh_preprocessing(model: str, config: Any) -> Preprocessing:
    """For fresh weights: clips as the architecture was made for. Systems of the zoo look at the whole video, at so many frames
    as they take; the published ones differ in that, and their files bring their own."""
    if isinstance(config, SwinConfig):
        return MICRO_PREPROCESSING if model.endswith("micro") else Preprocessing()
    side = config.crop_size
    return Preprocessing(clip_len=config.clip_len, sampling="uniform", size=(side, side), short_side=side)


def _sized(config: ModelConfig, preprocessing: Preprocessing) -> ModelConfig:
    """A system of the zoo for these clips: tables of positions and wide layers are as long as they need."""
    if isinstance(config, SwinConfig):
        return config
    return config.replace(clip_len=preprocessing.clip_len, crop_size=preprocessing.size[0])


def _require_fields(config: ModelConfig, overrides: dict[str, Any]) -> None:
    """A :class:`ConfigError` if the system has no such thing as a causal form or stochastic depth."""
    what = {"causal": "causal form", "drop_path": "stochastic depth"}
    for name in overrides:
        if name not in {f.name for f in fields(config)}:
            option = name.replace("_", "-")
            system = getattr(config, "system", "swin")
            raise ConfigError(f'--{option}: the system "{system}" has no {what.get(name, name)}. Leave it out.')


def _is_headless_file(weights: str, wanted: Wanted) -> bool:
    if not os.path.isfile(weights) or weights.endswith(
        (".onnx", ".xml", ".pt2")
    ):  # which load() refuses by their names
        return False
    return inspect_file(weights, like=wanted.like, settings=wanted.told).config.num_classes == 0


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


def _has_plain_head(source: Classifier) -> bool:
    """Whether its rows can be those of a head that learns with the rest."""
    config = source.model.config
    return config.with_fresh_head(config.num_classes) == config


def adopt(source: Classifier, labels: tuple[str, ...], **overrides: Any) -> tuple[VideoModel, list[str]]:
    """A model for other labels with the weights of ``source``: all but the heads whole, and the heads' rows of those labels
    that both know. Gives the model and the names of the labels that start afresh."""
    model = create_model(source.model.config.with_fresh_head(len(labels)), **overrides)
    theirs = source.model.state_dict()
    pairs = [(row, source.labels.index(label)) for row, label in enumerate(labels) if label in source.labels]
    if not _has_plain_head(source):  # its layer is of another width, and its bias means nothing without the layer
        pairs = []
    own = model.state_dict()  # its tensors are the model's own; copying widens half floats
    with torch.no_grad():
        for name, tensor in own.items():
            by_class = model.is_of_head(name) and ".fc." in name
            skip = 1 if by_class else 0
            if name not in theirs or theirs[name].shape[skip:] != tensor.shape[skip:]:  # a taught head has other layers
                continue
            if not by_class:
                tensor.copy_(theirs[name])
                continue
            for row, known in pairs:
                tensor[row] = theirs[name][known]
    kept = {row for row, _ in pairs}
    return model, [label for row, label in enumerate(labels) if row not in kept]
