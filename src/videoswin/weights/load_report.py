"""What was loaded, and what was not: always told, by name."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from videoswin.model.config import SwinConfig

__all__ = ["LoadReport", "some"]

_MAX_LISTED = 5


@dataclass(frozen=True)
class LoadReport:
    """The account of one checkpoint. Names of tensors in the file are the file's; names of ours stand in ``loaded``,
    ``reshaped`` and ``fresh``."""

    path: Path
    family: str
    """"official", "mmaction2", "torchvision_3d", "ours", "microsoft", "timm", "torchvision_2d", "transformers" ..."""
    title: str
    config: SwinConfig
    """Of the model as loaded; of the file itself where none is built (``inspect``)."""
    loaded: tuple[str, ...] = ()
    """Our tensors that carry the file's numbers."""
    missing: tuple[str, ...] = ()
    """What the file should have and has not."""
    wrong_shape: tuple[str, ...] = ()
    """What has another shape than its place, in words."""
    unexpected: tuple[str, ...] = ()
    """What this family does not know."""
    dropped: tuple[str, ...] = ()
    """Known and not needed: index buffers, masks, a head for other classes."""
    reshaped: tuple[str, ...] = ()
    """Our tensors whose numbers were computed from the file's: resampled bias tables, inflated patches."""
    fresh: tuple[str, ...] = ()
    """Our tensors that start anew: the head for another number of classes."""
    ignored: tuple[str, ...] = ()
    """Values of the file that are no tensors of the model: ``meta``, ``optimizer``."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return values | {"path": str(self.path), "config": self.config.to_dict()}

    def __str__(self) -> str:
        """One line for each thing that is worth a line."""
        c = self.config
        architecture = (
            f"embed dim {c.embed_dim}, depths {_dashed(c.depths)}, heads {_dashed(c.num_heads)}, "
            f"window {_by(c.window_size)}, patch {_by(c.patch_size)}{'' if c.patch_norm else ' without norm'}, "
            f"{c.num_classes or 'no'} classes"
        )
        lines = [
            f"{self.path}: {self.title}",
            f"  architecture  {architecture}",
            f"  loaded        {len(self.loaded)} tensors",
        ]
        groups = {
            "missing": self.missing,
            "wrong shape": self.wrong_shape,
            "unexpected": self.unexpected,
            "reshaped": self.reshaped,
            "fresh": self.fresh,
            "dropped": self.dropped,
            "ignored": self.ignored,
        }
        lines += [f"  {what:<13} {len(names)}: {some(names)}" for what, names in groups.items() if names]
        return "\n".join(lines)


def some(names: tuple[str, ...] | list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(names[:_MAX_LISTED]) + more


def _dashed(numbers: tuple[int, ...]) -> str:
    return "-".join(map(str, numbers))


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
