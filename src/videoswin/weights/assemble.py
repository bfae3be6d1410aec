"""A model and the tensors that are to be its numbers: built without memory, compared, put in place."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from videoswin.errors import WeightsError
from videoswin.model import SwinConfig, VideoSwin
from videoswin.weights.load_report import first_few
from videoswin.weights.safetensors import own_float32, require_floats

__all__ = ["empty_model", "fill", "require_same_tensors", "shapes_of"]


def empty_model(config: SwinConfig) -> VideoSwin:
    """The model on the device "meta": shapes without numbers, which would be overwritten at once."""
    with torch.device("meta"):
        return VideoSwin(config)


def shapes_of(model: VideoSwin) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a model is saved as."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def fill(model: VideoSwin, tensors: Mapping[str, Tensor], path: Path) -> VideoSwin:
    """An :func:`empty_model` with these numbers, which become its own, in float32 and evaluation mode.

    Args:
        tensors: one for each name of ``model.state_dict()``, of its shape.
        path: where they come from, for the errors.

    Raises:
        WeightsError: a tensor holds whole numbers.
    """
    require_floats(path, tensors)
    model.load_state_dict({name: own_float32(tensor) for name, tensor in tensors.items()}, assign=True)
    return model.requires_grad_(True).eval()


def require_same_tensors(
    model: VideoSwin, found: Mapping[str, tuple[int, ...]], path: Path, what: str, hint: str
) -> None:
    """Refuse names and shapes that are not exactly the model's, with a :class:`WeightsError` that lists them.

    Args:
        found: of the tensors in ``path``.
        what: the model, in words.
    """
    expected = shapes_of(model)
    shapes = [
        f"{name} is {_shape(found[name])}, not {_shape(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    groups = [
        ("missing", [name for name in expected if name not in found]),
        ("not part of the model", [name for name in found if name not in expected]),
        ("of another shape", shapes),
    ]
    if differences := [f"{len(items)} {group}: {first_few(items)}" for group, items in groups if items]:
        raise WeightsError(path, f"the tensors do not fit {what} ({'; '.join(differences)})", hint)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
