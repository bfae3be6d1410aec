"""What was loaded, and what was not: always told, by name."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from videoswin.model.config import SwinConfig
from videoswin.weights.containers.names import AVERAGED
from videoswin.zoo.registry import config_to_dict

__all__ = ["LoadReport", "first_few"]

_MAX_LISTED = 5
_MAX_LETTERS = 120


@dataclass(frozen=True)
class LoadReport:
    """The account of one checkpoint. Names of tensors in the file are the file's; names of ours stand in ``loaded``,
    ``reshaped`` and ``fresh``."""

    path: Path
    family: str
    """"official", "mmaction2", "torchvision_3d", "ours", "microsoft", "timm", "torchvision_2d", "transformers" ..."""
    title: str
    config: Any
    """The system's own :class:`~videoswin.interface.model_config.ModelConfig`: of the model as loaded; of the file itself where none is built (``inspect``)."""
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
    not_built: tuple[str, ...] = ()
    """Classes and functions that the file's pickle names, ``argparse.Namespace``: read past, nothing was made or run."""
    container: str = ""
    """The table of the file that the tensors were taken from, "state_dict"; "" if they lie open in it."""
    other_containers: tuple[str, ...] = ()
    """Other tables of tensors in the file, averaged copies mostly: ``load_checkpoint(FILE, container=...)`` takes one."""
    prefix: str = ""
    """What the names in the file begin with before the family's own: "module.model."."""
    says: tuple[str, ...] = ()
    """Behaviours that no tensor tells: the family's own, and settings with where they come from."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return values | {"path": str(self.path), "config": config_to_dict(self.config)}

    def __str__(self) -> str:
        """One line for each thing that is worth a line."""
        lines = [
            f"{self.path}: {self.title}",
            f"  architecture  {_architecture(self.config)}",
            *(f"  {what:<13} {text}" for what, text in self._origin().items() if text),
            *(f"  behaviour     {text}" for text in self.says),
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
            "not built": self.not_built,
        }
        lines += [f"  {what:<13} {len(names)}: {first_few(names)}" for what, names in groups.items() if names]
        return "\n".join(lines)

    def _origin(self) -> dict[str, str]:
        """Where in the file the weights were, as far as that is not plain."""
        container = self.container
        if container.rpartition("/")[2] in AVERAGED:
            container += ", an average of the weights"
        if self.other_containers:
            if self.container == "state_dict" and "ema_state_dict" in self.other_containers:
                container += ", in files of MMEngine the average of ema_state_dict"
            container = (
                f"{container or 'none: the tensors lie open'}; also there: {first_few(self.other_containers)}"
                f' (taken with container="{self.other_containers[0]}")'
            )
        headless = not self.config.num_classes and not self.fresh
        head = "none: a backbone, from which a training starts with a fresh head" if headless else ""
        plain = not self.other_containers and self.container in ("", "state_dict", "model")
        return {"head": head, "container": "" if plain else container, "prefix": self.prefix}


def _architecture(c: Any) -> str:
    if not isinstance(c, SwinConfig):
        return ", ".join(
            f"{name} {_plain(value)}" for name, value in config_to_dict(c).items() if value not in (None, [])
        )
    return (
        f"embed dim {c.embed_dim}, depths {_dashed(c.depths)}, heads {_dashed(c.num_heads)}, "
        f"window {_by(c.window_size)}, patch {_by(c.patch_size)}{'' if c.patch_norm else ' without norm'}, "
        f"{c.num_classes or 'no'} classes"
    )


def _plain(value: Any) -> str:
    if isinstance(value, list):
        stages = any(isinstance(inner, list) for inner in value)
        return ("/" if stages else "-").join(_plain(inner) or "none" for inner in value)
    if isinstance(value, dict):
        return f"({', '.join(f'{name} {inner}' for name, inner in value.items() if inner is not None)})"
    return str(value)


def first_few(names: tuple[str, ...] | list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return (
        ", ".join(name if len(name) <= _MAX_LETTERS else f"{name[:_MAX_LETTERS]}..." for name in names[:_MAX_LISTED])
        + more
    )


def _dashed(numbers: tuple[int, ...]) -> str:
    return "-".join(map(str, numbers))


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
