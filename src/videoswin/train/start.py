"""What a run starts from: which clips, which weights, which preprocessing. Everything is checked before the first step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.folder import half_of
from videoswin.classifier.loading import load
from videoswin.classifier.resolve import WeightsFile, resolve
from videoswin.data.annotations import Index, Row, read_index
from videoswin.data.dataset import Augment, ClipDataset, FrameCache
from videoswin.data.preprocessing import Preprocessing
from videoswin.data.transforms import ColourJitter, GaussianNoise, RandomAffine
from videoswin.errors import ConfigError, nearest
from videoswin.model import VideoSwin, create_model
from videoswin.storage.atomic import settled_folder
from videoswin.train.split import hold_out
from videoswin.train.state import require_state
from videoswin.weights.checkpoint import inspect_checkpoint

__all__ = ["AUGMENTS", "MICRO_PREPROCESSING", "Plan", "Preferences", "adopt", "make_plan"]

AUGMENTS: Mapping[str, Augment | None] = {
    "none": None,
    "gentle": Augment(crop_scale=(0.8, 1.0), crop_ratio=(0.9, 1.1), colour=ColourJitter(0.2, 0.2, 0.2)),
    "standard": Augment(crop_scale=(0.3, 1.0), colour=ColourJitter(0.3, 0.3, 0.3, hue=0.05)),
    "strong": Augment(
        # Whole frames and smaller pictures are among the draws, so that an evaluation, which cuts nothing off, is too.
        crop_scale=(0.75, 1.0),
        crop_ratio=(0.85, 1.18),
        speed_jitter=0.1,
        affine=RandomAffine(degrees=10, shift=0.08, scale=(0.8, 1.1)),
        colour=ColourJitter(0.4, 0.4, 0.5, hue=0.1, grayscale=0.15),
        noise=GaussianNoise(8),
    ),
}
"""How much the clips of a run vary. Everything is the same for all frames of a clip; nothing flips unless asked."""

MICRO_PREPROCESSING = Preprocessing(clip_len=16, sampling="uniform", size=(56, 56), short_side=56)
"""Default for swin3d_micro: the whole video in 16 frames, at a size that windows of 7 tokens tile without padding."""


_FEW_CLIPS = 2000


@dataclass(frozen=True)
class Preferences:
    """What the caller wants otherwise than by default; None leaves it to the model or checkpoint."""

    clip_len: int | None = None
    sampling: str | None = None
    frame_interval: int | None = None
    fps: float | None = None
    size: int | None = None
    whole_frame: bool = False
    augment: str = "standard"
    flip: bool = False
    drop_path: float | None = None
    val_share: float = 0.2
    causal: bool = False

    def __post_init__(self) -> None:
        if self.augment not in AUGMENTS:
            raise ConfigError(f'augment="{self.augment}" is unknown. {nearest(self.augment, AUGMENTS)}')
        if not 0 <= self.val_share <= 0.5:
            raise ConfigError(f"val_share={self.val_share} must be in [0, 0.5]; 0.2 is usual.")
        if self.flip and AUGMENTS[self.augment] is None:
            raise ConfigError('flip needs augmentation; choose another augment than "none".')


@dataclass(frozen=True)
class Plan:
    """A run, ready to start. ``notes`` say in words what was decided."""

    classifier: Classifier
    train_clips: ClipDataset
    val_clips: ClipDataset | None
    notes: tuple[str, ...]


def make_plan(
    data: str | Path, out: Path, model: str | None, weights: str | None, wanted: Preferences, seed: int, resume: bool
) -> Plan:
    """Reads and checks the list of clips and builds the classifier to train.

    Raises:
        ConfigError: neither or both of ``model`` and ``weights``; bad rows in the list (all of them); a setting that does
            not fit; a run already in ``out`` that is not to be resumed.
        WeightsError: ``weights`` cannot be loaded.
    """
    if (model is None) == (weights is None):
        raise ConfigError(
            'Give either --model (fresh weights, for example "swin3d_micro") or --weights (a checkpoint).'
        )
    if not resume and ((out / "metrics.csv").exists() or settled_folder(out / "last").exists()):
        raise ConfigError(f"{out} holds a run already. Go on with it by --resume, or give another --out.")
    if resume:
        require_state(out / "last")
    index = read_index(data)
    train_rows, val_rows, split_note = _rows(index, wanted.val_share, seed)
    classifier, start_note = _classifier(index.labels, model, weights, wanted, seed)
    augment = AUGMENTS[wanted.augment]
    if augment is not None and wanted.flip:
        augment = replace(augment, flip=True)
    notes = [split_note, start_note, *_left_out(index, train_rows, val_rows)]
    if model == "swin3d_micro" and len(train_rows) < _FEW_CLIPS:
        notes.append(
            "few clips for fresh weights: those that know motion already learn from far fewer. "
            "Try --weights swin3d_micro_gestures; docs/train.md says why."
        )
    if classifier.model.config.causal and classifier.preprocessing.sampling == "uniform":
        notes.append(
            "beware: uniform sampling spreads frames over the whole clip, and a live video has no end yet. "
            "To use the model live, add --sampling time --fps 5, or the rate you have."
        )
    if index.shared_groups:
        named = ", ".join(index.shared_groups[:5])
        notes.append(f"beware: groups on both sides of a split make every figure look too good: {named}")
    cache = FrameCache()
    return Plan(
        classifier=classifier,
        train_clips=ClipDataset(train_rows, classifier.labels, classifier.preprocessing, augment, cache, seed),
        val_clips=ClipDataset(val_rows, classifier.labels, classifier.preprocessing, None, cache, seed)
        if val_rows
        else None,
        notes=tuple(notes),
    )


def adopt(source: Classifier, labels: tuple[str, ...], **overrides: Any) -> tuple[VideoSwin, list[str]]:
    """A model for other labels with the weights of ``source``: the backbone whole, and the head's rows of those labels
    that both know. Gives the model and the names of the labels that start afresh."""
    model = create_model(source.model.config, num_classes=len(labels), **overrides)
    model.backbone.load_state_dict(source.model.backbone.state_dict())
    fresh = [label for label in labels if label not in source.labels]
    if model.head is not None and source.model.head is not None:
        with torch.no_grad():
            for row, label in enumerate(labels):
                if label in source.labels:
                    known = source.labels.index(label)
                    model.head.fc.weight[row] = source.model.head.fc.weight[known]
                    model.head.fc.bias[row] = source.model.head.fc.bias[known]
    return model, fresh


def _rows(index: Index, val_share: float, seed: int) -> tuple[list[Row], list[Row], str]:
    by_split = {name: [row for row in index.rows if row.split == name] for name in index.splits}
    validation = next((name for name in ("val", "valid", "validation") if by_split.get(name)), None)
    if index.splits and not by_split.get("train"):
        raise ConfigError(
            f'{index.root}: no clip has the split "train", only: {", ".join(filter(None, by_split))}. Name it so.'
        )
    train = by_split["train"] if index.splits else list(index.rows)
    if validation:
        return (
            train,
            by_split[validation],
            f'{len(train)} training clips; {len(by_split[validation])} of the split "{validation}".',
        )
    if val_share == 0:
        return train, [], f"{len(train)} training clips, none held out: nothing will tell when the model overfits."
    kept, held_out = hold_out(train, val_share, seed)
    by = "whole groups" if any(row.group for row in train) else "single clips: no groups are given"
    return kept, held_out, f"{len(kept)} training clips; {len(held_out)} held out for validation ({by})."


def _left_out(index: Index, train: list[Row], validation: list[Row]) -> list[str]:
    """Notes on clips that no part of the run sees, and classes that nothing is learnt about."""
    notes = []
    used = {row.split for row in (*train, *validation)}
    for name, count in index.splits.items():
        if name and name != "test" and name not in used:
            notes.append(f'{count} clips of the split "{name}" are not used: it is neither "train" nor "val".')
    if missing := sorted(set(index.labels) - {row.label for row in train}):
        notes.append(f"beware: no training clip for {len(missing)} of the classes: {', '.join(missing[:5])}")
    return notes


def _classifier(
    labels: tuple[str, ...], model: str | None, weights: str | None, wanted: Preferences, seed: int
) -> tuple[Classifier, str]:
    overrides: dict[str, Any] = {} if wanted.drop_path is None else {"drop_path": wanted.drop_path}
    if wanted.causal:
        overrides["causal"] = True
    torch.manual_seed(seed)
    if model is not None:
        fresh = create_model(model, num_classes=len(labels), **overrides)
        base = MICRO_PREPROCESSING if model == "swin3d_micro" else Preprocessing()
        name, note = model, f"{model} with fresh weights, {len(labels)} classes."
        return Classifier(fresh, _preprocessing(base, wanted), labels, name=name), note
    assert weights is not None
    # A file without a head names no classes; the fresh one that it gets is for these.
    source = load(weights, num_classes=len(labels)) if _is_headless_file(weights) else load(weights)
    adopted, unknown = adopt(source, labels, **overrides)
    known = len(labels) - len(unknown)
    note = f"weights of {source.name}; {known} of {len(labels)} classes are known to its head, the others start afresh."
    return Classifier(adopted, _preprocessing(source.preprocessing, wanted), labels, name=source.name), note


def _is_headless_file(weights: str) -> bool:
    match resolve(weights):
        case WeightsFile(path) if half_of(path) is None:
            return inspect_checkpoint(path).config.num_classes == 0
        case _:
            return False


def _preprocessing(base: Preprocessing, wanted: Preferences) -> Preprocessing:
    changes: dict[str, Any] = {
        name: getattr(wanted, name)
        for name in ("clip_len", "sampling", "frame_interval", "fps")
        if getattr(wanted, name) is not None
    }
    sampling = wanted.sampling or base.sampling
    if wanted.frame_interval is not None and sampling != "interval":
        raise ConfigError(
            f'frame_interval={wanted.frame_interval} has no say with sampling="{sampling}"; add sampling="interval", or leave it out.'
        )
    if sampling != "time" and wanted.fps is None:
        changes["fps"] = None
    if wanted.size is not None:
        changes["size"] = (wanted.size, wanted.size)
        if base.short_side is not None:
            changes["short_side"] = wanted.size
    if wanted.whole_frame:
        changes["short_side"] = None
    return replace(base, **changes)
