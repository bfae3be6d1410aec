"""New classes from a few clips, in minutes: a linear head on frozen features, judged by clips that it has not learnt from.

The figure that is reported comes from folds: each clip is answered by a head that has not seen it, nor any clip of its person
or scene where these are known. The head that is kept learns from all clips. "None of these" is an answer too: clips of other
things, if there are any, become a class of their own, and a score that nine tenths of the held-out clips reach is asked of the
others.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.errors import ConfigError
from videoswin.predict.calibration import accuracy_interval, fit_temperature
from videoswin.train import probe
from videoswin.train.features import extract
from videoswin.train.folds import cool
from videoswin.train.frozen_heads import linear
from videoswin.train.split import k_folds
from videoswin.train.start import adopt

__all__ = ["NONE", "Taught", "teach"]

NONE = "none of these"
"""The name of the class of all other things."""
MIN_CLIPS = 3
_FEW = 5
_FOLDS = 5
_KEPT_OUT = 0.1


@dataclass(frozen=True)
class Taught:
    """A classifier for the new classes, and how good it is on clips that were held out."""

    classifier: Classifier
    accuracy: float
    """Share of held-out clips that got their label; clips of none of the classes are not counted."""
    interval: tuple[float, float]
    """In which it would be on other clips of this kind, 19 times in 20."""
    none_auroc: float | None
    """How well clips of other things are told apart by the best score, 0.5 (not at all) to 1. From the clips of other things,
    or else by leaving each class out in turn; None if there are only two classes and no such clips."""
    none_from: str
    """"clips", "classes left out" or ""."""
    clips: dict[str, int]
    groups: int
    """Persons or scenes; 0: not known."""
    confused: tuple[tuple[str, str, int], ...]
    """What was taken for what, and how often, the commonest first."""
    seconds: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "accuracy": round(self.accuracy, 4),
            "interval": [round(value, 4) for value in self.interval],
            "none_auroc": None if self.none_auroc is None else round(self.none_auroc, 4),
            "none_from": self.none_from,
            "none_threshold": self.classifier.none_threshold,
            "labels": list(self.classifier.labels),
            "clips": self.clips,
            "groups": self.groups,
            "confused": [list(one) for one in self.confused],
            "seconds": round(self.seconds, 1),
            "notes": list(self.notes),
        }


def teach(
    start: Classifier,
    rows: Sequence[Clip],
    name: str = "taught",
    *,
    features: Path | None = None,
    step: Callable[[], None] = lambda: None,
) -> Taught:
    """Teach the classes of ``rows``; those with the label :data:`NONE` are of none of them.

    Args:
        start: whose features are used; it stays as it is.
        features: a folder that keeps them, by default the cache.
        step: called after each clip.

    Raises:
        ConfigError: fewer than two classes, or too few clips of one.
        VideoError: a clip that cannot be decoded.
    """
    began = time.perf_counter()
    labels = tuple(sorted({row.label for row in rows} - {NONE}))
    counts = Counter(row.label for row in rows)
    _require_enough(labels, counts)
    outputs = (*labels, NONE) if counts[NONE] else labels
    found = extract(start, rows, features, step)
    last = max(found.pooled)
    pooled = found.pooled[last]
    targets = torch.tensor([outputs.index(row.label) for row in rows])
    settings = probe.grid("linear", [last], last)
    number = min(_FOLDS, len({row.unit for row in rows}))
    folds = [_mask(rows, part) for part in k_folds(rows, number)]

    def best(kept: Tensor) -> probe.Setting:
        chosen = [row for row, one in zip(rows, kept.tolist(), strict=True) if one]
        return probe.choose(found, chosen, rows, targets, len(outputs), settings, number, 0)

    logits = torch.zeros(len(rows), len(outputs))
    decays = []
    for held in folds:
        decays.append(best(~held).value)
        logits[held] = linear(pooled, targets, len(outputs), ~held, [decays[-1]])[0][held]
    temperature = fit_temperature(logits, targets)
    scores = (logits / temperature).softmax(1)
    known = targets < len(labels)
    right = scores.argmax(1) == targets
    auroc, none_from = _none(pooled, targets, scores, known, folds, decays, len(labels), temperature)
    chosen = best(torch.ones(len(rows), dtype=torch.bool))
    fitted = probe.fit(found, targets, len(outputs), chosen)
    assert fitted is not None
    model, _ = adopt(start, outputs)
    assert model.head is not None
    with torch.no_grad():
        model.head.fc.weight.copy_(fitted[0])
        model.head.fc.bias.copy_(fitted[1])
    cool(model, temperature)
    threshold = (
        math.floor(1000 * float(scores[known].amax(1).quantile(_KEPT_OUT))) / 1000
    )  # down: nine tenths shall pass
    groups = len({row.group for row in rows if row.group})
    accuracy = float(right[known].float().mean())
    notes = _notes(labels, counts, groups, number)
    classifier = Classifier(
        model.eval(),
        start.preprocessing,
        outputs,
        name,
        none_threshold=min(threshold, 0.999),
        metrics={"teach_cross_validation_top1": round(accuracy, 4), "clips": len(rows)},
        notes=f"A linear head on the frozen features of {start.name}: {chosen}. " + " ".join(notes),
    )
    kept = known.tolist()
    return Taught(
        classifier=classifier,
        accuracy=accuracy,
        interval=accuracy_interval(right[known].tolist(), [r.group for r, one in zip(rows, kept, strict=True) if one]),
        none_auroc=auroc,
        none_from=none_from,
        clips=dict(counts),
        groups=groups,
        confused=_confused(outputs, targets, scores.argmax(1)),
        seconds=time.perf_counter() - began,
        notes=notes,
    )


def auroc(inside: Tensor, outside: Tensor) -> float:
    """How often a score of ``inside`` (N,) is above one of ``outside`` (M,); ties count half."""
    difference = inside[:, None] - outside[None, :]
    return float(((difference > 0).float() + 0.5 * (difference == 0).float()).mean())


def _none(
    pooled: Tensor,
    targets: Tensor,
    scores: Tensor,
    known: Tensor,
    folds: Sequence[Tensor],
    decays: Sequence[float],
    classes: int,
    temperature: float,
) -> tuple[float | None, str]:
    """How well other things are told apart, and by what that was measured; everything is scored by heads that have not seen
    it."""
    best = scores[:, :classes].amax(1)
    if bool((~known).any()):
        return auroc(best[known], best[~known]), "clips"
    if classes < 3:
        return None, ""
    values = []
    for left_out in range(classes):
        others = targets != left_out
        rest = targets - (targets > left_out).long()  # numbers without a gap; those of the class itself are not learnt
        inside, outside = [], []
        for held, decay in zip(folds, decays, strict=True):
            learn = others & ~held
            if len(rest[learn].unique()) < classes - 1:
                continue
            logits = linear(pooled, rest.clamp(max=classes - 2), classes - 1, learn, [decay])[0]
            confidence = (logits / temperature).softmax(1).amax(1)
            inside.append(confidence[held & others])
            outside.append(confidence[held & ~others])
        if inside and (all_outside := torch.cat(outside)).numel():
            values.append(auroc(torch.cat(inside), all_outside))
    return (sum(values) / len(values), "classes left out") if values else (None, "")


def _require_enough(labels: Sequence[str], counts: Counter[str]) -> None:
    if len(labels) < 2:
        raise ConfigError(f"There is {len(labels)} class to be taught. Name two or more, and give each some clips.")
    few = [label for label in labels if counts[label] < MIN_CLIPS]
    if few:
        raise ConfigError(f'"{few[0]}" has {counts[few[0]]} clips, and {MIN_CLIPS} are the least. Give it some more.')


def _mask(rows: Sequence[Clip], part: Sequence[Clip]) -> Tensor:
    places = {row: number for number, row in enumerate(rows)}
    held = torch.zeros(len(rows), dtype=torch.bool)
    held[[places[row] for row in part]] = True
    return held


def _confused(labels: tuple[str, ...], targets: Tensor, answers: Tensor) -> tuple[tuple[str, str, int], ...]:
    pairs = Counter((labels[t], labels[a]) for t, a in zip(targets.tolist(), answers.tolist(), strict=True) if t != a)
    return tuple((true, taken, count) for (true, taken), count in pairs.most_common(5))


def _notes(labels: Sequence[str], counts: Counter[str], groups: int, folds: int) -> tuple[str, ...]:
    """What whoever reads the figure has to know."""
    notes = []
    if groups < 2:
        notes.append(
            "No persons or scenes were named: clips of one may stand on both sides, and the figure holds for these "
            "persons and scenes, not for new ones."
        )
    else:
        notes.append(f"Judged in {folds} parts by whole persons or scenes ({groups} of them).")
    few = [label for label in labels if counts[label] < _FEW]
    if few:
        notes.append(
            f"Few clips ({', '.join(f'{label} {counts[label]}' for label in few)}): the figure is rough. 10 each do better."
        )
    if not counts[NONE]:
        notes.append(f'There are no clips of other things; some, as "{NONE}", teach what is none of the classes.')
    return tuple(notes)
