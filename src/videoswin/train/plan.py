"""A run, planned: which clips, which start, which settings. Everything is checked before the first clip is decoded."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip, ClipList, read_index
from videoswin.data.containers import Limits
from videoswin.data.dataset import ClipDataset, FrameCache
from videoswin.data.label_cells import LabelCells, SeveralLabelCells
from videoswin.data.mirror_labels import with_a_side
from videoswin.errors import ConfigError
from videoswin.predict.provenance import Training
from videoswin.storage.atomic import settled_folder
from videoswin.train.adapt import Adaptation, parse_adaptation, require_adaptable
from videoswin.train.advice import about_sampling
from videoswin.train.augments import AUGMENTS
from videoswin.train.footage import Footage, look_at
from videoswin.train.loop import Trainer
from videoswin.train.place import require_place
from videoswin.train.preferences import Preferences
from videoswin.train.processes import Processes
from videoswin.train.published_recipes import PUBLISHED
from videoswin.train.recipes import Recipe, get_recipe
from videoswin.train.settings import TrainSettings
from videoswin.train.split import hold_out, k_folds
from videoswin.train.start import DEFAULT_START, Wanted, choose_start
from videoswin.zoo.papers import paper_of
from videoswin.zoo.registry import get_config

__all__ = ["FEW_CLIPS", "Part", "Plan", "list_of", "make_plan"]


FEW_CLIPS = 2000
"""Up to so many training clips, held-out ones are only lent: the model that is kept learns from them too."""


_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Part:
    """Clips to learn from, and clips held out of that."""

    kept: tuple[Clip, ...]
    held: tuple[Clip, ...]


@dataclass(frozen=True)
class Plan:
    """A run, ready to start. ``notes`` say in words what was decided.

    ``classifier``, ``train_clips`` and ``val_clips`` are those of the run whose model is kept. ``parts`` are run before it
    to measure: the folds, or the one part that stands for them.
    """

    classifier: Classifier
    train_clips: ClipDataset
    val_clips: ClipDataset | None
    parts: tuple[Part, ...]
    settings: TrainSettings
    adaptation: Adaptation
    build: Callable[[], Classifier]
    index: ClipList
    footage: Footage
    training: Training
    """What the checkpoint will say of its clips and settings."""
    notes: tuple[str, ...]
    processes: Processes = field(default_factory=Processes)
    resolved: Mapping[str, Any] = field(default_factory=dict)
    """Every setting as it was decided, by the names of the command's options."""

    def trainer(self, out: Path, epochs: int | None = None) -> Trainer:
        """The run whose model is kept, for so many epochs."""
        settings = self.settings if epochs is None else replace(self.settings, epochs=epochs)
        return Trainer(
            self.classifier, self.train_clips, self.val_clips, settings, out, self.adaptation, self.processes
        )

    def check_resume(self, out: Path, skip_bad: bool) -> None:
        """Compare the settings with those of the run in ``out``, before a clip is decoded.

        Raises:
            WeightsError: they differ; each is named.
        """
        ignore = ["train_clips"] if skip_bad else []  # which clips can be read is not known yet
        for number, part in enumerate(self.parts, 1):
            if settled_folder(out / "folds" / f"fold-{number}" / "last").exists():
                self.part_trainer(part, out / "folds" / f"fold-{number}").check_resume(ignore)
        if settled_folder(out / "last").exists():
            chosen = ["epochs"] if self.parts else []  # by the parts, unless the user did
            model = self.build()
            trainer = Trainer(model, self.train_clips, self.val_clips, self.settings, out, self.adaptation)
            trainer.check_resume([*ignore, *chosen])

    def part_trainer(self, part: Part, out: Path) -> Trainer:
        """A run that measures; its clips come from the memory that all parts share."""
        clips = self.train_clips
        known = set(clips.rows)  # fewer than the part's, once unreadable ones were left out
        kept, held = ([row for row in rows if row in known] for rows in (part.kept, part.held))
        classifier = self.build()
        classifier.model.to(self.classifier.device)
        make = lambda rows, augment: ClipDataset(  # noqa: E731
            rows, clips.labels, clips.preprocessing, augment, clips.cache, self.settings.seed
        )
        settings = replace(self.settings, keep_epochs=0)
        return Trainer(
            classifier, make(kept, clips.augment), make(held, None), settings, out, self.adaptation, self.processes
        )


