"""How much a frozen model knows about new classes: heads on its features, chosen and judged by different clips.

Nested cross-validation. Outer folds report; inside the clips that an outer fold learns from, inner folds choose the setting.
So no clip has a say in the setting by which it is judged. Folds are of whole groups where groups are known.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from videoswin.data.annotations import Clip
from videoswin.errors import ConfigError, nearest
from videoswin.interface.video_model import VideoModel
from videoswin.train.features import Features
from videoswin.train.frozen_heads import attentive, linear, linear_weights
from videoswin.train.frozen_heads import nearest as nearest_clips
from videoswin.train.split import k_folds

__all__ = [
    "FEWER_FOLDS",
    "HEADS",
    "Probed",
    "Setting",
    "choose",
    "fit",
    "grid",
    "held_out_hits",
    "probe",
    "require_linear_heads",
]

HEADS = ("linear", "ordered", "attentive", "knn")
FEWER_FOLDS = "Ask for fewer folds (3 at least), or add some."
_DECAYS = (0.001, 0.01, 0.1, 1.0)
_NEIGHBOURS = (1, 3, 5, 10)


@dataclass(frozen=True)
class Setting:
    """``stages``: whose features are put side by side; ``value``: weight decay, or number of neighbours."""

    head: str
    stages: tuple[int, ...]
    value: float

    def __str__(self) -> str:
        what = f"{int(self.value)} neighbours" if self.head == "knn" else f"weight decay {self.value:g}"
        return f"{self.head}, stage {'+'.join(map(str, self.stages))}, {what}"


@dataclass(frozen=True)
class Probed:
    """Shares of right answers, one for each outer fold of each seed, for the head, for the nearest neighbour and for the
    commonest class. ``chosen``: which setting the inner folds chose, how often. ``pooled``: of each seed, over all clips."""

    head: tuple[float, ...]
    neighbour: tuple[float, ...]
    majority: tuple[float, ...]
    pooled: tuple[float, ...]
    pooled_neighbour: tuple[float, ...]
    pooled_majority: tuple[float, ...]
    chosen: Counter[Setting]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = ("head", "neighbour", "majority", "pooled", "pooled_neighbour", "pooled_majority")
        values: dict[str, Any] = {name: list(getattr(self, name)) for name in names}
        values["chosen"] = {str(setting): count for setting, count in self.chosen.most_common()}
        return values


def grid(head: str, stages: Sequence[int], num_stages: int) -> list[Setting]:
    """All settings to choose among: every stage, all of them together, four strengths each.

    Raises:
        ConfigError: an unknown head or stage.
    """
    if head not in HEADS:
        raise ConfigError(f'head="{head}" is unknown. {nearest(head, HEADS)}')
    for stage in stages:
        if not 1 <= stage <= num_stages:
            there = f"stages 1 to {num_stages}" if num_stages > 1 else "one stage"
            raise ConfigError(f"stages={stage} is not there; the model has {there}.")
    if not stages or len(set(stages)) < len(stages):
        raise ConfigError("stages: name each stage once, such as 3,4.")
    sets = [one for size in (1, len(stages)) for one in combinations(sorted(stages), size)]
    values = _NEIGHBOURS if head == "knn" else _DECAYS
    return [Setting(head, chosen, float(v)) for chosen in dict.fromkeys(sets) for v in values]


def probe(
    features: Features,
    rows: Sequence[Clip],
    labels: Sequence[str],
    settings: Sequence[Setting],
    folds: int = 5,
    seeds: int = 3,
    step: Callable[[], None] = lambda: None,
) -> Probed:
    """Nested cross-validation of ``settings`` over ``seeds`` ways to part the clips. ``step`` is called after each fold.

    Raises:
        ConfigError: too few groups for so many folds.
    """
    targets = torch.tensor([labels.index(row.label) for row in rows])
    place = {row: i for i, row in enumerate(rows)}
    neighbours = [Setting("knn", (max(features.pooled),), float(k)) for k in _NEIGHBOURS]
    found: dict[str, list[float]] = {"head": [], "neighbour": [], "majority": []}
    pooled: dict[str, list[float]] = {"head": [], "neighbour": [], "majority": []}
    chosen: Counter[Setting] = Counter()
    for seed in range(seeds):
        right = dict.fromkeys(found, 0)
        for held_rows in k_folds(rows, folds, seed, FEWER_FOLDS):
            held = torch.zeros(len(rows), dtype=torch.bool)
            held[[place[row] for row in held_rows]] = True
            kept_rows = [row for row in rows if not held[place[row]]]
            setting = choose(features, kept_rows, rows, targets, len(labels), settings, folds, seed)
            near = choose(features, kept_rows, rows, targets, len(labels), neighbours, folds, seed)
            chosen[setting] += 1
            answers = {
                "head": _logits(features, targets, len(labels), ~held, [setting], seed)[0].argmax(1),
                "neighbour": _logits(features, targets, len(labels), ~held, [near], seed)[0].argmax(1),
                "majority": targets[~held].bincount(minlength=len(labels)).argmax().expand(len(rows)),
            }
            for name, answer in answers.items():
                hits = int((answer == targets)[held].sum())
                found[name].append(hits / int(held.sum()))
                right[name] += hits
            step()
        for name, hits in right.items():
            pooled[name].append(hits / len(rows))
    return Probed(
        *(tuple(found[name]) for name in ("head", "neighbour", "majority")),
        *(tuple(pooled[name]) for name in ("head", "neighbour", "majority")),
        chosen=chosen,
    )


def choose(
    features: Features,
    kept_rows: Sequence[Clip],
    rows: Sequence[Clip],
    targets: Tensor,
    classes: int,
    settings: Sequence[Setting],
    folds: int,
    seed: int,
) -> Setting:
    """The setting that is right most often on parts of ``kept_rows`` that it has not learnt from; of equals, the one with the
    lower loss. Only ``kept_rows`` are looked at; of one clip nothing can be held out, and the first setting is taken."""
    if len(settings) == 1 or len(kept_rows) < 2:
        return settings[0]
    hits, loss = held_out_hits(features, kept_rows, rows, targets, classes, settings, folds - 1, seed)
    return settings[int((hits - loss / (1 + loss.max())).argmax())]


def held_out_hits(
    features: Features,
    kept_rows: Sequence[Clip],
    rows: Sequence[Clip],
    targets: Tensor,
    classes: int,
    settings: Sequence[Setting],
    folds: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """How many of ``kept_rows`` each setting (S,) is right about on parts that it has not learnt from, and its loss over all of
    them. Only ``kept_rows`` are looked at. The parts are whole groups, or single clips where there is one group."""
    place = {row: i for i, row in enumerate(rows)}
    kept = torch.zeros(len(rows), dtype=torch.bool)
    kept[[place[row] for row in kept_rows]] = True
    if len({row.unit for row in kept_rows}) < 2:  # one person or scene: its single clips are held out
        alone = {row: replace(row, group=f"clip {place[row]}") for row in kept_rows}
        place |= {one: place[row] for row, one in alone.items()}
        kept_rows = list(alone.values())
    groups = len({row.unit for row in kept_rows})
    hits, loss = torch.zeros(len(settings)), torch.zeros(len(settings))
    for part in k_folds(kept_rows, max(2, min(folds, groups)), seed):
        inner = torch.zeros(len(rows), dtype=torch.bool)
        inner[[place[row] for row in part]] = True
        logits = _logits(features, targets, classes, kept & ~inner, settings, seed)
        hits += (logits.argmax(2) == targets)[:, inner].sum(1)
        losses = -logits[:, inner].log_softmax(2).gather(2, targets[inner].expand(len(settings), -1)[..., None])
        loss += losses.sum((1, 2))
    return hits, loss


def fit(features: Features, targets: Tensor, classes: int, setting: Setting) -> tuple[Tensor, Tensor] | None:
    """Weights (classes, C) and bias (classes,) of a linear layer on the last stage's mean, or (classes, T * C) on its times one
    after the other, from all clips; None for a setting that is no such layer."""
    if setting.head not in _READ or setting.stages != (max(features.pooled),):
        return None
    weights, bias = linear_weights(_READ[setting.head](features, setting.stages), targets, classes, [setting.value])
    return weights[0].T.contiguous(), bias[0]


def require_linear_heads(model: VideoModel) -> None:
    """A :class:`ConfigError` if a fitted layer cannot take the head's place: VTN's has layers of its own before the last."""
    more = [name for name, _ in model.named_parameters() if model.is_of_head(name) and ".fc." not in name]
    if more:
        raise ConfigError(
            f"The head of {type(model).__name__} is more than a linear layer ({more[0]}). Leave --out out."
        )


def spread(values: Sequence[float]) -> float:
    """Standard deviation; 0 of one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _logits(
    features: Features, targets: Tensor, classes: int, learn: Tensor, settings: Sequence[Setting], seed: int
) -> Tensor:
    """(S, n, classes) for all clips, by heads that learnt from those of ``learn``."""
    answers: dict[Setting, Tensor] = {}
    for stages in dict.fromkeys(s.stages for s in settings):
        mine = [s for s in settings if s.stages == stages]
        values = [s.value for s in mine]
        if mine[0].head in _READ:
            found = linear(_READ[mine[0].head](features, stages), targets, classes, learn, values)
        elif mine[0].head == "knn":
            found = nearest_clips(_pooled(features, stages), targets, classes, learn, [int(v) for v in values])
        else:
            found = attentive(_tokens(features, stages), targets, classes, learn, values, seed)
        answers.update(zip(mine, found, strict=True))
    return torch.stack([answers[s] for s in settings])


def _pooled(features: Features, stages: Sequence[int]) -> Tensor:
    return torch.cat([features.pooled[s] for s in stages], dim=1)


def _ordered(features: Features, stages: Sequence[int]) -> Tensor:
    """(n, T * C): the means over space of one time after the other."""
    return torch.cat([features.times[s].flatten(1) for s in stages], dim=1)


_READ = {"linear": _pooled, "ordered": _ordered}
"""What each head of one linear layer reads."""


def _tokens(features: Features, stages: Sequence[int]) -> Tensor:
    """(n, P, C): tokens of several stages stand after each other, channels of each in their own place."""
    widths = [features.tokens[s].shape[2] for s in stages]
    padded = []
    for number, stage in enumerate(stages):
        before, after = sum(widths[:number]), sum(widths[number + 1 :])
        padded.append(torch.nn.functional.pad(features.tokens[stage], (before, after)))
    return torch.cat(padded, dim=1)
