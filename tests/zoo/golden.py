"""The golden files of the zoo: weights in the public layouts, what the public codes answered, and the rule that fills a
published model without a file of weights (golden_data/README.md)."""

import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from videoswin.interface.video_model import VideoModel
from videoswin.weights.formats.zoo_rules import ZooFamily
from videoswin.zoo import build

__all__ = ["DATA", "as_theirs", "clip", "error", "filled", "golden", "loaded", "value"]

DATA = Path(__file__).parent / "golden_data"


def golden(name: str) -> dict[str, Tensor]:
    """The tensors of a golden file, out of the container of its family."""
    path = DATA / name
    if path.suffix == ".safetensors":
        return load_file(path)
    data: dict[str, Any] = torch.load(path, weights_only=True)
    return data.get("state_dict", data.get("model_state", data))


def noise(key: str, shape: Sequence[int]) -> np.ndarray:
    """Uniform in [-1, 1), exact on every platform: splitmix64 of the flat index, seeded by the name."""
    count = math.prod(shape)
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(zlib.crc32(key.encode())) * np.uint64(0xD1342543DE82EF95)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(40)).astype(np.float64) / 2**23 - 1.0).reshape(tuple(shape))


def value(key: str, shape: Sequence[int]) -> Tensor:
    """What the fill rule puts into the tensor of this name."""
    r = noise(key, shape)
    last = key.rsplit(".", 1)[-1]
    if last == "running_var":
        r = 1 + 0.5 * r
    elif last == "running_mean":
        r = 0.1 * r
    elif last == "weight" and len(shape) == 1:
        r = 1 + 0.2 * r
    elif len(shape) <= 1:
        r = 0.1 * r
    elif last == "weight" or last.endswith("_weight"):
        r = r * math.sqrt(6 / (r.size / shape[0]))
    else:
        r = 0.2 * r
    return torch.from_numpy(np.ascontiguousarray(r.astype(np.float32)))


def clip(shape: Sequence[int], key: str = "input") -> Tensor:
    """The input of every golden case."""
    return torch.from_numpy(noise(key, shape).astype(np.float32))


def error(ours: Tensor, expected: Tensor) -> float:
    """The largest difference, in standard deviations of what is expected."""
    assert ours.shape == expected.shape
    return float((ours.detach().double() - expected.double()).abs().max() / expected.double().std())


def loaded(family: ZooFamily, tensors: Mapping[str, Tensor], **given: Any) -> VideoModel:
    """The model of a file; every tensor of it is used or known as not learned, and goes back bit for bit."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    assert family.claims(shapes)
    model = build(family.read(shapes, given))
    ours, dropped, unexpected = family.to_ours(tensors)
    assert unexpected == []
    model.load_state_dict(ours, strict=True)
    back = family.to_theirs(ours)
    assert sorted([*back, *dropped]) == sorted(tensors)
    for name, tensor in back.items():
        assert torch.equal(tensor, tensors[name]), name
    return model.eval()


def as_theirs(family: ZooFamily, model: VideoModel) -> dict[str, Tensor]:
    """A published model's tensors under its family's names, by the fill rule."""
    with torch.device("meta"):
        names = family.to_theirs(build(model.config).state_dict())
    whole = {name for name, tensor in names.items() if not tensor.is_floating_point()}
    return {name: torch.tensor(0) if name in whole else value(name, t.shape) for name, t in names.items()}


def filled(family: ZooFamily, model: VideoModel, scale: Mapping[str, float] | None = None, **given: Any) -> VideoModel:
    """A published model, filled by its family's names; ``scale``: ends of names whose tensors are made smaller after it."""
    tensors = as_theirs(family, model)
    for name in tensors:
        for end, factor in (scale or {}).items():
            if name.endswith(end):
                tensors[name] = tensors[name] * factor
    return loaded(family, tensors, **given)
