"""How a family's tensors become those of a system of the zoo, and back: pairs of names, with fields, and what is done to the
numbers on the way.

    Rule("backbone.layer{i}.{j}.conv1.bn.{end}", "layer{i}.{j}.conv1.bn.{end}")
    Rule("s{i+1}.pathway0_res{j}.branch2.a.weight", "layer{i}.{j}.conv1.conv.weight")

A field is a number, with a little arithmetic; ``{end}`` is what a norm or a linear layer has; ``{name:b0|b3}`` is one of a few
words. A rule may join several of their tensors to one of ours, such as queries, keys and values.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from videoswin.zoo.base import ZooConfig

__all__ = [
    "AS_CONV",
    "CONV2D",
    "QKV",
    "SAME",
    "TABLE",
    "VECTOR",
    "Change",
    "Rule",
    "Shapes",
    "ZooFamily",
    "configured",
    "depth",
    "need_shape",
    "occurs",
    "renamed",
]

Shapes = Mapping[str, tuple[int, ...]]
_Config = TypeVar("_Config", bound=ZooConfig)

_FIELD = re.compile(r"\{(\w+)([+-]\d+)?(?::([^}]*))?\}")
_ENDS = "weight|bias|running_mean|running_var|num_batches_tracked"


@dataclass(frozen=True)
class Change:
    """What is done to the numbers: from a file's tensors to ours, and back to as many."""

    to_ours: Callable[[list[Tensor]], Tensor]
    to_theirs: Callable[[Tensor], list[Tensor]]


SAME = Change(lambda t: t[0], lambda t: [t])
QKV = Change(torch.cat, lambda t: [part.contiguous() for part in t.chunk(3)])
"""Queries, keys and values apart in the file, one layer here."""
CONV2D = Change(lambda t: t[0].unsqueeze(2), lambda t: [t.squeeze(2)])
"""A 2D convolution in the file, one of a single frame here."""
AS_CONV = Change(lambda t: t[0].flatten(1), lambda t: [t[:, :, None, None, None]])
"""A 1x1x1 convolution in the file, a linear layer here."""
VECTOR = Change(lambda t: t[0][None, None], lambda t: [t.flatten()])
"""A token (C,) in the file, (1, 1, C) here."""
TABLE = Change(lambda t: t[0][None], lambda t: [t.squeeze(0)])
"""A table (N, C) in the file, (1, N, C) here."""


@dataclass(frozen=True)
class Rule:
    """Names of tensors, theirs and ours."""

    theirs: str | tuple[str, ...]
    ours: str
    change: Change = SAME

    @cached_property
    def parts(self) -> tuple["_Template", ...]:
        """Their names: more than one where the file keeps apart what we have as one."""
        names = (self.theirs,) if isinstance(self.theirs, str) else self.theirs
        return tuple(_Template(name, self._words) for name in names)

    @cached_property
    def our_name(self) -> "_Template":
        return _Template(self.ours, self._words)

    @property
    def _words(self) -> tuple[tuple[str, str], ...]:
        """The fields that are words, written out on either side."""
        names = (self.ours, self.theirs) if isinstance(self.theirs, str) else (self.ours, *self.theirs)
        return tuple((m[1], m[3]) for name in names for m in _FIELD.finditer(name) if m[3])


