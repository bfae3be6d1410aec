"""From a clip's classes to what the loss asks for, and how the answers of held-out clips are judged."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.data.dataset import ClipDataset
from videoswin.predict.answers import ONE_LABEL, Answer, SeveralLabels
from videoswin.predict.several import best_thresholds, mean_average_precision
from videoswin.train.processes import Processes
from videoswin.train.settings import TrainSettings

__all__ = ["Answers", "Judge", "OneLabel", "SeveralLabelsTarget", "class_weights", "targets_of"]


class Answers(nn.Module):
    """What a step asks of the model: logits (B, K), and of a causal model (B, T', K), those after every time step of the second
    half. It is to know the answer before the end, but not before it can be known."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        if not getattr(self.model.config, "causal", False):
            return self.model(clips)
        steps = self.model.forward_steps(clips)  # type: ignore[operator]
        return steps[:, steps.shape[1] // 2 :]


class Judge:
    """Gets the answers to all held-out clips. Of clips with one class, loss and accuracy say all; nothing is kept of them."""

    mean_average_precision: float | None = None
    answer: Answer | None = None
    """What the logits are to mean from now on, if held-out clips have a say in that."""

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Of some clips: (B, K) and their labels."""

    def close(self, processes: Processes) -> None:
        """All clips of this process were added; all processes have to call it."""


class SeveralLabelsJudge(Judge):
    """Finds mAP, and for each class the threshold with the best F1."""

    def __init__(self) -> None:
        self._answers: list[tuple[Tensor, Tensor]] = []

    def add(self, logits: Tensor, labels: Tensor) -> None:
        self._answers.append((logits.sigmoid(), labels > 0.5))

    def close(self, processes: Processes) -> None:
        answers = processes.gather(self._answers)
        scores, truth = (torch.cat([pair[i] for pair in answers]) for i in (0, 1))
        self.mean_average_precision = mean_average_precision(scores, truth)
        self.answer = SeveralLabels(best_thresholds(scores, truth))


class OneLabel:
    """Cross entropy with one class for each clip; labels are int64 (B,). ``weights``: (K,), how much each class counts in the
    loss, 1 on average."""

    kind = "one"

    def __init__(self, num_classes: int, smoothing: float = 0.0, weights: Tensor | None = None) -> None:
        self.num_classes = num_classes
        self.smoothing = smoothing
        self.weights = weights

    def unsmoothed(self) -> "OneLabel":
        """For held-out clips: neither smoothing nor weights."""
        return type(self)(self.num_classes)

    def judge(self) -> Judge:
        """For the held-out clips of an epoch."""
        return Judge()

    def answer(self) -> Answer:
        """What the logits mean."""
        return ONE_LABEL

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


class SeveralLabelsTarget(OneLabel):
    """Binary cross entropy (BCE) with any number of classes for each clip; labels are float (B, K), 1 for each of the clip's."""

    kind = "several"

    def judge(self) -> Judge:
        return SeveralLabelsJudge()

    def answer(self) -> Answer:
        return SeveralLabels((0.5,) * self.num_classes)

    def shares(self, labels: Tensor) -> Tensor:
        return labels

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the batch and the classes. Smoothing leads each target from 0 and 1 towards one half."""
        if logits.ndim == 3:
            labels = labels[:, None].expand_as(logits)
        wanted = labels * (1 - self.smoothing) + self.smoothing / 2
        weights = None if self.weights is None else self.weights.to(logits)
        return F.binary_cross_entropy_with_logits(logits, wanted, weight=weights)

    def right(self, logits: Tensor, labels: Tensor) -> int:
        """For how many clips the class with the highest score is one of theirs; without any, for how many no score reaches 0.5."""
        best = logits.argmax(1, keepdim=True)
        named = labels.gather(1, best)[:, 0] > 0.5
        none = (labels.sum(1) == 0) & (logits.amax(1) < 0)
        return int((named | none).sum())


def targets_of(clips: ClipDataset, settings: TrainSettings) -> OneLabel:
    """What suits the clips and the settings."""
    weights = None
    if settings.balance == "weights":
        weights = class_weights(clips.labels, [row.classes for row in clips.rows])
    several = any(row.several is not None for row in clips.rows)
    kind = SeveralLabelsTarget if several else OneLabel
    return kind(len(clips.labels), settings.label_smoothing, weights)


def class_weights(labels: Sequence[str], shown: Sequence[tuple[str, ...]]) -> Tensor:
    """(K,): 1 / (number of clips), 1 on average over the clips; a class without clips has 1."""
    counts = Counter(name for names in shown for name in names)
    scale = sum(counts.values()) / max(len(counts), 1)
    return torch.tensor([scale / counts[name] if name in counts else 1.0 for name in labels])
