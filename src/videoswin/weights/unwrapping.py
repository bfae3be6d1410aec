"""The model among the tensors of a training: without its wrappers' names, and below whatever it was a part of.

``torch.compile``, DataParallel, FSDP and activation checkpointing put a word of their own into the names of what they wrap, in
any order and as often as they were used. Lightning and people's own code put the model below an attribute (``model.``,
``net.``, ``student.``), beside losses and counters. What identifies a model is one tensor that every file of its family
has: wherever such a tensor stands, the names before it are tried as a prefix.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from videoswin.weights.containers.names import AVERAGED
from videoswin.weights.formats import FAMILIES, Family, recognise

__all__ = ["COPIES", "FoundModel", "find_models", "without_wrappers"]

_WRAPPERS = {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
COPIES = {*AVERAGED, "teacher", "momentum_encoder"}
"""Attributes below which a training keeps a second model like the first."""
_MAX_PREFIXES = 10

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class FoundModel:
    """A model in a table of tensors."""

    family: Family
    prefix: str
    """What its names begin with, without the words of wrappers: "model.", or nothing."""

    def prefix_in_file(self, bare: Mapping[str, str]) -> str:
        """The same with them: "module._orig_mod.model.".

        Args:
            bare: what :func:`without_wrappers` made of the names in the file.
        """
        anchor = self.family.anchor
        name = next((name for name, text in bare.items() if text == self.prefix + anchor), "")
        return name.removesuffix(anchor) if name.endswith(anchor) else self.prefix


def without_wrappers(names: list[str]) -> dict[str, str]:
    """Every name, and what it would be without the words of wrappers. As they are, if two became one."""
    bare = {name: ".".join(part for part in name.split(".") if part not in _WRAPPERS) or name for name in names}
    return bare if len(set(bare.values())) == len(bare) else {name: name for name in names}


def find_models(shapes: Shapes) -> list[FoundModel]:
    """The models in a table, none of them part of another. Averaged copies are left out if that leaves one."""
    anchors = {family.anchor for family in FAMILIES.values()}
    prefixes = {
        name.removesuffix(anchor)
        for name in shapes
        for anchor in anchors
        if name.endswith(anchor) and name.removesuffix(anchor)[-1:] in ("", ".")
    }
    found: list[FoundModel] = []
    for prefix in sorted(prefixes, key=lambda text: (len(text), text))[:_MAX_PREFIXES]:
        if any(prefix.startswith(model.prefix) for model in found):
            continue
        below = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
        if family := recognise(below):
            found.append(FoundModel(family, prefix))
    originals = [model for model in found if not COPIES & set(model.prefix.split("."))]
    return originals if len(originals) == 1 else found
