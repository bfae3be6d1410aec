"""AdamW (paper section 4.1) or SGD with a rate and a decay for each kind of parameter, and the schedule."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from videoswin.interface.video_model import VideoModel
from videoswin.train.settings import TrainSettings

__all__ = ["build_optimizer", "dropping_factor", "learning_rate_factor", "rate_factor", "stepwise_factor"]

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


def build_optimizer(
    model: VideoModel,
    lr: float,
    backbone_lr_ratio: float,
    weight_decay: float,
    rule: str = "plain",
    layer_decay: float = 1.0,
    optimizer: str = "adamw",
    momentum: float = 0.9,
) -> Optimizer:
    """AdamW, or SGD with ``momentum``, over groups of parameters: the head learns with ``lr``, the backbone with
    ``lr * backbone_lr_ratio`` (paper: 0.1 from image weights, table 7), with ``layer_decay`` below 1 the less, the earlier the block.

    ``rule`` says what else differs:

    ============  ====================================  ==================================================
    rule          not decayed                           rate of relative position tables
    ============  ====================================  ==================================================
    ``plain``     norms, all biases, tables             the backbone's
    ``intent``    norms' weights and biases, tables     the backbone's: what the public configuration asks for
    ``official``  tables                                the head's: what the public code's runs did, because of several
                                                        keys that fit a name, its library obeys the longest alone
    ============  ====================================  ==================================================
    """
    numbers, count = _layers(model)
    groups: dict[tuple[str, float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        kind = _Kind.of(name, parameter, model.is_of_head(name))
        rate = lr if kind.in_head or (rule == "official" and kind.is_table) else lr * backbone_lr_ratio
        if layer_decay < 1:
            rate *= layer_decay ** (count + 1 - _layer(name, numbers, count))
        decay = weight_decay if kind.decays(rule) else 0.0
        part = "head" if kind.in_head else "backbone"
        group = groups.setdefault(
            (part, rate, decay), {"params": [], "lr": rate, "base_lr": rate, "weight_decay": decay, "name": part}
        )
        group["params"].append(parameter)
    # In an order of their own, which saved states rely on: backbone before head, decayed before not decayed.
    ordered = sorted(groups.items(), key=lambda item: (item[0][0] == "head", item[0][1], item[0][2] == 0))
    parts = [group for _, group in ordered]
    if optimizer == "sgd":
        return SGD(parts, lr=lr, momentum=momentum)
    return AdamW(parts, lr=lr, betas=(0.9, 0.999))


@dataclass(frozen=True)
class _Kind:
    """What a parameter is, by its name and shape."""

    in_head: bool
    is_table: bool
    is_norm: bool
    is_vector: bool

    @classmethod
    def of(cls, name: str, parameter: nn.Parameter, in_head: bool) -> "_Kind":
        return cls(in_head, name.endswith(_TABLES), "norm" in name, parameter.ndim < 2)

    def decays(self, rule: str) -> bool:
        if self.is_table:
            return False
        if rule == "official":
            return True
        return not self.is_norm if rule == "intent" else not self.is_vector


def _layers(model: nn.Module) -> tuple[dict[str, int], int]:
    """The number of the layer that each prefix of names belongs to, 0 for what is before the blocks, and how many blocks there
    are. Stages of other systems than Video Swin are not told apart: all of their backbone is one block."""
    stages = getattr(getattr(model, "backbone", None), "stages", ())
    numbers: dict[str, int] = {}
    count = 0
    for i, stage in enumerate(stages):
        for j, _ in enumerate(stage.blocks):
            count += 1
            numbers[f"backbone.layers.{i}.blocks.{j}."] = count
        numbers[f"backbone.layers.{i}.downsample."] = count
    numbers["backbone.patch_embed."] = 0
    return numbers, count


def _layer(name: str, numbers: dict[str, int], count: int) -> int:
    return next((number for prefix, number in numbers.items() if name.startswith(prefix)), count + 1)


def rate_factor(settings: TrainSettings, step: int, steps_per_epoch: int) -> float:
    """Share of the base learning rate at a step (from 0) of the whole run, by the settings' schedule."""
    warmup = min(settings.warmup_epochs, settings.epochs / 4)  # a short run would otherwise end before its warm-up does
    if settings.schedule == "epoch":
        return stepwise_factor(step, steps_per_epoch, settings.epochs, warmup)
    if settings.schedule == "drops":
        total, rise = settings.epochs * steps_per_epoch, round(warmup * steps_per_epoch)
        return dropping_factor(step, total, rise, settings.lr_drops)
    return learning_rate_factor(step, settings.epochs * steps_per_epoch, round(warmup * steps_per_epoch))


def learning_rate_factor(step: int, total_steps: int, warmup_steps: int) -> float:
    """Share of the base learning rate at a step (from 0): linear up over the warm-up, then a half cosine down to 0.

    >>> [round(learning_rate_factor(s, 10, 2), 2) for s in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    share = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def dropping_factor(step: int, total_steps: int, warmup_steps: int, drops: Sequence[float]) -> float:
    """A line up over the warm-up, then a tenth of it after each of ``drops``, shares of the run.

    >>> [round(dropping_factor(s, 100, 0, (0.5, 0.9)), 3) for s in (0, 49, 50, 90)]
    [1.0, 1.0, 0.1, 0.01]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.1 ** sum(step >= share * total_steps for share in drops)


def stepwise_factor(step: float, steps_per_epoch: int, epochs: int, warmup_epochs: float) -> float:
    """As the public code's library does it: a cosine from the first epoch on that moves once an epoch, and while it warms up,
    a line from a tenth of that to all of it.

    >>> [round(stepwise_factor(s, 10, 4, 1), 3) for s in (0, 5, 10, 19, 20)]
    [0.1, 0.55, 0.854, 0.854, 0.5]
    """
    regular = 0.5 * (1 + math.cos(math.pi * (step // steps_per_epoch) / epochs))
    share = step / max(warmup_epochs * steps_per_epoch, 1e-9)
    return regular * (1 - (1 - share) * 0.9) if share < 1 else regular
