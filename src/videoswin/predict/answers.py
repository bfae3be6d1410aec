"""What a classifier's logits mean: one of its labels, or any number of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from videoswin.data.label_cells import LabelCells, SeveralLabelCells
from videoswin.errors import ConfigError

__all__ = ["NONE", "ONE_LABEL", "Answer", "SeveralLabels", "answer_of", "require_one_label"]


NONE = "none of these"
"""The label of all other things, for models that were taught what is none of their classes."""


@dataclass(frozen=True)
class Answer:
    """One label for a video; the scores of all labels make 1."""

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (..., K) -> scores in [0, 1]."""
        return logits.softmax(dim=-1)

    def named(self, scores: Tensor, labels: Sequence[str]) -> tuple[str, ...] | None:
        """Scores (K,) -> the labels that a video has, best first; None where it has one, the best."""
        return None

    def check(self, labels: Sequence[str]) -> None:
        """A :class:`ConfigError` if it does not go with the labels."""

    def to_dict(self, labels: Sequence[str]) -> dict[str, Any]:
        """The fields of ``config.json`` that say so; none for one label."""
        return {}

    @property
    def cells(self) -> LabelCells:
        """How the cells of a list of clips are read for it."""
        return LabelCells()


ONE_LABEL = Answer()


@dataclass(frozen=True)
class SeveralLabels(Answer):
    """Multi-label: each label has a score of its own, and a video has those whose scores reach their thresholds; perhaps none."""

    thresholds: tuple[float, ...]
    """One for each label, in [0, 1]."""

    def scores(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def named(self, scores: Tensor, labels: Sequence[str]) -> tuple[str, ...]:
        order: list[int] = scores.argsort(descending=True, stable=True).tolist()
        return tuple([str(labels[i]) for i in order if float(scores[i]) >= self.thresholds[i]])

    def check(self, labels: Sequence[str]) -> None:
        if len(self.thresholds) != len(labels):
            raise ConfigError(
                f"There are {len(labels)} labels and {len(self.thresholds)} thresholds; give one for each label."
            )
        for label, value in zip(labels, self.thresholds, strict=True):
            if not _is_score(value):
                raise ConfigError(f'The threshold of "{label}" is {value!r}. Use a score between 0 and 1.')

    def to_dict(self, labels: Sequence[str]) -> dict[str, Any]:
        return {"answer": "several", "thresholds": dict(zip(labels, self.thresholds, strict=True))}

    @property
    def cells(self) -> LabelCells:
        return SeveralLabelCells()


def answer_of(settings: Mapping[str, Any], labels: Sequence[str]) -> Answer:
    """The way back of :meth:`Answer.to_dict`, from the fields of a ``config.json``; a :class:`ConfigError` for values that cannot
    be right."""
    kind, thresholds = settings.get("answer", "one"), settings.get("thresholds")
    if kind == "one" and thresholds is None:
        return ONE_LABEL
    if kind != "several":
        raise ConfigError(
            f'answer is {kind!r}{"" if thresholds is None else " beside thresholds"}. Use "several" (multi-label, with '
            "thresholds), or leave both out."
        )
    if not isinstance(thresholds, dict) or set(thresholds) != set(labels):
        raise ConfigError('thresholds do not give a score to each label. Write them as {"name": 0.5, ...}.')
    return SeveralLabels(tuple(thresholds[label] for label in labels))


def require_one_label(answer: Answer, name: str, what: str) -> None:
    """A :class:`ConfigError` for a multi-label classifier; ``what`` needs one label for a video, such as "a stream"."""
    if isinstance(answer, SeveralLabels):
        raise ConfigError(
            f"{name} is multi-label: it gives a video any number of labels, and {what} needs one. "
            "Use it with videoswin predict and videoswin evaluate."
        )


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
