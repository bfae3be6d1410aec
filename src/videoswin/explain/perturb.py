"""Does the answer hang on the evidence? Places are taken out of the clip, or put into an empty one, in the order of a map, and
the label's score is followed (deletion and insertion, Petsiuk et al., 2018)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.explain.evidence import Evidence
from videoswin.predict.batches import views_at_once
from videoswin.predict.scoring import score_each_view

__all__ = ["Curves", "centre_map", "curves", "empty_clip", "random_map", "score_without", "scores_of"]


@dataclass(frozen=True)
class Curves:
    """Scores of the label, (S + 1,), with the shares 0, 1/S, ... 1 of all places taken out, or put in."""

    deletion: Tensor
    insertion: Tensor

    @property
    def deletion_area(self) -> float:
        """0 to 1; the lower, the better the map."""
        return float(torch.trapezoid(self.deletion)) / (len(self.deletion) - 1)

    @property
    def insertion_area(self) -> float:
        """0 to 1; the higher, the better the map."""
        return float(torch.trapezoid(self.insertion)) / (len(self.insertion) - 1)


def curves(
    classifier: Classifier,
    clip: Tensor,
    evidence: Evidence,
    order: Tensor,
    steps: int = 10,
    empty: Tensor | None = None,
) -> Curves:
    """Follow the score of the evidence's label.

    Args:
        clip: (3, T, H, W), normalised.
        order: (T', H', W') on the grid of the evidence: places with larger values go first.
        empty: what stands where something was taken out, of the clip's shape or one that becomes it; None is the clip's mean
            colour.
    """
    ranks = order.flatten().argsort(descending=True, stable=True).argsort().view(order.shape)
    taken = [ranks < round(ranks.numel() * step / steps) for step in range(steps + 1)]
    masks = torch.stack([_pixels(one, evidence) for one in taken])[:, None]  # (S + 1, 1, T, H, W)
    empty = empty_clip(clip) if empty is None else empty
    deletion = scores_of(classifier, torch.where(masks, empty, clip))[:, evidence.number]
    insertion = scores_of(classifier, torch.where(masks, clip, empty))[:, evidence.number]
    return Curves(deletion, insertion)


def score_without(classifier: Classifier, clip: Tensor, evidence: Evidence, order: Tensor, share: float) -> float:
    """The label's score without the first ``share`` of all places."""
    ranks = order.flatten().argsort(descending=True, stable=True).argsort().view(order.shape)
    mask = _pixels(ranks < round(ranks.numel() * share), evidence)[None]
    return float(scores_of(classifier, torch.where(mask, empty_clip(clip), clip)[None])[0, evidence.number])


def random_map(evidence: Evidence, seed: int) -> Tensor:
    """(T', H', W'), the same for the same seed."""
    return torch.rand(evidence.signed.shape, generator=torch.Generator().manual_seed(seed))


def centre_map(evidence: Evidence) -> Tensor:
    """(T', H', W'): the nearer to the middle of the clip in time, height and width, the larger."""
    axes = [(torch.arange(n) + 0.5) / n - 0.5 for n in evidence.signed.shape]
    return -sum(axis.square() for axis in torch.meshgrid(*axes, indexing="ij"))  # type: ignore[return-value]


def empty_clip(clip: Tensor) -> Tensor:
    """What stands where something was taken out: the clip's mean colour, (3, 1, 1, 1)."""
    return clip.mean(dim=(1, 2, 3), keepdim=True)


def _pixels(places: Tensor, evidence: Evidence) -> Tensor:
    """A mask of tokens as one of pixels, (T, H, W)."""
    for axis, cell in enumerate(evidence.cell):
        places = places.repeat_interleave(cell, dim=axis)
    t, h, w = evidence.size
    return places[:t, :h, :w]


def scores_of(classifier: Classifier, clips: Tensor) -> Tensor:
    """(N, num_classes) of normalised clips (N, 3, T, H, W), as many at once as memory allows."""
    at_once = views_at_once(clips.shape[1:], classifier.device)
    return torch.cat([score_each_view(classifier, some) for some in clips.split(at_once)])
