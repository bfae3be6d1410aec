"""What the caller of a run wants otherwise than by default."""

from dataclasses import dataclass, replace
from typing import Any

from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, nearest
from videoswin.train.adapt import parse_adaptation
from videoswin.train.augments import AUGMENTS
from videoswin.train.recipes import get_recipe

__all__ = ["Preferences"]


@dataclass(frozen=True)
class Preferences:
    """What the caller wants otherwise than by default; None leaves it to the data, the recipe, the model or checkpoint."""

    clip_len: int | None = None
    sampling: str | None = None
    frame_interval: int | None = None
    fps: float | None = None
    size: int | None = None
    whole_frame: bool = False
    augment: str | None = None
    flip: bool | None = None
    """None: as the recipe has it."""
    drop_path: float | None = None
    val_share: float | None = None
    """None: with few clips a fifth is held out to measure, and the model that is kept learns from all."""
    folds: int = 0
    causal: bool = False
    channels: int | None = None
    """1: clips are grey; None: as the start has them."""
    recipe: str | None = None
    adapt: str = "full"
    name: str | None = None
    """Of the classifier; None: the name of the run's folder."""
    by_the_clips: bool = False
    """The way of looking was chosen by the clips themselves (:mod:`~videoswin.train.way_of_looking`)."""
    multi_label: bool = False
    """Cells such as ``smile|talk`` in the list are several labels."""

    def __post_init__(self) -> None:
        if self.augment is not None and self.augment not in AUGMENTS:
            raise ConfigError(f'augment="{self.augment}" is unknown. {nearest(self.augment, AUGMENTS)}')
        if self.val_share is not None and not 0 <= self.val_share <= 0.5:
            raise ConfigError(f"val_share={self.val_share} must be in [0, 0.5]; 0.2 is usual.")
        if self.folds and self.val_share is not None:
            raise ConfigError("folds hold every clip out once, so val_share has no say; leave one of them out.")
        if self.folds and self.folds < 2:
            raise ConfigError(f"folds={self.folds} must be at least 2; 5 is usual.")
        if self.flip and self.augment is not None and AUGMENTS[self.augment] is None:
            raise ConfigError('flip needs augmentation; choose another augment than "none".')
        if self.channels not in (None, 1, 3):
            raise ConfigError(f"channels={self.channels} must be 3 (colours) or 1 (grey); videos have no others.")
        if self.recipe is not None:
            get_recipe(self.recipe)
        parse_adaptation(self.adapt)

    def change(self, base: Preprocessing) -> Preprocessing:
        """``base`` with what is wanted otherwise."""
        names = ("clip_len", "sampling", "frame_interval", "fps")
        changes: dict[str, Any] = {n: getattr(self, n) for n in names if getattr(self, n) is not None}
        sampling = self.sampling or base.sampling
        if self.frame_interval is not None and sampling != "interval":
            raise ConfigError(
                f'frame_interval={self.frame_interval} has no say with sampling="{sampling}"; add sampling="interval", or '
                "leave it out."
            )
        if sampling != "time" and self.fps is None:
            changes["fps"] = None
        if self.size is not None:
            changes["size"] = (self.size, self.size)
            if base.short_side is not None:
                changes["short_side"] = self.size
        if self.whole_frame:
            changes["short_side"] = None
        return replace(base, **changes)
