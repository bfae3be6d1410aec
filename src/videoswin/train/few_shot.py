"""What a head on frozen features learns from a few clips, and what it says of clips that were held out.

Each clip is answered by a head that has not learnt from it, nor from its person or scene; the head that is kept learns from
all. An :class:`OrderedFewShot` reads the clip's parts in their order and remembers the clips; a :class:`PlainFewShot` reads the
mean, for systems and causal models that can do no more.
"""

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.interface.ordered_head import NEVER, nearness
from videoswin.interface.video_model import VideoModel
from videoswin.predict.answers import NONE
from videoswin.predict.calibration import auroc, fit_temperature
from videoswin.train import probe
from videoswin.train.features import Features
from videoswin.train.frozen_heads import linear, linear_weights
from videoswin.train.measured import cool
from videoswin.train.novelty import HeldOut, Layer, Nearness, fit_nearness, look_from_outside, memory_of, set_memory
from videoswin.train.split import k_folds
from videoswin.train.start import adopt
from videoswin.train.varied import Varied

__all__ = ["FOLDS", "NONE", "FewShot", "OrderedFewShot", "PlainFewShot", "can_read_order", "few_shot_for"]

FOLDS = 5


class FewShot:
    """``rows`` of N clips, those with the label :data:`NONE` of none of the K classes ``labels``."""

    head: str
    """As :mod:`~videoswin.train.probe` names it."""

    def __init__(self, features: Features, more: Varied, rows: Sequence[Clip], labels: tuple[str, ...]) -> None:
        """``more``: other views of the clips, to learn from."""
        self.features, self.more, self.rows, self.labels = features, more, list(rows), labels
        self.others = any(row.label == NONE for row in rows)
        learnt = (*labels, NONE) if self.others else labels
        self.targets = torch.tensor([learnt.index(row.label) for row in rows])
        self.classes = len(learnt)
        self.known = self.targets < len(labels)
        self.last = max(features.pooled)
        place = {row: number for number, row in enumerate(rows)}
        self.folds = []
        for part in k_folds(self.rows, min(FOLDS, len({row.unit for row in rows}))):
            held = torch.zeros(len(rows), dtype=torch.bool)
            held[[place[row] for row in part]] = True
            self.folds.append(held)
        self.settings = probe.grid(self.head, [self.last], self.last)
        self.decays = [self._best(~held).value for held in self.folds]

    @property
    def outputs(self) -> tuple[str, ...]:
        """What the model answers with."""
        return (*self.labels, NONE) if self.others else self.labels

    @property
    def scores(self) -> Tensor:
        """(N, outputs) of the held-out clips; rows sum to 1."""
        return self.logits.softmax(dim=1)

    def told_apart(self) -> tuple[float | None, str]:
        """How well other things are told from the classes, an AUROC; and by what that was measured: "clips", "classes left out"
        or, if it was not, ""."""
        raise NotImplementedError

    def model(self, start: Classifier) -> VideoModel:
        """``start`` with a head that learnt from all clips."""
        raise NotImplementedError

    @cached_property
    def setting(self) -> probe.Setting:
        """The strength of the head that is kept."""
        return self._best(torch.ones(len(self.rows), dtype=torch.bool))

    @cached_property
    def temperature(self) -> float:
        return fit_temperature(self._logits, self.targets)

    @property
    def logits(self) -> Tensor:
        """(N, classes) of the held-out clips."""
        return self._logits / self.temperature

    @cached_property
    def _logits(self) -> Tensor:
        logits = torch.zeros(len(self.rows), self.classes)
        for held, (weight, bias) in zip(self.folds, self._layers, strict=True):
            logits[held] = self._read[held] @ weight.T + bias
        return logits

    @cached_property
    def _layers(self) -> list[Layer]:
        """One for each fold, which has not learnt from its clips."""
        return [self._layer(~held, decay) for held, decay in zip(self.folds, self.decays, strict=True)]

    @property
    def _read(self) -> Tensor:
        """(N, D): what the head reads."""
        return self.features.pooled[self.last]

    @property
    def _read_more(self) -> Tensor:
        """(V, N, D)"""
        return self.more.pooled

    def _best(self, kept: Tensor) -> probe.Setting:
        rows = [row for row, one in zip(self.rows, kept.tolist(), strict=True) if one]
        parts = len(self.folds)
        return probe.choose(self.features, rows, self.rows, self.targets, self.classes, self.settings, parts, 0)

    def _layer(self, learn: Tensor, decay: float) -> Layer:
        """(classes, D) and (classes,), from all views of the clips of ``learn``."""
        return self._regression(learn, self.targets[learn], self.classes, decay)

    def _regression(self, learn: Tensor, targets: Tensor, classes: int, decay: float) -> Layer:
        """The same for other ``targets``, one for each clip of ``learn``."""
        views = torch.cat([self._read[None], self._read_more])[:, learn]
        weights, bias = linear_weights(views.flatten(0, 1), targets.repeat(len(views)), classes, [decay])
        return weights[0].T.contiguous(), bias[0]

    def _fitted(self) -> Layer:
        return self._layer(torch.ones(len(self.rows), dtype=torch.bool), self.setting.value)


