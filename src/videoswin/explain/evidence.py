"""Where in a clip the evidence for a label lies: a map over the tokens of a stage, weighted by the gradient.

The head is linear and reads the mean of the last map, or the means of its parts in time. So for the last stage, activation times
gradient, summed over the channels, is exactly what each token adds to the label's logit: the map sums to the logit less the
head's bias. For earlier stages, and for the "none of these" of a head that remembers clips, it is the first-order estimate of it
(HiResCAM, Draelos and Carin, 2020). Nothing is averaged over time or space, so the map keeps the 3D layout of the tokens: each is
``patch_size[0]`` frames deep and ``patch_size[1] * 2**i`` pixels high.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from videoswin.classifier.classifier import Classifier
from videoswin.errors import ConfigError, nearest
from videoswin.features.look import evaluating
from videoswin.interface.video_model import need

__all__ = ["Box", "Evidence", "find_evidence", "grid_of", "require_label", "strongest_box"]


@dataclass(frozen=True)
class Evidence:
    """What speaks for one label in one clip."""

    label: str
    number: int
    """Of the class."""
    score: float
    """0 to 1."""
    stage: int
    """Counted from 1."""
    signed: Tensor
    """(T', H', W'), below 0 what speaks against the label. By the gradient: what each token adds to the label's logit; by
    occlusion: how much showing the place raises the label's score, in standard deviations."""
    cell: tuple[int, int, int]
    """Frames, height and width in pixels that one token stands for."""
    size: tuple[int, int, int]
    """(T, H, W) of the clip."""
    method: Literal["occlusion", "gradient"] = "gradient"

    @property
    def positive(self) -> Tensor:
        """(T', H', W'), what speaks for the label, as shares that sum to 1 (or all 0)."""
        above = self.signed.clamp(min=0)
        return above / above.sum().clamp(min=1e-12)

    @property
    def frames(self) -> Tensor:
        """(T,), the share of each frame."""
        steps = self.positive.sum(dim=(1, 2)) / self.cell[0]
        return steps.repeat_interleave(self.cell[0])[: self.size[0]]

    def smooth(self) -> Tensor:
        """(T, H, W), 0 to 1: the map over the clip's own pixels, for people."""
        whole = [n * c for n, c in zip(self.positive.shape, self.cell, strict=True)]  # padded behind the clip's end
        large = F.interpolate(self.positive[None, None], whole, mode="trilinear", align_corners=False)[0, 0]
        t, h, w = self.size
        return large[:t, :h, :w] / large.max().clamp(min=1e-12)


@dataclass(frozen=True)
class Box:
    """An attention window, in frames and pixels of the clip, the ends not included."""

    frames: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    share: float
    """Of all evidence for the label."""


def find_evidence(classifier: Classifier, clip: Tensor, label: str | None = None, stage: int = 1) -> Evidence:
    """The evidence in a normalised clip, (3, T, H, W).

    Args:
        label: None is the best one.
        stage: from 1, the finest map.

    Raises:
        ConfigError: no such label or stage, or a system that shows no maps of its stages.
    """
    cell, _ = grid_of(classifier, clip, stage)
    known = require_label(classifier, label)
    model: Any = classifier.model
    count = len(model.config.depths)
    weight = next(p for p in model.parameters() if p.ndim > 3)
    kept: list[Tensor] = []
    tapped = model.backbone.norm if stage == count else model.backbone.stages[stage - 1]
    handle = tapped.register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        with evaluating(model), torch.enable_grad():
            video = clip[None].to(weight.device, weight.dtype).requires_grad_()
            logits = model(video)
            number = int(logits[0].argmax()) if known is None else known
            (gradient,) = torch.autograd.grad(logits[0, number], kept[0])
    finally:
        handle.remove()
    return Evidence(
        label=classifier.labels[number],
        number=number,
        score=float(classifier.answer.scores(logits.detach().float())[0, number]),
        stage=stage,
        signed=(gradient * kept[0]).detach().float().sum(dim=-1)[0].cpu(),
        cell=cell,
        size=(clip.shape[1], clip.shape[2], clip.shape[3]),
    )


def grid_of(classifier: Classifier, clip: Tensor, stage: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """(frames, rows and columns of pixels of a token, tokens in time, height and width) of a stage, from 1.

    Raises:
        ConfigError: no such stage, or a system that shows no maps of its stages.
    """
    model: Any = classifier.require_classes().model
    need(model, "pyramid", "Explaining an answer")
    count = len(model.config.depths)
    if not 1 <= stage <= count:
        raise ConfigError(f"stage={stage}: this model has stages 1 to {count}.")
    depth, height, width = model.config.patch_size
    scale = 2 ** (stage - 1)
    cell = depth, height * scale, width * scale
    t, h, w = (-(-size // one) for size, one in zip(clip.shape[1:], cell, strict=True))
    return cell, (t, h, w)


def require_label(classifier: Classifier, label: str | None) -> int | None:
    """Its number; None for None. Raises ConfigError with the nearest label."""
    if label is None:
        return None
    if label not in classifier.labels:
        raise ConfigError(f'There is no label "{label}". {nearest(label, classifier.labels)}')
    return classifier.labels.index(label)


def strongest_box(classifier: Classifier, evidence: Evidence) -> Box:
    """The window of the stage's last block that holds most of the evidence: tokens that attended to each other."""
    backbone = classifier.model.backbone
    stage = backbone.stages[evidence.stage - 1]
    grid = tuple(evidence.signed.shape)
    boxes = stage.boxes(grid, len(stage.blocks) - 1, torch.device("cpu"))
    flat = F.pad(evidence.positive.flatten(), (0, 1))  # the last one is padding's
    best_share, best = -1.0, torch.zeros(1, dtype=torch.long)
    for group in boxes.groups:
        tokens = group.tokens.long().view(group.count, -1)
        shares = flat[tokens].sum(dim=1)
        place = int(shares.argmax())
        if float(shares[place]) > best_share:
            best_share, best = float(shares[place]), tokens[place]
    inside = best[best < flat.numel() - 1]
    axes = torch.unravel_index(inside, grid)
    spans = [
        (int(axis.min()) * cell, min((int(axis.max()) + 1) * cell, size))
        for axis, cell, size in zip(axes, evidence.cell, evidence.size, strict=True)
    ]
    return Box(*spans, share=best_share)