def make_plan(
    data: str | Path,
    out: Path,
    model: str | None,
    weights: str | None,
    wanted: Preferences,
    seed: int,
    resume: bool,
    limits: Limits = _DEFAULT_LIMITS,
    settings: Mapping[str, Any] | None = None,
    like: str | None = None,
    told: Mapping[str, Any] | None = None,
    processes: Processes | None = None,
) -> Plan:
    """Reads and checks the list of clips and builds the classifier to train.

    ``model``, ``weights``, ``like``, ``told``: see :class:`~videoswin.train.start.Wanted`. ``limits``: what one file may cost.
    ``settings``: fields of :class:`TrainSettings` that are wanted otherwise than the recipe has them.

    Raises:
        ConfigError: both ``model`` and ``weights``; bad rows in the list (all of them); a setting that does not fit; a run
            already in ``out`` that is not to be resumed.
        WeightsError: ``weights`` cannot be loaded.
    """
    processes = processes or Processes()
    given = TrainSettings(seed=seed, **dict(settings or {}))  # before anything is read
    if given.strategy == "fsdp" and parse_adaptation(wanted.adapt).kind == "lora":
        raise ConfigError(
            'strategy="fsdp" does not go with adapt="lora": its matrices are too small to share. Use "ddp".'
        )
    start_from = Wanted(model, weights, like, dict(told or {}))
    require_place(out, resume)
    index, (train_rows, val_rows, parts, split_notes) = list_of(data, wanted, seed)
    footage = look_at(train_rows)
    overrides: dict[str, Any] = {"causal": True} if wanted.causal else {}
    asked = get_recipe(wanted.recipe) if wanted.recipe else None
    if asked is not None and asked.model and model is None and weights is None:
        if not asked.start:
            raise ConfigError(f'recipe="{wanted.recipe}" starts from fresh weights: add --model {asked.model}.')
        raise ConfigError(
            f'recipe="{wanted.recipe}" starts from weights {asked.start}. Give the file: --weights FILE. '
            f"To train from nothing instead, which the paper did not: --model {asked.model}."
        )
    drop_path = wanted.drop_path if wanted.drop_path is not None else asked.drop_path if asked is not None else None
    if wanted.channels == 1:
        overrides["in_channels"] = 1
    if drop_path is not None:
        overrides["drop_path"] = drop_path
    name = wanted.name or out.resolve().name
    base = asked.preprocessing if asked is not None else None
    change = wanted.change if base is None else lambda own: wanted.change(replace(base, mean=own.mean, std=own.std))
    start = choose_start(index.labels, start_from, footage, change, overrides, seed, name)
    chosen = wanted.recipe or start.recipe
    recipe = get_recipe(chosen)
    full = _settings(recipe, len(parts[0].kept) if parts else len(train_rows), seed, settings or {}, processes.world)
    classifier = start.build()
    _require_its_model(chosen, recipe, classifier)
    adaptation = parse_adaptation(wanted.adapt)
    require_adaptable(classifier.model, adaptation)
    vary = wanted.augment or recipe.augment
    augment = AUGMENTS[vary]
    flip, why = _mirrored(wanted, recipe, index.labels, augment is not None)
    if augment is not None and flip:
        augment = replace(augment, flip=True)
    per_step = full.batch_size * full.accumulate * processes.world
    steps = -(-len(train_rows) * full.repeat // per_step)
    notes = [
        *index.notes,
        *_about_sampling(wanted, classifier, footage),
        str(footage) + ".",
        *start.notes,
        f'recipe "{chosen}", {recipe.about}: {_counted(full.epochs, "epoch")} of {_counted(steps, "step")} of '
        f"{_counted(per_step, 'clip')}, "
        f"learning rate {full.lr:g} (backbone {full.lr * full.backbone_lr_ratio:g}), augmentation "
        f'"{vary}".',
        why,
        *split_notes,
        *_left_out(index, train_rows, val_rows),
    ]
    if classifier.model.config.causal and classifier.preprocessing.sampling == "uniform":
        notes.append(
            "beware: uniform sampling spreads frames over the whole clip, and a live video has no end yet. "
            "To use the model live, add --sampling time --fps 5, or the rate you have."
        )
    if index.shared_groups:
        named = ", ".join(index.shared_groups[:5])
        notes.append(f"beware: groups on both sides of a split make every figure look too good: {named}")
    cache = FrameCache(limits=limits)
    make = lambda rows, vary: ClipDataset(  # noqa: E731
        rows, classifier.labels, classifier.preprocessing, vary, cache, seed
    )
    return Plan(
        classifier=classifier,
        train_clips=make(train_rows, augment),
        val_clips=make(val_rows, None) if val_rows else None,
        parts=tuple(parts),
        settings=full,
        adaptation=adaptation,
        build=start.build,
        index=index,
        footage=footage,
        training=Training(
            start=weights or (f"fresh weights of {model}" if model else DEFAULT_START),
            data=Path(data).resolve().name,
            clips=footage.clips,
            classes=footage.classes,
            groups=footage.groups,
            clip_seconds=round(footage.longest, 3) or None,
            settings=_for_the_card(wanted, full, chosen, vary, flip),
        ),
        notes=tuple(note for note in notes if note),
        processes=processes,
        resolved=_resolved(wanted, full, classifier, model, weights, chosen, vary, flip),
    )


def _about_sampling(wanted: Preferences, classifier: Classifier, footage: Footage) -> list[str]:
    if wanted.by_the_clips:
        return []
    return [f"beware: {line}" for line in about_sampling(classifier.preprocessing, footage.seconds, footage.fps)]


def _mirrored(wanted: Preferences, recipe: Recipe, labels: tuple[str, ...], varied: bool) -> tuple[bool, str]:
    """Whether half of the clips are mirrored, and why. A published recipe is followed; the others ask the names of the classes."""
    if wanted.flip is not None or recipe.model or not recipe.flip or not varied:
        return (recipe.flip if wanted.flip is None else wanted.flip) and varied, ""
    if sides := with_a_side(labels):
        return False, f'no clip is mirrored: "{sides[0]}" names a side. --flip mirrors, and swaps such classes.'
    return (
        True,
        "half of the clips are mirrored: no class names a side. --no-flip, if one is another class in the mirror.",
    )


def _settings(recipe: Recipe, clips: int, seed: int, given: Mapping[str, Any], world: int) -> TrainSettings:
    names = ("batch_size", "lr", "backbone_lr_ratio", "weight_decay", "warmup_epochs", "label_smoothing")
    values: dict[str, Any] = {name: getattr(recipe, name) for name in names} | dict(recipe.settings) | dict(given)
    if values.get("schedule") != "drops" and "lr_drops" not in given:
        values.pop("lr_drops", None)  # the recipe's, for its own schedule
    if "momentum" in given and values.get("optimizer") != "sgd":
        raise ConfigError('momentum is for optimizer="sgd". Give that too (--optimizer sgd), or leave it out.')
    per_step = values["batch_size"] * values.get("accumulate", 1) * world
    if recipe.clips_per_step and "lr" not in given:
        values["lr"] = recipe.lr * per_step / recipe.clips_per_step
    values.setdefault("epochs", recipe.epochs_for(clips * values.get("repeat", 1), per_step))
    return TrainSettings(seed=seed, **values)


def _require_its_model(name: str, recipe: Recipe, classifier: Classifier) -> None:
    """A published recipe is one of an architecture; its numbers mean nothing for another."""
    if not recipe.model:
        return
    published, here = get_config(recipe.model), classifier.model.config
    if type(published) is not type(here):
        raise ConfigError(
            f'recipe="{name}" is for {recipe.model}, and the model of this run is of another system ({paper_of(here).name}). '
            f"Give --model {recipe.model}, or another recipe."
        )
    for field_name in ("embed_dim", "depths", "depth", "window_size", "patch_size", "version", "model"):
        expected, found = getattr(published, field_name, None), getattr(here, field_name, None)
        if expected != found:
            start = f"weights {recipe.start} or --model {recipe.model}" if recipe.start else f"--model {recipe.model}"
            others = [other for other, known in PUBLISHED.items() if known.model and get_config(known.model) == here]
            other = f"or --recipe {others[0]}" if others else "or another recipe"
            raise ConfigError(
                f'recipe="{name}" is for {recipe.model} ({field_name} {expected}), and this model has {field_name} {found}. '
                f"Give {start}, {other}."
            )


def _for_the_card(
    wanted: Preferences, settings: TrainSettings, recipe: str, augment: str, flip: bool
) -> dict[str, Any]:
    """How the run learns, and how it was measured; numbers that have no say are left out."""
    values: dict[str, Any] = {"recipe": recipe, "adapt": wanted.adapt, "augment": augment, "flip": flip}
    values |= {"folds": wanted.folds} if wanted.folds else {}
    values |= {"val_share": wanted.val_share} if wanted.val_share is not None else {}
    values |= asdict(settings)
    if settings.optimizer != "sgd":
        del values["momentum"]
    if not settings.lr_drops:
        del values["lr_drops"]
    return values


def _resolved(
    wanted: Preferences,
    settings: TrainSettings,
    classifier: Classifier,
    model: str | None,
    weights: str | None,
    recipe: str,
    augment: str,
    flip: bool,
) -> dict[str, Any]:
    """By the names of the command's options; None is left out."""
    shown, numbers = classifier.preprocessing, asdict(settings)
    del numbers["keep_epochs"]
    values: dict[str, Any] = {
        "model": model,
        "weights": weights,
        "recipe": recipe,
        "adapt": wanted.adapt,
        "folds": wanted.folds,
        "val_share": wanted.val_share,
        "clip_len": shown.clip_len,
        "sampling": shown.sampling,
        "frame_interval": shown.frame_interval if shown.sampling == "interval" else None,
        "fps": shown.fps,
        "size": shown.size[0] if shown.size[0] == shown.size[1] else None,
        "whole_frame": shown.short_side is None,
        "augment": augment,
        "flip": flip,
        "multi_label": wanted.multi_label,
        "channels": shown.channels,
        "causal": classifier.model.config.to_dict().get("causal", False),
        "drop_path": classifier.model.config.to_dict().get("drop_path"),
        **numbers,
    }
    return {name: value for name, value in values.items() if value is not None}


def list_of(
    data: str | Path, wanted: Preferences, seed: int
) -> tuple[ClipList, tuple[list[Clip], list[Clip], list[Part], list[str]]]:
    """The checked list; and of it rows to learn from, rows that choose the epoch, parts that measure, and notes. ConfigError for bad
    rows (all of them), one class alone, too few groups for the parts."""
    index = read_index(data, cells=SeveralLabelCells() if wanted.multi_label else LabelCells())
    index.require_two_classes()
    return index, _rows(index, wanted, seed)


def _rows(index: ClipList, wanted: Preferences, seed: int) -> tuple[list[Clip], list[Clip], list[Part], list[str]]:
    """See :func:`list_of`."""
    by_split = {name: [row for row in index.rows if row.split == name] for name in index.splits}
    validation = next((name for name in ("val", "valid", "validation") if by_split.get(name)), None)
    if index.splits and not by_split.get("train"):
        raise ConfigError(
            f'{index.root}: no clip has the split "train", only: {", ".join(filter(None, by_split))}. Name it so.'
        )
    train = by_split["train"] if index.splits else list(index.rows)
    grouped = any(row.group for row in train)
    by = "whole groups" if grouped else "single clips: no groups are given"
    if wanted.folds:
        train += by_split[validation] if validation else []  # folds hold all of them out, one after the other
        held = k_folds(train, wanted.folds, seed, "Ask for fewer folds, or add some.")
        parts = [Part(tuple(r for other in held if other is not fold for r in other), tuple(fold)) for fold in held]
        return train, [], parts, [f"{len(train)} clips in {wanted.folds} folds ({by}).", *_ungrouped(grouped)]
    if validation:
        held = by_split[validation]
        return train, held, [], [f'{len(train)} training clips; {len(held)} of the split "{validation}".']
    if wanted.val_share == 0:
        note = f"{len(train)} training clips, none held out: nothing will tell how good the model is."
        return train, [], [], [note]
    kept, held_out = hold_out(train, wanted.val_share or 0.2, seed)
    note = f"{len(kept)} training clips; {len(held_out)} held out for validation ({by})."
    if wanted.val_share is None and len(train) <= FEW_CLIPS:
        lent = f"{len(held_out)} of {len(train)} clips are held out to measure ({by}); then a model learns from all of them."
        return train, [], [Part(tuple(kept), tuple(held_out))], [lent, *_ungrouped(grouped)]
    return kept, held_out, [], [note, *_ungrouped(grouped)]


def _ungrouped(grouped: bool) -> list[str]:
    if grouped:
        return []
    return [
        "no groups are given: clips of one person or scene may stand on both sides, and the figure then holds for these "
        'people and scenes, not for new ones. A column "group" says who or where.'
    ]


def _left_out(index: ClipList, train: list[Clip], validation: list[Clip]) -> list[str]:
    """Notes on clips that no part of the run sees, and classes that nothing is learnt about."""
    notes = []
    used = {row.split for row in (*train, *validation)}
    for name, count in index.splits.items():
        if name and name != "test" and name not in used:
            notes.append(f'{_counted(count, "clip")} of the split "{name}" left out: it is neither "train" nor "val".')
    if missing := sorted(set(index.labels) - {name for row in train for name in row.classes}):
        notes.append(f"beware: no training clip for {len(missing)} of the classes: {', '.join(missing[:5])}")
    return notes


def _counted(count: int, noun: str) -> str:
    """``1 epoch``, ``2 epochs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
