"""NameMap of tensors, ours and theirs, as pairs of templates that work in both directions.

A template is a name with the stage ``{i}`` and the block ``{j}`` left open, with a little arithmetic: torchvision's
``features.{2i+1}.{j}.attn.qkv`` is our ``backbone.layers.{i}.blocks.{j}.attn.qkv``. A family writes down eight
templates; the rest follows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

__all__ = ["BACKBONE", "BARE", "OUR_NAMES", "NameMap", "TensorSlot"]

_FIELD = re.compile(r"\{(\d*)([ij])([+-]\d+)?\}")
TABLE = "relative_position_bias_table"


@dataclass(frozen=True)
class NameMap:
    """How one family names the parts of a Swin transformer (modules, without ``.weight`` and ``.bias``)."""

    patch_proj: str
    patch_norm: str
    block: str
    merge: str
    """The merging between stage i and stage i + 1."""
    norm: str
    head: str
    norm1: str = "norm1"
    norm2: str = "norm2"
    qkv: str | tuple[str, str, str] = "attn.qkv"
    """One layer, or three layers apart: queries, keys and values."""
    proj: str = "attn.proj"
    table: str = f"attn.{TABLE}"
    fc1: str = "mlp.fc1"
    fc2: str = "mlp.fc2"
    memory: str = ""
    """Where a taught head keeps the clips that it remembers; "" where there is no such head."""

    @cached_property
    def templates(self) -> dict[str, str]:
        """Every tensor's template, by a name of its own that all families share."""
        modules = {"patch_proj": self.patch_proj, "patch_norm": self.patch_norm, "norm": self.norm, "head": self.head}
        inside = {part: getattr(self, part) for part in ("norm1", "norm2", "proj", "fc1", "fc2")}
        qkv = (self.qkv,) if isinstance(self.qkv, str) else self.qkv
        inside |= dict(zip(("qkv",) if len(qkv) == 1 else ("q", "k", "v"), qkv, strict=True))
        modules |= {part: f"{self.block}.{name}" for part, name in inside.items()}
        modules["merge_norm"] = f"{self.merge}.norm"
        tensors = {f"{part}.{end}": f"{name}.{end}" for part, name in modules.items() for end in ("weight", "bias")}
        if self.memory:
            tensors |= {f"memory.{name}": f"{self.memory}.{name}" for name in ("known", "centre", "scale", "near")}
        tensors["reduction.weight"] = f"{self.merge}.reduction.weight"
        tensors["table"] = f"{self.block}.{self.table}"
        return tensors

    @cached_property
    def patterns(self) -> list[tuple[str, "_Template"]]:
        return [(part, _Template(template)) for part, template in self.templates.items()]

    def split(self, name: str) -> "TensorSlot | None":
        """Which tensor of which stage and block a name means; None if it is none of this family's."""
        for part, template in self.patterns:
            if (slot := template.match(name)) is not None:
                return TensorSlot(part, *slot)
        return None

    def join(self, slot: "TensorSlot") -> str:
        """The inverse of :meth:`split`."""
        return _Template(self.templates[slot.part]).fill(slot.stage, slot.block)


@dataclass(frozen=True)
class TensorSlot:
    """One tensor of a Swin transformer. Stage and block are 0 where a part has none."""

    part: str
    stage: int = 0
    block: int = 0


OUR_NAMES = NameMap(
    patch_proj="backbone.patch_embed.proj",
    patch_norm="backbone.patch_embed.norm",
    block="backbone.layers.{i}.blocks.{j}",
    merge="backbone.layers.{i}.downsample",
    norm="backbone.norm",
    head="head.fc",
    memory="head",
)
"""Ours: the official code's names for the backbone."""

BACKBONE = ("patch_proj", "patch_norm", "block", "merge", "norm")
"""The fields of :class:`NameMap` that lie in the backbone, and share its prefix where a family has one."""

BARE = replace(
    OUR_NAMES,
    **{part: getattr(OUR_NAMES, part).removeprefix("backbone.") for part in BACKBONE},
    head="head",
    memory="",
)
"""The official code's backbone alone, and Microsoft's code for images, which it grew out of."""


@dataclass(frozen=True)
class _Template:
    text: str
    regex: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        pieces, end = [], 0
        for match in _FIELD.finditer(self.text):
            pieces += [re.escape(self.text[end : match.start()]), rf"(?P<{match[2]}>0|[1-9]\d{{0,3}})"]
            end = match.end()
        object.__setattr__(self, "regex", re.compile("".join([*pieces, re.escape(self.text[end:])])))

    def match(self, name: str) -> tuple[int, int] | None:
        found = self.regex.fullmatch(name)
        if found is None:
            return None
        values = {"i": 0, "j": 0}
        for factor, letter, offset in _FIELD.findall(self.text):
            values[letter], rest = divmod(int(found[letter]) - int(offset or 0), int(factor or 1))
            if rest or values[letter] < 0:
                return None
        return values["i"], values["j"]

    def fill(self, i: int, j: int) -> str:
        values: Mapping[str, int] = {"i": i, "j": j}
        return _FIELD.sub(lambda m: str(int(m[1] or 1) * values[m[2]] + int(m[3] or 0)), self.text)
