"""What the tensors of a zoo's file do not tell, and who tells it: the caller, the model that it is like, the ``config.json`` of
the transformers library beside it, or the one published model that has these sizes. What was taken stands in the report."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from videoswin.errors import ConfigError, WeightsError
from videoswin.model import SwinConfig
from videoswin.weights.formats.zoo_rules import Shapes, ZooFamily
from videoswin.zoo.registry import CONFIGS, get_config

__all__ = ["Answered", "configuration"]

_NOT_IN_SHAPES = ("num_classes", "dropout", "drop_path", "head_dropout", "momentum", "eps", "second_head")
_NOT_BY_SIZE = ("pool2", "context.mode")
"""Published models of the same sizes differ in these: they are never guessed."""
_HUB = {
    "num_attention_heads": "num_heads", "num_frames": "clip_len", "image_size": "crop_size", "layer_norm_eps": "eps",
}  # fmt: skip
_MODES = ("embedded_gaussian", "dot_product")
_MAX_CONFIG_BYTES = 2**20


@dataclass(frozen=True)
class Answered:
    """A configuration, and where what the tensors do not tell comes from, in words."""

    config: Any
    says: tuple[str, ...]


def configuration(
    path: Path, family: ZooFamily, shapes: Shapes, like: str | None, settings: Mapping[str, Any]
) -> Answered:
    """The configuration of a file.

    Args:
        like: the name of a model that answers what the tensors do not tell.
        settings: fields of the configuration; they come first. ``mode`` is the mode of non-local blocks.

    Raises:
        WeightsError: a tensor is missing, or the shapes describe no model.
        ConfigError: a setting is unknown or wrong, ``like`` is another system, or something remains open.
    """
    given = dict(settings)
    mode = given.pop("mode", None) if "context.mode" in family.asks else None
    if mode is not None and mode not in _MODES:
        raise ConfigError(f"mode={mode!r} is unknown. Use {' or '.join(_MODES)}.")
    told = dict.fromkeys(given, "as given")
    if like is not None:
        model = get_config(like)
        if isinstance(model, SwinConfig):  # its heads and windows are of each stage: no answer to what is asked here
            raise _another_system(path, family, like)
        answers = {name: getattr(model, name) for name in family.asks if hasattr(model, name)}
        told |= {name: f"as {like}" for name in answers if name not in given}
        given = answers | given
        context = getattr(model, "context", None)
        mode = mode or (context.mode if context is not None else None)
    beside = _beside(path) if family.name.endswith("_transformers") else {}
    eps = beside.pop("eps", None)
    told |= {name: "by config.json beside it" for name in beside if name in family.asks and name not in given}
    given = {name: value for name, value in beside.items() if name in family.asks} | given
    config: Any
    try:
        config = _read(path, family, shapes, given)
    except ConfigError as error:
        if "has no field" in str(error.__cause__):
            raise
        if all(name in given for name in family.asks if name != "context.mode"):
            if any(name in str(error.__cause__) for name in given):
                raise
            reason = f"as a file of {family.title} its tensors are not whole ({str(error.__cause__).rstrip('.')})"
            raise WeightsError(path, reason, "Download it again") from error
        config = None
    asked = family.asks if config is None or family.asks_of is None else family.asks_of(config)
    open_ = [name for name in asked if name not in given and name not in _NOT_BY_SIZE]
    if open_ and (answers := _published(path, family, shapes, open_, given)):
        name, values = answers
        told |= dict.fromkeys(values, f"as {name}, which has these sizes")
        given = values | given
        config, open_ = _read(path, family, shapes, given), []
    elif open_:
        config = None
    open_ += [name for name in asked if name in _NOT_BY_SIZE and name != "context.mode" and name not in given]
    if "context.mode" in asked and "context" not in given and mode is None:
        open_.append("context.mode")
    if open_ or config is None:
        raise _question(path, family, shapes, open_ or list(asked), given)
    if "mode" in settings and getattr(config, "context", None) is None:
        raise ConfigError(f"{path}: mode={mode!r} is of non-local blocks, and the file has none. Leave it out.")
    if mode is not None and getattr(config, "context", None) is not None:
        config = config.replace(context=config.context.replace(mode=mode))
        told["mode"] = "as given" if "mode" in settings else f"as {like}"
    if like is not None and type(config) is not type(get_config(like)):
        raise _another_system(path, family, like)
    if eps is not None and "eps" not in settings and any(field.name == "eps" for field in fields(config)):
        config = config.replace(eps=eps)
        told["eps"] = "by config.json beside it"
    values = {name: mode if name == "mode" else getattr(config, name) for name in told}
    return Answered(config, tuple(f"{name} {values[name]}: {source}" for name, source in told.items()))


def _read(path: Path, family: ZooFamily, shapes: Shapes, given: Mapping[str, Any]) -> Any:
    try:
        if weight := family.half_a_head(shapes):
            raise WeightsError(path, f'as a file of {family.title} it lacks the tensor "{weight}"', "Download it again")
        return family.read(shapes, given)
    except ConfigError as error:
        raise ConfigError(f"{path}, as a file of {family.title}: {error}") from error
    except KeyError as error:
        reason = f'as a file of {family.title} it lacks the tensor "{family.theirs(str(error.args[0]))}"'
        raise WeightsError(path, reason, "Download it again, or give one of the plain architecture") from error
    except (LookupError, ArithmeticError, ValueError, TypeError, RuntimeError, StopIteration) as error:
        reason = f"as a file of {family.title} its tensors have shapes that no such model has"
        raise WeightsError(path, reason, "Download it again, or give one of the plain architecture") from error


def _published(
    path: Path, family: ZooFamily, shapes: Shapes, open_: list[str], given: Mapping[str, Any]
) -> tuple[str, dict[str, Any]] | None:
    """The published model of these sizes, and its answers; None if there is none, or more that answer differently."""
    found: dict[str, dict[str, Any]] = {}
    for name, model, config in _alike(path, family, shapes, open_, given):
        left_out = {*_NOT_IN_SHAPES, *([] if "clip_len" in open_ else ["clip_len", "crop_size"])}
        compared = [field.name for field in fields(config) if field.name not in left_out]
        if all(getattr(config, field) == getattr(model, field) for field in compared):
            found[name] = {field: getattr(model, field) for field in open_}
    answers = list(found.values())
    return next(iter(found.items())) if answers and all(values == answers[0] for values in answers) else None


def _alike(
    path: Path, family: ZooFamily, shapes: Shapes, open_: list[str], given: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Published models of the family's system: (name, its configuration, the file's as this model would answer)."""
    for name, model in CONFIGS.items():
        if "micro" in name or not all(hasattr(model, field) for field in open_):
            continue
        try:
            config = _read(path, family, shapes, {field: getattr(model, field) for field in open_} | dict(given))
        except (ConfigError, WeightsError):
            continue
        if type(config) is type(model):
            yield name, model, config


