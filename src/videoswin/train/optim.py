"""AdamW with two learning rates, and the schedule: linear warm-up, then a cosine (paper section 4.1)."""

import math
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import AdamW

from videoswin.interface.video_model import VideoModel

__all__ = ["build_optimizer", "learning_rate_factor"]

Named = list[tuple[str, nn.Parameter]]
_TABLES = (
    "bias_table",
    "cls_token",
    "dist_token",
    "pos_embed",
    "time_embed",
    "class_pos",
    "rel_pos_t",
    "rel_pos_h",
    "rel_pos_w",
)
"""Ends of the names of tokens and of tables of positions, which are not decayed however many axes they have."""


def build_optimizer(model: VideoModel, lr: float, backbone_lr_ratio: float, weight_decay: float) -> AdamW:
    """AdamW over four groups: backbone (all but the heads) or head, with or without weight decay.

    The head learns with ``lr``, the backbone with ``lr * backbone_lr_ratio`` (paper: 0.1 from image weights, table 7).
    Norms, biases and relative position tables are not decayed, which is what the public configuration asks for.
    """
    groups: list[dict[str, Any]] = []
    for part, rate in (("backbone", lr * backbone_lr_ratio), ("head", lr)):
        of_part = [(n, p) for n, p in model.named_parameters() if model.is_of_head(n) == (part == "head")]
        named = [(n, p) for n, p in of_part if p.requires_grad]
        for decayed, members in ((True, _only(named, True)), (False, _only(named, False))):
            if members:
                decay = weight_decay if decayed else 0.0
                groups.append({"params": members, "lr": rate, "base_lr": rate, "weight_decay": decay, "name": part})
    return AdamW(groups, lr=lr, betas=(0.9, 0.999))


def learning_rate_factor(step: int, total_steps: int, warmup_steps: int) -> float:
    """Share of the base learning rate at a step (from 0): linear up over the warm-up, then a half cosine down to 0.

    >>> [round(learning_rate_factor(s, 10, 2), 2) for s in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    share = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def _only(named: Iterable[tuple[str, nn.Parameter]], decayed: bool) -> list[nn.Parameter]:
    return [p for n, p in named if (p.ndim > 1 and not n.endswith(_TABLES)) == decayed]
