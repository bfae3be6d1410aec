"""Our weights as a file that another code base loads."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from videoswin.errors import ConfigError, nearest
from videoswin.model import VideoSwin
from videoswin.storage.atomic import replace_file
from videoswin.weights.formats import FAMILIES, Family
from videoswin.weights.safetensors import require_finite, write_tensors

__all__ = ["TARGETS", "convert_model", "export_tensors"]

TARGETS = {"official": "official", "mmaction2": "mmaction2", "torchvision": "torchvision_3d", "ours": "ours"}
"""Names for people, and the families they mean."""


def export_tensors(model: VideoSwin, to: str) -> dict[str, Tensor]:
    """The model's tensors under another family's names ("official", "mmaction2", "torchvision", "ours"), with the index
    buffers that its code loads strictly.

    Raises:
        ConfigError: an unknown family, or one that cannot hold a taught head.
    """
    family = _family(to)
    if model.config.head_parts and family.name != "ours":
        raise ConfigError(
            f"{family.title} has no head that reads the parts of a clip in their order, as this taught one does."
        )
    return family.from_canonical(model.state_dict(), model.config.window_size)


def convert_model(model: VideoSwin, path: str | Path, to: str) -> None:
    """Write the model's weights as a file of another family, atomically.

    A path that ends in ``.safetensors`` gives such a file with the family's names; any other a ``.pth`` in the family's
    own container (``state_dict`` for the official code and MMAction2, a bare dict for torchvision).

    Raises:
        ConfigError: an unknown family, or a ``.pth`` asked for ours: we write no pickles of our own.
        WeightsError: a weight is NaN or infinite.
    """
    family, path = _family(to), Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in export_tensors(model, to).items()}
    if path.suffix == ".safetensors":
        write_tensors(path, tensors)
        return
    if family.name == "ours":
        raise ConfigError(
            f'Our weights are .safetensors files; "{path.name}" is none. Name it {path.stem}.safetensors.'
        )
    require_finite(path, tensors)
    with replace_file(path) as new:
        torch.save(_contained(family, tensors), new)


def _family(to: str) -> Family:
    if to not in TARGETS:
        raise ConfigError(f'There is no format "{to}". {nearest(to, TARGETS)}')
    return FAMILIES[TARGETS[to]]


def _contained(family: Family, tensors: Mapping[str, Tensor]) -> dict[str, object]:
    if family.container is None:
        return dict(tensors)
    return {"meta": {"converted_by": "videoswin"}, family.container: dict(tensors)}
