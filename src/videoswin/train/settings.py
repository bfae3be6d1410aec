"""What a training run is asked to do."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from videoswin.errors import ConfigError, nearest

__all__ = ["Precision", "TrainSettings"]

Precision = Literal["float32", "bf16"]

_SEEDS = 2**63  # what PyTorch's generators take


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """The optimisation of one run (paper section 4.1 for the rule, smaller numbers for smaller data)."""

    epochs: int = 30
    batch_size: int = 8
    """Clips per step."""
    lr: float = 5e-4
    """Learning rate of the head, at the end of the warm-up."""
    backbone_lr_ratio: float = 1.0
    """Learning rate of the backbone, as a share of ``lr``; 0.1 is the paper's from image weights (table 7)."""
    weight_decay: float = 0.05
    warmup_epochs: float = 2.5
    """Epochs over which the learning rate rises; never more than a quarter of the run."""
    label_smoothing: float = 0.1
    max_grad_norm: float = 5.0
    """The gradient is scaled down to this norm when it is longer."""
    precision: Precision = "float32"
    seed: int = 0
    workers: int = 0
    """Processes that prepare clips; 0 prepares them in this one, which is best once all clips are in memory."""
    keep_epochs: int = 3
    """How many of the latest epochs' checkpoints stay on the disk, beside ``best`` and ``last``."""
    patience: int = 0
    """Stop after so many epochs without a lower validation loss; 0 never stops early."""

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("workers", 0), ("keep_epochs", 0), ("patience", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least {least}.")
        if not 0 <= self.seed < _SEEDS:
            raise ConfigError(f"seed={self.seed} must be a whole number from 0 to 2**63 - 1.")
        for name in ("lr", "backbone_lr_ratio", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)} must be a number above 0.")
        for name in ("weight_decay", "warmup_epochs"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)} must be a number, 0 or more.")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing={self.label_smoothing} must be in [0, 1).")
        if self.precision not in get_args(Precision):
            raise ConfigError(
                f'precision="{self.precision}" is unknown. {nearest(self.precision, get_args(Precision))}'
            )

    def what_shapes_the_weights(self) -> dict[str, Any]:
        """The fields that a resumed run has to share with the one it continues."""
        fields = asdict(self)
        for name in ("workers", "keep_epochs"):
            del fields[name]
        return fields
