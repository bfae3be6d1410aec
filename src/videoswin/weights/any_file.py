"""A file of weights of any system: a Swin transformer's, or one of the zoo's."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from videoswin.errors import ConfigError, WeightsError
from videoswin.interface.model_config import ModelConfig
from videoswin.interface.video_model import VideoModel
from videoswin.model import SwinConfig
from videoswin.model.config import Padding, RelativeBias
from videoswin.weights.assemble import empty_model, shapes_of
from videoswin.weights.checkpoint import Checkpoint, build, inspect_checkpoint, load_checkpoint, read_checkpoint
from videoswin.weights.containers.read import Contents, read_container
from videoswin.weights.formats import is_swin_v2
from videoswin.weights.load_report import LoadReport
from videoswin.weights.unwrapping import find_models, without_wrappers
from videoswin.weights.zoo_checkpoint import ZooCheckpoint, build_zoo, read_zoo
from videoswin.zoo.registry import get_config

__all__ = ["inspect_file", "load_file"]


def load_file(
    path: str | Path,
    num_classes: int | None = None,
    *,
    like: str | None = None,
    settings: Mapping[str, Any] | None = None,
    relative_bias: RelativeBias | None = None,
    padding: Padding | None = None,
    container: str | None = None,
) -> tuple[VideoModel, LoadReport]:
    """A public file of any system, as a model in evaluation mode, in float32, on the CPU.

    Args:
        path: the file.
        num_classes: outputs of the head. None: the file's own. Another number: the head starts anew. 0: no head.
        like: the name of a model that answers what the tensors do not tell, "timesformer_b_divided"; for the zoo.
        settings: the same, field by field: ``{"num_heads": 12}``; for the zoo.
        relative_bias, padding: see :func:`~videoswin.weights.checkpoint.load_checkpoint`; for Swin transformers.
        container: the table of the file that holds the weights.

    Raises:
        WeightsError: the file cannot be read or recognised, or is not whole.
        ConfigError: a setting is unknown or wrong, or the tensors leave something open and nothing tells it.
    """
    contents, checkpoint = _read(Path(path), like, settings or {}, container)
    if checkpoint is None and like is not None:
        frames = _on_frames(Path(path), like, contents)
        target = frames.config if num_classes is None else frames.config.replace(num_classes=num_classes)
        frames.require_complete(head=target.num_classes == frames.config.num_classes)
        return build(frames, target, ())
    if checkpoint is None:
        return load_checkpoint(
            path, num_classes, relative_bias=relative_bias, padding=padding, container=container, contents=contents
        )
    for option, value in {"relative_bias": relative_bias, "padding": padding}.items():
        if value is not None:
            raise ConfigError(
                f"{option} is for Swin transformers, and {path} is {checkpoint.family.title}. Leave it out."
            )
    return build_zoo(checkpoint, num_classes)


def inspect_file(
    path: str | Path,
    *,
    like: str | None = None,
    settings: Mapping[str, Any] | None = None,
    container: str | None = None,
    own_config: ModelConfig | None = None,
) -> LoadReport:
    """What a file is and whether it is whole; no model is built, and missing tensors are reported, not refused.

    Args:
        own_config: of the weights of a checkpoint folder, what its config.json says.

    Raises:
        WeightsError: the file cannot be read or recognised.
        ConfigError: as :func:`load_file`.
    """
    if own_config is not None and (like is not None or settings):
        option = "like" if like is not None else next(iter(settings or {}))
        raise ConfigError(f"{option} is for files of weights; a checkpoint folder has its own. Leave it out.")
    if isinstance(own_config, SwinConfig):
        return inspect_checkpoint(path, own_config=own_config, container=container)
    if own_config is not None:
        return _own(Path(path), own_config)
    contents, checkpoint = _read(Path(path), like, settings or {}, container)
    if checkpoint is None and like is not None:
        return _on_frames(Path(path), like, contents).report
    return checkpoint.report if checkpoint else inspect_checkpoint(path, container=container, contents=contents)


def _own(path: Path, config: ModelConfig) -> LoadReport:
    """Of a checkpoint folder of another system: its names are the model's."""
    expected = shapes_of(empty_model(config))
    found = {name: tuple(tensor.shape) for name, tensor in read_container(path).tensors.items()}
    return LoadReport(
        path=path,
        family="ours",
        title="videoswin",
        config=config,
        loaded=tuple(name for name in expected if found.get(name) == expected[name]),
        missing=tuple(name for name in expected if name not in found),
        wrong_shape=tuple(
            f"{name} is {list(found[name])}, not {list(shape)}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ),
        unexpected=tuple(name for name in found if name not in expected),
    )


def _read(
    path: Path, like: str | None, settings: Mapping[str, Any], container: str | None
) -> tuple[Contents | None, ZooCheckpoint | None]:
    """The tensors of a file, and what they are, if they are the zoo's."""
    if path.is_dir():
        raise WeightsError(path, "this is a folder, not a file of weights", "Load it by videoswin.load(FOLDER)")
    contents = read_container(path, container)
    bare = without_wrappers(list(contents.tensors))
    shapes = {bare[name]: tuple(tensor.shape) for name, tensor in contents.tensors.items()}
    if is_swin_v2(shapes) or find_models(shapes):
        if settings:
            option = next(iter(settings))
            raise ConfigError(f"{path} is a Swin transformer, whose tensors tell everything. Leave {option} out.")
        return contents, None
    return contents, read_zoo(path, contents, like, settings)


def _head_beside_backbone(contents: Contents) -> Contents:
    """MMAction2's TSN keeps a model of timm below ``backbone.`` and the head beside it, which timm has inside."""
    head = "cls_head.fc_cls."
    if not any(name.startswith(head) for name in contents.tensors):
        return contents
    newer = any(name.startswith("backbone.layers.3.downsample.") for name in contents.tensors)
    inside = "backbone.head.fc." if newer else "backbone.head."
    named = {
        inside + name.removeprefix(head) if name.startswith(head) else name: tensor
        for name, tensor in contents.tensors.items()
    }
    return replace(contents, tensors=named)


def _on_frames(path: Path, like: str, contents: Contents | None) -> Checkpoint:
    """A Swin transformer for images, its features averaged over the frames: ``like="swin2d_t"``."""
    model = get_config(like)
    checkpoint = read_checkpoint(path, contents=_head_beside_backbone(contents) if contents else None)
    if not (isinstance(model, SwinConfig) and model.patch_size[0] == 1 and checkpoint.family.dims == 2):
        raise ConfigError(
            f'{path} is {checkpoint.family.title}, whose tensors tell everything. Leave like="{like}" out.'
        )
    config = checkpoint.config.replace(
        patch_size=(1, *checkpoint.config.patch_size[1:]), window_size=(1, *checkpoint.config.window_size[1:])
    )
    tensors = dict(checkpoint.tensors)
    patch = "backbone.patch_embed.proj.weight"
    if patch in tensors:
        tensors[patch] = tensors[patch].unsqueeze(2)
    report = replace(checkpoint.report, config=config, says=("an image network, averaged over the frames",))
    return replace(checkpoint, tensors=tensors, config=config, report=report)
