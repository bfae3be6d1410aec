"""The ``config.json`` of a checkpoint folder, as the transformers library holds one."""

from typing import Any

from transformers import PreTrainedConfig

from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError

__all__ = ["VideoSwinConfig"]


class VideoSwinConfig(PreTrainedConfig):
    """Fields of ours under their names; ``id2label`` and ``label2id`` mean the same in both libraries.

    ``model``: fields of :class:`~videoswin.model.config.SwinConfig`. ``preprocessing``: of
    :class:`~videoswin.data.preprocessing.Preprocessing`.
    """

    model_type = "videoswin"

    def __init__(
        self,
        model: dict[str, Any] | None = None,
        preprocessing: dict[str, Any] | None = None,
        name: str = "unnamed",
        none_threshold: float | None = None,
        metrics: dict[str, Any] | None = None,
        notes: str = "",
        card: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("format", None)
        kwargs.pop("version", None)
        if kwargs.get("answer", "one") != "one":
            raise ConfigError(
                f"{name} is multi-label, which videoswin.hf does not have yet. Load it with videoswin.load()."
            )
        super().__init__(**kwargs)
        self.model = dict(model or {})
        self.preprocessing = Preprocessing.from_dict(preprocessing or {}).to_dict()
        self.name = name
        self.none_threshold = none_threshold
        self.metrics = dict(metrics or {})
        self.notes = notes
        self.card = dict(card or {})
        self.num_frames = self.preprocessing["clip_len"]

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the outputs."""
        names = {int(number): str(label) for number, label in (self.id2label or {}).items()}
        return tuple(names[number] for number in sorted(names))