def _question(path: Path, family: ZooFamily, shapes: Shapes, open_: list[str], given: Mapping[str, Any]) -> ConfigError:
    plain = [name for name in open_ if name != "context.mode"]
    found = [
        (sum(getattr(model, field.name) == getattr(config, field.name) for field in fields(model)), name)
        for name, model, config in _alike(path, family, shapes, plain, given)
        if "context.mode" not in open_ or getattr(model, "context", None) is not None
    ]
    names = [name for _, name in sorted(found, key=lambda one: -one[0])]
    wanted = [f"{name}=..." for name in plain]  # the likest comes first
    if "context.mode" in open_:
        wanted.append(" or ".join(f'mode="{mode}"' for mode in _MODES))
    example = f'like="{names[0]}", or ' if names else ""
    options = [f"--like {names[0]}"] if names else []
    options += ["--num-heads N"] if open_ == ["num_heads"] else []
    command = f"{' or '.join(options)}; in Python: " if options else "in Python: "
    what = ", ".join("the mode of its non-local blocks" if name == "context.mode" else name for name in open_)
    return ConfigError(
        f"{path} is a file of {family.title}, whose tensors do not tell {what}. "
        f"Say it: {command}load(FILE, {example}{', '.join(wanted)})."
    )


def _another_system(path: Path, family: ZooFamily, like: str) -> ConfigError:
    return ConfigError(f'{path}: like="{like}" is another system than the file, which is {family.title}. Leave it out.')


def _beside(path: Path) -> dict[str, Any]:
    """What the library's config.json beside the weights says; nothing if there is none that can be read."""
    file = path.with_name("config.json")
    try:
        if not file.is_file() or file.stat().st_size > _MAX_CONFIG_BYTES:
            return {}
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(data, dict) or "model_type" not in data:
        return {}
    return {ours: data[theirs] for theirs, ours in _HUB.items() if isinstance(data.get(theirs), int | float)}