class PlainFewShot(FewShot):
    """A linear layer on the mean over time and space."""

    head = "linear"

    def told_apart(self) -> tuple[float | None, str]:
        best = self.scores[:, : len(self.labels)].amax(1)
        if self.others:
            return auroc(best[self.known], best[~self.known]), "clips"
        values = [value for left_out in range(len(self.labels)) if (value := self._left_out(left_out)) is not None]
        return (sum(values) / len(values), "classes left out") if values else (None, "")

    def model(self, start: Classifier) -> VideoModel:
        model, _ = adopt(start, self.outputs)
        _set_layer(model, *self._fitted())
        cool(model, self.temperature)
        return model

    def _left_out(self, left_out: int) -> float | None:
        """By heads that have never seen one class, of which they are then asked."""
        classes = self.classes - 1
        if classes < 2:
            return None
        others = self.targets != left_out
        rest = self.targets - (self.targets > left_out).long()  # no gap; those of the class itself are not learnt
        inside, outside = [], []
        for held, decay in zip(self.folds, self.decays, strict=True):
            learn = others & ~held
            if len(rest[learn].unique()) < classes:
                continue
            logits = linear(self._read, rest.clamp(max=classes - 1), classes, learn, [decay])[0]
            best = (logits / self.temperature).softmax(1).amax(1)
            inside.append(best[held & others])
            outside.append(best[held & ~others])
        if not inside or not len(torch.cat(outside)):
            return None
        return auroc(torch.cat(inside), torch.cat(outside))


class OrderedFewShot(FewShot):
    """A linear layer on the parts of the clip in their order, and a memory of the clips of the classes."""

    head = "ordered"

    @property
    def outputs(self) -> tuple[str, ...]:
        return (*self.labels, NONE)

    @property
    def scores(self) -> Tensor:
        return self._held_out.scores(self._nearness)

    def told_apart(self) -> tuple[float | None, str]:
        inside = self._held_out.near[self.known]
        if self.others:
            best = self.scores[:, :-1].amax(1)
            return auroc(best[self.known], best[~self.known]), "clips"
        return (auroc(inside, self._outside), "classes left out") if len(self._outside) else (None, "")

    def model(self, start: Classifier) -> VideoModel:
        changes = {"head_parts": self._steps, "head_memory": int(self.known.sum())}
        model, _ = adopt(start, self.outputs, **changes)
        weight, bias = self._fitted()
        if not self.others:  # a row for "none" that the layer itself never chooses
            weight = torch.cat([weight, torch.zeros(1, weight.shape[1])])
            bias = torch.cat([bias, torch.tensor([NEVER * self.temperature])])
        _set_layer(model, weight, bias)
        cool(model, self.temperature)
        set_memory(model.head, self._read[self.known], self._nearness)
        return model

    @property
    def _read(self) -> Tensor:
        return self.features.times[self.last].flatten(1)

    @property
    def _read_more(self) -> Tensor:
        return self.more.times.flatten(2)

    @cached_property
    def _nearness(self) -> Nearness:
        outside = self._held_out.near[~self.known] if self.others else self._outside
        return fit_nearness(self._held_out, outside)

    @property
    def _steps(self) -> int:
        return self.features.times[self.last].shape[1]

    @cached_property
    def _outside(self) -> Tensor:
        return look_from_outside(self._read, self.targets, self.known, self.folds, self._layer_of, self._steps)

    def _layer_of(self, learn: Tensor, fold: int) -> Layer:
        """For the classes of the clips ``learn`` alone."""
        present, targets = self.targets[learn].unique(return_inverse=True)
        return self._regression(learn, targets, len(present), self.decays[fold])

    @cached_property
    def _held_out(self) -> HeldOut:
        near, kinds = torch.zeros(len(self.rows)), len(self.labels)
        for held, (weight, bias) in zip(self.folds, self._layers, strict=True):
            of_classes = weight[:kinds], bias[:kinds]
            if (learnt := self.known & ~held).any():
                asked = self._read[held]
                memory = memory_of(self._read[learnt], of_classes, self._steps)
                near[held] = nearness(asked, asked @ of_classes[0].T + of_classes[1], memory)
        logits = self.logits
        if not self.others:
            logits = torch.cat([logits, torch.full((len(logits), 1), NEVER)], dim=1)
        return HeldOut(logits, near, self.known)


def few_shot_for(start: Classifier) -> type[FewShot]:
    """What a model of this kind can be taught."""
    return OrderedFewShot if can_read_order(start) else PlainFewShot


def can_read_order(start: Classifier) -> bool:
    """Whether its system has a head that reads the parts of a clip, and the whole clip to read."""
    config = start.model.config
    return any(one.name == "head_parts" for one in fields(config)) and not getattr(config, "causal", False)


def _set_layer(model: VideoModel, weight: Tensor, bias: Tensor) -> None:
    with torch.no_grad():
        model.head.fc.weight.copy_(weight)
        model.head.fc.bias.copy_(bias)
