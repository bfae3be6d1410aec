"""From a clip's class to what the loss asks for."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from videoswin.data.dataset import ClipDataset
from videoswin.train.order import class_shares
from videoswin.train.settings import TrainSettings

__all__ = ["OneLabel", "class_weights", "targets_of"]


class OneLabel:
    """Cross entropy with one class for each clip; labels are int64 (B,). ``weights``: (K,), how much each class counts in the
    loss, 1 on average."""

    def __init__(self, num_classes: int, smoothing: float = 0.0, weights: Tensor | None = None) -> None:
        self.num_classes = num_classes
        self.smoothing = smoothing
        self.weights = weights

    def unsmoothed(self) -> "OneLabel":
        """For held-out clips: neither smoothing nor weights."""
        return OneLabel(self.num_classes)

    def shares(self, labels: Tensor) -> Tensor:
        """float (B, K), what can be mixed."""
        return F.one_hot(labels, self.num_classes).float()

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the batch. ``logits``: (B, K) or (B, T', K); ``labels``: (B,), or shares (B, K)."""
        if logits.ndim == 3:  # the same answer at every time step
            labels = labels[:, None].expand(-1, logits.shape[1], *labels.shape[1:])
            logits = logits.transpose(1, 2)
            labels = labels.transpose(1, 2) if labels.ndim == 3 else labels
        weights = None if self.weights is None else self.weights.to(logits)
        if weights is None or labels.is_floating_point():
            return F.cross_entropy(logits, labels, weight=weights, label_smoothing=self.smoothing)
        # PyTorch divides by the batch's weights, so that a batch of rare classes would count no more than others.
        each = F.cross_entropy(logits, labels, weight=weights, label_smoothing=self.smoothing, reduction="none")
        return each.mean()

    def right(self, logits: Tensor, labels: Tensor) -> int:
        """How many of the answers (B, K) name the clip's class first."""
        return int((logits.argmax(1) == labels).sum())


def targets_of(clips: ClipDataset, settings: TrainSettings) -> OneLabel:
    """What suits the clips and the settings."""
    weights = None
    if settings.balance == "weights":
        weights = class_weights(clips.labels, [(row.label,) for row in clips.rows])
    return OneLabel(len(clips.labels), settings.label_smoothing, weights)


def class_weights(labels: Sequence[str], shown: Sequence[tuple[str, ...]]) -> Tensor:
    """(K,): 1 / (number of clips), 1 on average over the clips; a class without clips has 1."""
    per_clip = class_shares(shown)
    scale = len(per_clip) / sum(per_clip)
    of_class = {name: value for names, value in zip(shown, per_clip, strict=True) for name in names}
    return torch.tensor([of_class.get(name, 1 / scale) * scale for name in labels])
