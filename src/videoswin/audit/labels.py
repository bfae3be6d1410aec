"""Labels that are probably wrong, by confident learning (Northcutt et al., 2021) on the scores of a probe.

Heads are fitted on the features of a frozen model, and each clip is scored by heads that have not seen it, nor a copy of it. Of
those who are sure of a class as often as its own clips are, another class counts. The library cleanlab does the same; it would
bring scikit-learn and pandas along for these lines, and its own cross-validation knows nothing of copies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from videoswin.data.clips import Clip
from videoswin.predict.calibration import fit_temperature
from videoswin.train.features import Features
from videoswin.train.frozen_heads import linear
from videoswin.train.split import k_folds

__all__ = ["Doubt", "doubts", "held_out_scores"]

_FOLDS = 10
_DECAYS = (0.1, 1.0)  # strong ones: a head that fits every label learns the wrong ones, too
_TIMES = 6.0  # the other class's score is so many times the label's, or it is no more than a hard clip
_LEAST_OF_CLASS = 3


@dataclass(frozen=True)
class Doubt:
    """Clip ``number`` is said to be ``label`` and is probably ``other``. ``score``, ``given``: of the two, in [0, 1]."""

    number: int
    label: str
    other: str
    score: float
    given: float


def held_out_scores(
    features: Features,
    rows: Sequence[Clip],
    labels: Sequence[str],
    together: Sequence[int],
    step: Callable[[], None] = lambda: None,
) -> Tensor:
    """float (N, K): scores of each clip by heads that learnt from others.

    Groups are not kept apart: a clip of the same person with a right label is what finds the wrong one. ``together``: (N,), clips of
    one number stand on one side, so that a copy does not confirm a wrong label.
    """
    targets = torch.tensor([labels.index(row.label) for row in rows])
    stand_ins = [
        Clip(row.path, row.label, "", str(place), 0, row.start, row.end)
        for row, place in zip(rows, together, strict=True)
    ]
    index = {id(clip): number for number, clip in enumerate(stand_ins)}
    folds = min(_FOLDS, len(set(together)))
    total = torch.zeros(len(rows), len(labels))
    stages = sorted(features.pooled)[-2:]
    sees = torch.cat([features.pooled[stage] for stage in stages], dim=1)
    for fold in k_folds(stand_ins, folds, 0):
        held = torch.zeros(len(rows), dtype=torch.bool)
        held[[index[id(clip)] for clip in fold]] = True
        answers = linear(sees, targets, len(labels), ~held, list(_DECAYS))
        total[held] = answers.softmax(2).mean(0)[held]
        step()
    logits = total.clamp(min=1e-6).log()
    return (logits / fit_temperature(logits, targets)).softmax(1)  # strong decays make scores softer than they deserve


def doubts(scores: Tensor, rows: Sequence[Clip], labels: Sequence[str]) -> list[Doubt]:
    """Clips whose label is probably wrong, surest first, no more than the scores say there are.

    ``scores``: (N, K), held out. A class's own threshold is the mean score that its clips give it: so a class that is never sure is
    not taken for wrong as a whole. And the other class has to be ``_TIMES`` as likely: a clip that is merely hard is not called wrong.
    Classes of fewer than three clips are left out.
    """
    targets = torch.tensor([labels.index(row.label) for row in rows])
    counts = targets.bincount(minlength=len(labels))
    sure = torch.tensor([float(scores[targets == k, k].mean()) if int(counts[k]) else 2.0 for k in range(len(labels))])
    above = scores >= sure
    best = torch.where(above, scores, -1.0).argmax(1)
    confident = above.any(1) & (counts[targets] >= _LEAST_OF_CLASS)
    wrong = confident & (best != targets)
    given = scores.gather(1, targets[:, None])[:, 0]
    other = scores.gather(1, best[:, None])[:, 0]
    wrong &= other > _TIMES * given
    order = (other - given)[wrong].argsort(descending=True)
    found = wrong.nonzero().flatten()[order].tolist()
    return [Doubt(n, rows[n].label, labels[int(best[n])], float(other[n]), float(given[n])) for n in found]
