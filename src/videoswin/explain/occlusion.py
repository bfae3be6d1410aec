"""Where in a clip the evidence for a label lies, found by hiding boxes of it and looking again.

Two questions, and their answers added, each as deviations from its mean:

- Half of the boxes of a coarse grid are hidden at random, with soft borders, many times over: how high is the score when a place
  is there? (RISE, Petsiuk et al., 2018.)
- Each box of a second grid is hidden alone, and shown alone: what does it take away, what does it give?

The first sees what places do together, the second has sharp borders; their sum was better than either on the clips that it was
chosen by (``docs/explain.md`` has those that it was judged by). Nothing but the model's answers is used, so the map is of what the
model does.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from videoswin.classifier.classifier import Classifier
from videoswin.explain.evidence import Evidence, grid_of, require_label
from videoswin.explain.perturb import empty_clip, scores_of

__all__ = ["PASSES", "occlusion_evidence"]

_DRAWS, _COARSE = 160, (4, 4, 4)
_SINGLE = (2, 5, 5)
PASSES = 1 + _DRAWS + 2 * _SINGLE[0] * _SINGLE[1] * _SINGLE[2]
"""How often the model looks."""


def occlusion_evidence(
    classifier: Classifier,
    clip: Tensor,
    label: str | None = None,
    stage: int = 1,
    seed: int = 0,
    step: Callable[[], object] = lambda: None,
) -> Evidence:
    """The evidence in a normalised clip, (3, T, H, W).

    Args:
        label: None is the best one.
        stage: from 1; the grid of the map is that of its tokens.
        seed: of the random halves.
        step: called after each of the :data:`PASSES` looks.

    Raises:
        ConfigError: no such label or stage.
    """
    cell, grid = grid_of(classifier, clip, stage)
    known = require_label(classifier, label)
    scores = scores_of(classifier, clip[None])
    number = int(scores[0].argmax()) if known is None else known
    step()

    def seen(masks: Tensor, mode: str) -> Tensor:
        """(N,), the label's score with only what the masks (N, t, h, w), 0 to 1, leave."""
        answers = []
        for clips in _shown(clip, masks, mode):
            answers.append(scores_of(classifier, clips)[:, number])
            for _ in clips:
                step()
        return torch.cat(answers)

    whole = float(scores[0, number])
    draws = (torch.rand((_DRAWS, *_COARSE), generator=torch.Generator().manual_seed(seed)) < 0.5).float()
    answers = seen(draws, "trilinear")
    soft = _resized(draws, grid, "trilinear")
    together = ((answers - answers.mean())[:, None, None, None] * soft).sum(dim=0) / soft.sum(dim=0).clamp(min=1e-6)
    singles = torch.eye(_SINGLE[0] * _SINGLE[1] * _SINGLE[2]).view(-1, *_SINGLE)
    takes_away, gives = whole - seen(1 - singles, "nearest"), seen(singles, "nearest")
    alone = [_resized(one.view(1, *_SINGLE), grid, "nearest")[0] for one in (takes_away, gives)]
    signed = _deviations(together) + 0.5 * _deviations(sum(map(_deviations, alone), torch.zeros(grid)))
    return Evidence(
        label=classifier.labels[number],
        number=number,
        score=whole,
        stage=stage,
        signed=signed,
        cell=cell,
        size=(clip.shape[1], clip.shape[2], clip.shape[3]),
        method="occlusion",
    )


def _shown(clip: Tensor, masks: Tensor, mode: str, at_once: int = 8) -> Iterator[Tensor]:
    """The clip behind each mask, some at a time: (n, 3, T, H, W)."""
    empty = empty_clip(clip)
    size = (clip.shape[1], clip.shape[2], clip.shape[3])
    for some in masks.split(at_once):
        there = _resized(some, size, mode)[:, None]
        yield clip * there + empty * (1 - there)


def _resized(masks: Tensor, size: tuple[int, int, int], mode: str) -> Tensor:
    """(N, t, h, w) -> (N, *size)"""
    corners = {} if mode == "nearest" else {"align_corners": False}
    return F.interpolate(masks[:, None], size, mode=mode, **corners)[:, 0]


def _deviations(one: Tensor) -> Tensor:
    """From the mean, in standard deviations; all 0 if there are none."""
    return (one - one.mean()) / one.std().clamp(min=1e-9)
