"""What makes a classifier of a model: everything but the numbers, checked once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, nearest
from videoswin.interface.model_config import ModelConfig
from videoswin.model.config import SwinConfig, check_clip_size
from videoswin.predict.answers import ONE_LABEL, Answer, require_one_label
from videoswin.predict.provenance import Training
from videoswin.weights.assemble import empty_model

__all__ = ["CARD_HEADER", "Facts", "check_card", "check_clip", "check_labels", "check_threshold", "count_blocks"]

CARD_HEADER = ("license", "datasets", "base_model", "tags", "language")
"""Fields of ``Facts.card`` that go to the model card's header, for hubs."""


_MAX_BLOCKS = 1000


@dataclass(frozen=True)
class Facts:
    """What ``config.json`` of a checkpoint folder holds, and the model card tells.

    Raises:
        ConfigError: the labels do not match the model's outputs, a value is out of range, or the model cannot take the
            clips that the preprocessing makes.
    """

    config: Any
    """A :class:`~videoswin.interface.model_config.ModelConfig` of any system."""
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    """The name of each class, in the order of the model's outputs; none for a start, which has no head yet."""
    name: str = "unnamed"
    none_threshold: float | None = None
    """A best score below it means "none of these"."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """How well it does, such as ``{"val_top1": 0.9}``."""
    notes: str = ""
    """How it was made."""
    card: dict[str, Any] = field(default_factory=dict)
    """What the model card should say besides: :mod:`videoswin.classifier.card`."""
    training: Training | None = None
    """What it learnt from, if a run made it."""
    answer: Answer = ONE_LABEL
    """One label for a video, or several, with their thresholds."""

    def __post_init__(self) -> None:
        check_labels(self.labels, self.config.num_classes)
        check_threshold(self.none_threshold)
        self.answer.check(self.labels)
        if self.none_threshold is not None:
            require_one_label(self.answer, self.name, "a none_threshold")
        check_card(self.card)
        if self.config.in_channels != self.preprocessing.channels:
            raise ConfigError(
                f"in_channels={self.config.in_channels}, and videos have 3 colour channels; use in_channels=3. Grey clips have "
                "one, with a preprocessing of one mean."
                if self.preprocessing.channels == 3
                else f"in_channels={self.config.in_channels}, and the preprocessing makes grey clips; use in_channels=1."
            )
        check_clip(self.config, (self.preprocessing.clip_len, *self.preprocessing.size))


@lru_cache(maxsize=64)
def check_clip(config: ModelConfig, size: tuple[int, int, int]) -> None:
    """A :class:`ConfigError` if the model of a configuration cannot take clips of (T, H, W), or cannot be built."""
    if isinstance(config, SwinConfig):
        check_clip_size(config, size)
        return
    if count_blocks(config) > _MAX_BLOCKS:
        raise ConfigError(f"The model has {count_blocks(config)} blocks, more than any. Correct its depth.")
    try:
        model = empty_model(config)
    except (RuntimeError, OverflowError, LookupError, ArithmeticError) as error:  # of PyTorch, about its sizes
        raise ConfigError(f"The model cannot be built ({error}). Correct its sizes.") from error
    model.check_clip(size)


def count_blocks(config: ModelConfig) -> int:
    """Blocks of a model, by whatever its system calls them."""
    depth = getattr(config, "depth", 0) + getattr(config, "temporal_depth", 0)
    return depth + sum(getattr(config, "depths", ()))


def check_labels(labels: tuple[str, ...], num_classes: int) -> None:
    """One name for each output, no name twice; else a :class:`ConfigError`. None of both is a start: it has no head yet."""
    if len(labels) != num_classes:
        raise ConfigError(
            f"The model has {num_classes} outputs and there are {len(labels)} labels; give one label for each."
        )
    twice = sorted({label for label in labels if labels.count(label) > 1}) if len(set(labels)) < len(labels) else []
    if twice:
        raise ConfigError(f'The label "{twice[0]}" is used for more than one class; give each its own.')


def check_threshold(threshold: Any) -> None:
    """A score or None; else a :class:`ConfigError`."""
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold is not None and not (is_number and 0 <= threshold <= 1):
        raise ConfigError(f"none_threshold={threshold!r} must be a score between 0 and 1, or None.")


def check_card(card: Mapping[str, Any]) -> None:
    """A :class:`ConfigError` for a field that no card has, or a value that is no text or list of texts."""
    for name, value in card.items():
        if name not in (*CARD_HEADER, "text"):
            raise ConfigError(f'A model card has no field "{name}". {nearest(str(name), (*CARD_HEADER, "text"))}')
        texts = value if isinstance(value, list) and name != "text" else [value]
        if not all(isinstance(text, str) and text for text in texts):
            raise ConfigError(f'The field "{name}" of the model card is {value!r}. Use text, or a list of texts.')
