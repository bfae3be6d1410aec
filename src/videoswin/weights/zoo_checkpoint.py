"""A public file of a system of the zoo, as a model: exactly, or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.errors import ConfigError, WeightsError
from videoswin.interface.model_config import ModelConfig
from videoswin.interface.video_model import VideoModel
from videoswin.weights.assemble import empty_model, fill, shapes_of
from videoswin.weights.containers.read import Contents
from videoswin.weights.formats.zoo import nearly, recognise_zoo, zoo_prefixes
from videoswin.weights.formats.zoo_rules import ZooFamily
from videoswin.weights.load_report import LoadReport, first_few
from videoswin.weights.safetensors import require_floats
from videoswin.weights.unwrapping import COPIES, without_wrappers
from videoswin.weights.zoo_settings import configuration
from videoswin.zoo.registry import build

__all__ = ["ZooCheckpoint", "build_zoo", "read_zoo"]

_AGAIN = "Download it again, or give one of the plain architecture"

_WHOLE = ("num_batches_tracked", "position_ids")
_UNCOUNTED = "batches were not counted, as in files of Caffe2 and of PyTorch before 0.4.1: counts start at 0, which changes nothing"


@dataclass(frozen=True)
class ZooCheckpoint:
    """A file, recognised: its tensors under our names, and what it says of itself."""

    family: ZooFamily
    tensors: dict[str, Tensor]
    report: LoadReport

    def require_complete(self, keep_head: bool) -> None:
        """A :class:`WeightsError` if a tensor is missing, has another shape, or has no place."""
        report = self.report
        missing = [name for name in report.missing if keep_head or not _of_head(self.family, name, report.config)]
        groups = (
            ("missing", missing),
            ("of another shape", report.wrong_shape),
            ("that the model has no place for", report.unexpected),
        )
        problems = [f"{len(found)} {what}: {first_few(list(found))}" for what, found in groups if found]
        if problems:
            reason = f"as a file of {self.family.title} its tensors do not fit: {'; '.join(problems)}"
            raise WeightsError(report.path, reason, _AGAIN)


def read_zoo(path: Path, contents: Contents, like: str | None, settings: Mapping[str, Any]) -> ZooCheckpoint | None:
    """What a file is, by its names and shapes; None: no family of the zoo claims it.

    Raises:
        WeightsError: it is nearly one; or its shapes describe no model.
        ConfigError: see :func:`~videoswin.weights.zoo_settings.configuration`.
    """
    bare = without_wrappers(list(contents.tensors))
    shapes = {bare[name]: tuple(tensor.shape) for name, tensor in contents.tensors.items()}
    found = _find(path, contents, shapes)
    if found is None:
        if almost := nearly(shapes):
            family, name = almost
            raise WeightsError(path, f'as a file of {family.title} it lacks the tensor "{name}"', _AGAIN)
        return None
    prefix, family = found
    inside = {
        bare[name].removeprefix(prefix): tensor
        for name, tensor in contents.tensors.items()
        if bare[name].startswith(prefix) and ("." in name or tensor.ndim)
    }
    beside = tuple(name for name in contents.tensors if bare[name].removeprefix(prefix) not in inside)
    answered = configuration(path, family, {name: tuple(t.shape) for name, t in inside.items()}, like, settings)
    try:
        model = empty_model(answered.config)
        expected = shapes_of(model)
        right = family.to_theirs({n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")})
        # In the file's own shapes: of joined tensors the one that differs, and what would be flattened on the way.
        odd = {n: right[n].shape for n, tensor in inside.items() if n in right and right[n].shape != tensor.shape}
        ours, dropped, unexpected = family.to_ours({n: tensor for n, tensor in inside.items() if n not in odd})
    except (RuntimeError, IndexError, OverflowError, ValueError) as error:  # of PyTorch, about sizes
        if settings and isinstance(error, ConfigError):
            raise
        reason = f"as a file of {family.title} its tensors describe a model that cannot be built ({error})"
        raise WeightsError(path, reason, _AGAIN) from error
    counts = [name for name in expected if name.endswith("num_batches_tracked")]
    uncounted = bool(counts) and not any(name in ours for name in counts)
    if uncounted:
        ours |= {name: torch.zeros((), dtype=torch.long) for name in counts}
    got = {name: tuple(tensor.shape) for name, tensor in ours.items()}
    weights = {n: t for n, t in inside.items() if n not in unexpected and not n.endswith(_WHOLE)}
    require_floats(path, weights, _AGAIN)
    report = LoadReport(
        path=path,
        family=family.name,
        title=family.title,
        config=answered.config,
        loaded=tuple(name for name in expected if got.get(name) == expected[name]),
        missing=tuple(n for name in expected if name not in got for n in family.all_theirs(name) if n not in inside),
        wrong_shape=(
            *(f"{name} is {list(inside[name].shape)}, not {list(shape)}" for name, shape in odd.items()),
            *(
                f"{family.theirs(name)} is {list(got[name])}, not {list(expected[name])}"
                for name in expected
                if name in got and got[name] != expected[name]
            ),
        ),
        unexpected=(*unexpected, *(family.theirs(name) for name in got if name not in expected)),
        dropped=tuple(dropped),
        ignored=contents.ignored + beside,
        not_built=contents.not_built,
        container=contents.container,
        other_containers=contents.others,
        prefix=prefix,
        says=family.says + answered.says + ((_UNCOUNTED,) if uncounted else ()),
    )
    return ZooCheckpoint(family, ours, report)


def build_zoo(checkpoint: ZooCheckpoint, num_classes: int | None) -> tuple[VideoModel, LoadReport]:
    """The model in evaluation mode, in float32, on the CPU; another number of classes starts the head anew.

    Raises:
        WeightsError: a tensor is missing, of another shape, of whole numbers, or has no place.
    """
    own = checkpoint.report.config
    config = own if num_classes is None else own.replace(num_classes=num_classes)
    checkpoint.require_complete(keep_head=config.num_classes == own.num_classes)
    model = empty_model(config)
    expected = shapes_of(model)
    old = shapes_of(empty_model(own))
    anew = [name for name, shape in expected.items() if old.get(name) != shape]
    fresh = {name: tensor for name, tensor in build(config).state_dict().items() if name in anew} if anew else {}
    kept = {name: checkpoint.tensors[name] for name in expected if name not in fresh}
    model = fill(model, kept | fresh, checkpoint.report.path)
    replaced = tuple(checkpoint.family.theirs(n) for n in checkpoint.tensors if n not in kept)
    report = replace(
        checkpoint.report,
        config=config,
        loaded=tuple(kept),
        fresh=tuple(fresh),
        missing=(),
        dropped=checkpoint.report.dropped + replaced,
    )
    return model, report


def _find(path: Path, contents: Contents, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ZooFamily] | None:
    found: list[tuple[str, ZooFamily]] = []
    for prefix in zoo_prefixes(shapes):
        if any(prefix.startswith(other) for other, _ in found):
            continue
        below = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
        family = recognise_zoo(below)
        if family and not (family.in_the_open and prefix):
            found.append((prefix, family))
    originals = [one for one in found if not COPIES & set(one[0].split("."))]
    if len(originals) == 1:
        return originals[0]
    if len(found) > 1:
        names = [prefix.rstrip(".") for prefix, _ in found]
        table = contents.container + "/" if contents.container else ""
        reason = f"it holds {len(found)} models, below {first_few(names)}"
        raise WeightsError(path, reason, f'Say which: container="{table}{names[0]}"')
    return found[0] if found else None


def _of_head(family: ZooFamily, name: str, config: ModelConfig) -> bool:
    """Whether a file's name is the head's: with no classes our model has no such tensor."""
    heads = set(shapes_of(empty_model(config))) - set(shapes_of(empty_model(config.replace(num_classes=0))))
    return name in {family.theirs(head) for head in heads}
