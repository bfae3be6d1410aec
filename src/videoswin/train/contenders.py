"""What a comparison compares: architectures by name, changed in some fields, and checkpoints."""

import re
from dataclasses import dataclass, field, fields, replace
from typing import Any

from videoswin.classifier.resolve import Preset, resolve
from videoswin.errors import ConfigError
from videoswin.train.recipes import get_recipe
from videoswin.zoo.registry import CONFIGS, get_config

__all__ = ["Contender", "parse_contenders", "parse_recipes"]

_NAME = re.compile(r"[^A-Za-z0-9_.=-]+")
_LOOKS: dict[str, type] = {"size": int, "clip_len": int, "sampling": str, "fps": float, "frame_interval": int}
"""What a contender's clips may have for themselves: fields of Preferences."""
_LOOK = re.compile(rf":({'|'.join(_LOOKS)})=([^:]*)$")


@dataclass(frozen=True)
class Contender:
    """``text`` as the user wrote it; ``model`` with ``changes``, or else ``weights``; ``look``: what is otherwise for its clips."""

    text: str
    model: str | None = None
    weights: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    look: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Its name as that of a folder."""
        return _NAME.sub("_", self.text).strip("_.") or "model"


def parse_contenders(text: str) -> list[Contender]:
    """``swin3d_micro,r2plus1d_18:20:size=112,swin3d_micro:window_size=1x7x7,runs/mine/best``: names of architectures, each with
    its width (``width``, or ``embed_dim`` of a transformer) or fields of its configuration; or checkpoints. At the end of each may
    stand how its clips differ: ``size``, ``clip_len``, ``sampling``, ``fps``, ``frame_interval``.

    Raises:
        ConfigError: nothing has that name, a field is unknown or wrong, or one is named twice.
        WeightsError: a file is not there.
    """
    found = [_contender(part.strip()) for part in text.split(",") if part.strip()]
    if not found:
        raise ConfigError("models names nothing to compare. Write names with commas: swin3d_micro,r2plus1d_micro.")
    folders = [one.folder for one in found]
    if twice := [one.text for one in found if folders.count(one.folder) > 1]:
        raise ConfigError(f"models names {twice[0]} twice. Leave one out.")
    return found


def _contender(text: str) -> Contender:
    rest, look = text, {}
    while match := _LOOK.search(rest):
        rest, name = rest[: match.start()], match[1]
        if name in look:
            raise ConfigError(f'models: "{text}" gives {name} twice. Leave one out.')
        look[name] = _look(text, name, match[2])
    return replace(_start(rest), text=text, look=look)


def _look(text: str, name: str, value: str) -> Any:
    try:
        return _LOOKS[name](value)
    except ValueError:
        raise ConfigError(f'models: {name}={value} in "{text}" is no number. Write it as {name}=16.') from None


def _start(text: str) -> Contender:
    name, *changes = text.split(":")
    if name in CONFIGS:
        model = get_config(name)
        values = dict(_change(change, model) for change in changes)
        model.replace(**values)  # checked
        return Contender(text, model=name, changes=values)
    if isinstance(target := resolve(text), Preset):
        return Contender(text, model=target.name)
    return Contender(text, weights=text)


def _change(text: str, model: Any) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        known = {f.name for f in fields(model)}
        name, value = ("width" if "width" in known else "embed_dim"), text
    return name, _value(value)


def _value(text: str) -> Any:
    """3, 0.5, true, none, 8x7x7 as a list, or the text."""
    if text in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[text]
    if re.fullmatch(r"\d+(x\d+)+", text):
        return [int(part) for part in text.split("x")]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_recipes(text: str | None, contenders: list[Contender]) -> dict[str, str | None]:
    """The recipe of each contender, by its text; None is what suits its start.

    ``scratch`` for all; ``own`` for what each start asks for; or some by name, others their own:
    ``swin3d_micro=scratch,r2plus1d_18:20=finetune``.

    Raises:
        ConfigError: an unknown recipe, or one for a model that is not compared.
    """
    recipes: dict[str, str | None] = {one.text: None for one in contenders}
    if text is None or text == "own":
        return recipes
    if text not in recipes and not any(part.rpartition("=")[0] in recipes for part in text.split(",")):
        get_recipe(text)
        return dict.fromkeys(recipes, text)
    for part in text.split(","):
        name, _, recipe = part.rpartition("=")
        if name not in recipes:
            raise ConfigError(f'recipe names "{name or part}", which is not compared. Models: {", ".join(recipes)}.')
        get_recipe(recipe)
        recipes[name] = recipe
    return recipes
