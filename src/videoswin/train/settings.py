"""What a training run is asked to do."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from videoswin.errors import ConfigError, nearest

__all__ = ["Balance", "OptimizerName", "ParameterRule", "Precision", "Schedule", "Strategy", "TrainSettings"]

Precision = Literal["float32", "bf16", "fp16"]
ParameterRule = Literal["plain", "intent", "official"]
Schedule = Literal["step", "epoch", "drops"]
OptimizerName = Literal["adamw", "sgd"]
Balance = Literal["none", "sampling", "weights"]
Strategy = Literal["ddp", "fsdp"]

_SEEDS = 2**63  # what PyTorch's generators take
_DOES_NOT_SHAPE = ("workers", "keep_epochs", "save_every", "strategy", "accumulate", "checkpointing")
"""Fields that may differ when a run is resumed; ``accumulate`` counts together with the number of processes."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The optimisation of one run (paper section 4.1 for the rule, smaller numbers for smaller data)."""

    epochs: int = 30
    batch_size: int = 8
    """Clips that go through the model at once, on each device."""
    accumulate: int = 1
    """Batches, on each device, whose gradients make one optimiser step; the step's clips are devices x batch x accumulate."""
    lr: float = 5e-4
    """Learning rate of the head, at the end of the warm-up."""
    backbone_lr_ratio: float = 1.0
    """Learning rate of the backbone, as a share of ``lr``; 0.1 is the paper's from image weights (table 7)."""
    layer_decay: float = 1.0
    """Each block learns at this share of the rate of the block after it (Clark et al., 2020); 1 is off, 0.75 usual."""
    parameter_rule: ParameterRule = "plain"
    """Which parameters decay, and how fast bias tables learn: see :func:`~videoswin.train.optim.build_optimizer`."""
    optimizer: OptimizerName = "adamw"
    momentum: float = 0.9
    """Of SGD."""
    weight_decay: float = 0.05
    warmup_epochs: float = 2.5
    """Epochs over which the learning rate rises; never more than a quarter of the run."""
    schedule: Schedule = "step"
    """"step": a linear rise, then a cosine, step by step. "epoch": as the public code, one cosine over all epochs that moves
    once an epoch, below it a rise from a tenth. "drops": a linear rise, then to a tenth at each of ``lr_drops``."""
    lr_drops: tuple[float, ...] = ()
    """Shares of the run after which the rate falls to a tenth, with ``schedule`` "drops"."""
    label_smoothing: float = 0.1
    mixup: float = 0.0
    """Strength of MixUp (Zhang et al., 2018): two clips and their labels are blended, by a share drawn from Beta(a, a)."""
    cutmix: float = 0.0
    """Strength of CutMix (Yun et al., 2019): a box of one clip, the same in all frames, is cut out of another. With ``mixup``
    too, each step draws which of the two."""
    repeat: int = 1
    """Repeated augmentation: how often an epoch shows each clip, varied anew each time, in one batch."""
    balance: Balance = "none"
    """"sampling": all classes are shown equally often. "weights": the loss of a clip counts by how rare its class is."""
    max_grad_norm: float = 5.0
    """The gradient is scaled down to this norm when it is longer; 0 never does."""
    ema: float = 0.0
    """Decay of a running average of the weights, which is then what is validated and kept; 0 is off, 0.999 usual."""
    precision: Precision = "float32"
    checkpointing: bool = False
    """Compute each block again in the backward pass: less memory, about a third more time, the same numbers."""
    seed: int = 0
    workers: int = 0
    """Processes that prepare clips; 0 prepares them in this one, which is best once all clips are in memory."""
    strategy: Strategy = "ddp"
    """How several devices share the work: "ddp", each holds the model; "fsdp", each holds a part of it."""
    keep_epochs: int = 3
    """How many of the latest epochs' checkpoints stay on the disk, beside ``best`` and ``last``."""
    save_every: float = 0.0
    """Minutes after which the state is saved within an epoch too; 0: at the end of each epoch only."""
    patience: int = 0
    """Stop after so many epochs without a lower validation loss; 0 never stops early."""

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 1), ("batch_size", 1), ("accumulate", 1), ("repeat", 1), ("workers", 0), ("keep_epochs", 0), ("patience", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least {least}.")
        if not 0 <= self.seed < _SEEDS:
            raise ConfigError(f"seed={self.seed} must be a whole number from 0 to 2**63 - 1.")
        for name in ("lr", "backbone_lr_ratio"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)} must be a number above 0.")
        for name in ("weight_decay", "warmup_epochs", "max_grad_norm", "mixup", "cutmix", "save_every"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)} must be a number, 0 or more.")
        for name in ("label_smoothing", "ema", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be in [0, 1).")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"layer_decay={self.layer_decay} must be above 0 and at most 1; 0.75 is usual.")
        for name, kind in (
            ("precision", Precision), ("parameter_rule", ParameterRule), ("schedule", Schedule), ("balance", Balance),
            ("strategy", Strategy), ("optimizer", OptimizerName),
        ):  # fmt: skip
            value = getattr(self, name)
            if value not in get_args(kind):
                raise ConfigError(f'{name}="{value}" is unknown. {nearest(str(value), get_args(kind))}')

        object.__setattr__(self, "lr_drops", _shares(self.lr_drops))
        if any(not 0 < share < 1 for share in self.lr_drops) or list(self.lr_drops) != sorted(self.lr_drops):
            raise ConfigError(f"lr_drops={list(self.lr_drops)} must be shares of the run between 0 and 1, rising.")
        if self.lr_drops and self.schedule != "drops":
            raise ConfigError(
                f'lr_drops={list(self.lr_drops)} is for schedule="drops", not "{self.schedule}". Give both.'
            )
        if self.schedule == "drops" and not self.lr_drops:
            raise ConfigError(
                'schedule="drops" needs lr_drops, such as 0.5,0.9: the shares of the run after which it drops.'
            )

    def what_shapes_the_weights(self) -> dict[str, Any]:
        """The fields that a resumed run has to share with the one it continues."""
        fields = asdict(self)
        for name in _DOES_NOT_SHAPE:
            del fields[name]
        return fields


def _shares(value: str | Sequence[float]) -> tuple[float, ...]:
    """From numbers, or as a command line and a file of settings give them: "0.5,0.9"."""
    if not isinstance(value, str):
        return tuple(value)
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise ConfigError(f'lr_drops="{value}" must be numbers with commas between them, such as 0.5,0.9.') from None