@dataclass(frozen=True)
class ZooFamily:
    """One public layout of one system's checkpoints."""

    name: str
    title: str
    rules: tuple[Rule, ...]
    requires: tuple[str, ...]
    """Patterns of names, all of which a file of this family has."""
    read: Callable[[Shapes, Mapping[str, Any]], ZooConfig]
    """The configuration that the shapes describe; what they cannot tell stands in the given settings."""
    forbids: tuple[str, ...] = ()
    axes: tuple[str, int] | None = None
    """A tensor that tells families of the same names apart, and how many axes it has."""
    harmless: tuple[str, ...] = ()
    """Patterns of names that are not learned, or stored twice."""
    asks: tuple[str, ...] = ()
    """Settings that the tensors cannot tell; "context.mode" is the mode of a non-local block."""
    asks_of: Callable[[Any], tuple[str, ...]] | None = None
    """The same for one configuration, where some files leave nothing open."""
    in_the_open: bool = False
    """Its names are told from other families' only if nothing stands before them."""
    says: tuple[str, ...] = field(default=())
    """Behaviours that the family, not a tensor, decides; lines for the load report."""

    def claims(self, shapes: Shapes) -> bool:
        """Whether these tensors are a file of this family."""
        if self.axes is not None and len(shapes.get(self.axes[0], ())) != self.axes[1]:
            return False
        return all(occurs(p, shapes) for p in self.requires) and not any(occurs(p, shapes) for p in self.forbids)

    def to_ours(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str], list[str]]:
        """(our tensors, names that are not learned, names that the family does not know)."""
        ours: dict[str, Tensor] = {}
        used: set[str] = set()
        for name in tensors:
            if name in used:
                continue
            for rule in self.rules:
                values = next((v for part in rule.parts if (v := part.match(name)) is not None), None)
                if values is None:
                    continue
                used.add(name)  # and stands alone, if another part is missing
                names = [part.fill(values) for part in rule.parts]
                if all(n in tensors for n in names):
                    ours[rule.our_name.fill(values)] = rule.change.to_ours([tensors[n] for n in names])
                    used.update(names)
                break
        rest = [name for name in tensors if name not in used]
        dropped = [name for name in rest if any(re.fullmatch(p, name) for p in self.harmless)]
        return ours, dropped, [name for name in rest if name not in dropped]

    def theirs(self, name: str) -> str:
        """One of our names in the family's words; of what it keeps apart, the first."""
        return self.all_theirs(name)[0]

    def all_theirs(self, name: str) -> tuple[str, ...]:
        """One of our names in the family's words: more than one of what it keeps apart."""
        for rule in self.rules:
            values = rule.our_name.match(name)
            if values is not None:
                return tuple(part.fill(values) for part in rule.parts)
        return (name,)

    def half_a_head(self, shapes: Shapes) -> str | None:
        """The weight of a head of which a file has the bias alone: without it, the number of classes is not known."""
        for head in ("head.fc", "head_dist.fc"):
            weight, bias = (self.theirs(f"{head}.{end}") for end in ("weight", "bias"))
            if bias in shapes and weight not in shapes:
                return weight
        return None

    def knows(self, name: str) -> bool:
        """Whether a rule has a place for a file's tensor of this name."""
        return any(part.match(name) is not None for rule in self.rules for part in rule.parts)

    def to_theirs(self, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of :meth:`to_ours`, without what is not learned."""
        theirs: dict[str, Tensor] = {}
        for name, tensor in ours.items():
            for rule in self.rules:
                values = rule.our_name.match(name)
                if values is not None:
                    names = [part.fill(values) for part in rule.parts]
                    theirs.update(zip(names, rule.change.to_theirs(tensor), strict=True))
                    break
            else:
                raise KeyError(name)  # our own model has no such tensor: a mistake in the package, not in a file
        return theirs


def configured(kind: type[_Config], given: Mapping[str, Any], **read: Any) -> _Config:
    """A configuration of what was read from the shapes; what is given comes before it."""
    kind.require_fields(given)
    return kind(**read | dict(given))


def depth(shapes: Shapes, template: str) -> int:
    """How many numbers in a row, from 0, fill the one field of a template: blocks of a stage, layers.

    One tensor of a block is enough, so that a block without the template's own is a block that lacks it.
    """
    before, _, after = template.partition("{i}")
    block = re.compile(rf"{re.escape(before)}(\d{{1,4}}){re.escape(after[:1])}")
    found = {int(match[1]) for name in shapes if (match := block.match(name))}
    return next(count for count in range(len(found) + 1) if count not in found)


def renamed(rules: tuple[Rule, ...], shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Shapes under our names: of tensors that the file keeps apart, the first one's."""
    renamed = {}
    for name, shape in shapes.items():
        for rule in rules:
            values = rule.parts[0].match(name)
            if values is not None:
                renamed[rule.our_name.fill(values)] = tuple(shape)
                break
    return renamed


def need_shape(shapes: Shapes, name: str) -> tuple[int, ...]:
    """The shape of a tensor that a file must have, or a KeyError with its name."""
    if name not in shapes:
        raise KeyError(name)
    return tuple(shapes[name])


def occurs(pattern: str, names: Mapping[str, object]) -> bool:
    """Whether one of the names is of this pattern, whole."""
    return any(re.fullmatch(pattern, name) for name in names)


@dataclass(frozen=True)
class _Template:
    text: str
    words: tuple[tuple[str, str], ...] = ()

    @cached_property
    def regex(self) -> re.Pattern[str]:
        pieces, end, seen = [], 0, set()
        for match in _FIELD.finditer(self.text):
            name = match[1]
            pattern = dict(self.words).get(name) or (_ENDS if name == "end" else r"0|[1-9]\d{0,3}")
            pieces += [re.escape(self.text[end : match.start()])]
            pieces += [f"(?P={name})" if name in seen else f"(?P<{name}>{pattern})"]
            seen.add(name)
            end = match.end()
        return re.compile("".join([*pieces, re.escape(self.text[end:])]))

    def match(self, name: str) -> dict[str, str] | None:
        """The values of the fields, or None."""
        found = self.regex.fullmatch(name)
        if found is None:
            return None
        values = dict(found.groupdict())
        for match in _FIELD.finditer(self.text):
            if match[2]:
                number = int(found[match[1]]) - int(match[2])
                if number < 0:
                    return None
                values[match[1]] = str(number)
        return values

    def fill(self, values: Mapping[str, str]) -> str:
        return _FIELD.sub(lambda m: str(int(values[m[1]]) + int(m[2])) if m[2] else values[m[1]], self.text)
