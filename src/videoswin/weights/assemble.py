"""A model and the tensors that are to be its numbers: built without memory, compared, put in place."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from videoswin.errors import WeightsError
from videoswin.interface.model_config import ModelConfig
from videoswin.interface.ordered_head import OrderedHead
from videoswin.interface.video_model import VideoModel
from videoswin.model import SwinConfig, VideoSwin
from videoswin.weights.load_report import first_few
from videoswin.weights.safetensors import own_float32, require_floats
from videoswin.zoo.registry import build

__all__ = ["empty_model", "fill", "require_same_tensors", "shapes_of"]

_Model = TypeVar("_Model", bound=VideoModel)


Shapes = Mapping[str, tuple[int, ...]]


@overload
def empty_model(config: SwinConfig, found: Shapes | None = None) -> VideoSwin: ...
@overload
def empty_model(config: ModelConfig, found: Shapes | None = None) -> VideoModel: ...
def empty_model(config: ModelConfig, found: Shapes | None = None) -> VideoModel:
    """The model on the device "meta": shapes without numbers, which would be overwritten at once.

    ``found``: the shapes of the numbers that are to come, under our names; a head whose memory is of an earlier layout gets that.
    """
    with torch.device("meta"), _NothingDrawn():
        model = build(config)
        for name, head in model.named_modules():
            if isinstance(head, OrderedHead) and found is not None and f"{name}.known" in found:
                head.suit_memory(found[f"{name}.known"])
    return model


class _NothingDrawn(TorchFunctionMode):
    """Random numbers are not drawn. On "meta" there are none anyway, but for the normal distribution PyTorch imports its
    compiler there, which takes longer than loading a checkpoint."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__name__", "") == "normal_":  # of Tensor, or of nn.init
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def shapes_of(model: VideoModel) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a model is saved as."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def fill(model: _Model, tensors: Mapping[str, Tensor], path: Path) -> _Model:
    """An :func:`empty_model` with these numbers, which become its own, in float32 and evaluation mode.

    Batch norms' counts of batches stay whole numbers.

    Args:
        tensors: one for each name of ``model.state_dict()``, of its shape.
        path: where they come from, for the errors.

    Raises:
        WeightsError: a tensor holds whole numbers.
    """
    counts = {name for name, tensor in model.state_dict().items() if not tensor.is_floating_point()}
    require_floats(path, {name: tensor for name, tensor in tensors.items() if name not in counts})
    numbers = {name: tensor.long() if name in counts else own_float32(tensor) for name, tensor in tensors.items()}
    if _computes_tables(model):
        model = cast(_Model, build(model.config))
        model.load_state_dict(numbers)
    else:
        model.load_state_dict(numbers, assign=True)
    return model.requires_grad_(True).eval()


def _computes_tables(model: VideoModel) -> bool:
    """Whether a layer keeps numbers that it computes and no file holds, as the transformers library's sine positions: on
    "meta" they were lost."""
    saved = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    return any(
        tensor.is_meta and id(tensor) not in saved
        for module in model.modules()
        for tensor in (*module.buffers(recurse=False), *(v for v in vars(module).values() if isinstance(v, Tensor)))
    )


def require_same_tensors(
    model: VideoModel, found: Mapping[str, tuple[int, ...]], path: Path, what: str, hint: str
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
