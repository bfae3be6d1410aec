"""What held-out scores say about scores: how sure to be, and below which score an answer is better not given."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "accuracy_interval",
    "auroc",
    "calibration_error",
    "few_groups",
    "fit_temperature",
    "none_threshold",
    "reliability",
]

_KEPT_OUT = 0.05
_RESAMPLES = 2000
_FEWEST_GROUPS = 4


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """The number by which to divide logits (N, K), so that the scores of the true classes (N,) are most likely.

    It changes no answer, only how sure the answers are (Guo et al., 2017). From 1/20 to 20.
    """
    low, high = torch.tensor(1 / 20).log(), torch.tensor(20.0).log()
    for _ in range(4):  # the likelihood has one peak over log T: a grid, then a finer one around its best point
        grid = torch.linspace(low.item(), high.item(), 41)
        losses = torch.stack([F.cross_entropy(logits / t, targets) for t in grid.exp()])
        best = int(losses.argmin())
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(grid[best].exp())


def calibration_error(scores: Tensor, targets: Tensor, bins: int = 10) -> float:
    """Expected calibration error of scores (N, K): how far the best score is from the share that is right, over bins of
    equal width, weighted by what is in them. In [0, 1]."""
    confidence, answer = scores.max(dim=1)
    found = reliability(confidence, answer == targets, bins)
    return sum(abs(score - right) * count for score, right, count in found) / max(len(scores), 1)


def reliability(confidence: Tensor, right: Tensor, bins: int = 10) -> list[tuple[float, float, int]]:
    """Mean best score, share that is right, and number of clips, for each bin of equal width that holds any.

    ``confidence``: (N,) in [0, 1]; ``right``: bool (N,).
    """
    place = (confidence * bins).long().clamp(max=bins - 1)
    found = []
    for i in range(bins):
        chosen = place == i
        if chosen.any():
            found.append((float(confidence[chosen].mean()), float(right[chosen].float().mean()), int(chosen.sum())))
    return found


def none_threshold(scores: Tensor) -> float:
    """The best score that all but a twentieth of held-out clips, scores (N, K), reach."""
    return math.floor(1000 * float(scores.amax(dim=1).quantile(_KEPT_OUT))) / 1000


def auroc(inside: Tensor, outside: Tensor) -> float:
    """How often a score of ``inside`` (N,) is above one of ``outside`` (M,); ties count half."""
    difference = inside[:, None] - outside[None, :]
    return float(((difference > 0).float() + 0.5 * (difference == 0).float()).mean())


def accuracy_interval(correct: Sequence[bool], groups: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """In which range the accuracy would be on other groups of this kind, 19 times in 20.

    Groups are drawn anew with replacement (a bootstrap): clips of one person or scene succeed and fail together, so that
    clips drawn one by one would look surer than they are. Clips without a group ("") are drawn singly. With fewer than four
    draws, or where all groups are equally good (all right, all wrong), it is Wilson's interval, which counts clips alone.
    """
    right = torch.tensor(list(correct), dtype=torch.float64)
    names = {name: number for number, name in enumerate(dict.fromkeys(g or f"\0{i}" for i, g in enumerate(groups)))}
    place = torch.tensor([names[g or f"\0{i}"] for i, g in enumerate(groups)])
    hits = torch.zeros(len(names), dtype=torch.float64).index_add_(0, place, right)
    sizes = torch.bincount(place, minlength=len(names)).double()
    share = float(right.mean())
    if len(names) < _FEWEST_GROUPS or torch.allclose(hits / sizes, hits[:1] / sizes[:1]):
        return _wilson(share, len(right))
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(names), (_RESAMPLES, len(names)), generator=generator)
    means = hits[drawn].sum(1) / sizes[drawn].sum(1)
    return float(means.quantile(0.025)), float(means.quantile(0.975))


def few_groups(groups: Sequence[str]) -> bool:
    """Whether groups are given, but so few that :func:`accuracy_interval` counts clips alone: then it holds for these groups, not
    for others."""
    return all(groups) and len(set(groups)) < _FEWEST_GROUPS


def _wilson(share: float, count: int) -> tuple[float, float]:
    z = 1.96
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)
