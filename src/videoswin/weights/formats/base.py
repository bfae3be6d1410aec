"""What a family of checkpoints is: names, dimensions, and the two directions between its tensors and ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from videoswin.model.config import Grid, RelativeBias
from videoswin.model.windows import bias_index
from videoswin.weights.formats.name_map import OUR_NAMES, NameMap, TensorSlot

__all__ = ["Family", "Translation", "index_buffer"]

_BUFFER = re.compile(r"(.*\.)?(relative_position_index|attn_mask)")


@dataclass(frozen=True)
class Translation:
    """A file's tensors under our names. NameMap in ``dropped`` and ``unexpected`` are the file's."""

    tensors: dict[str, Tensor]
    dropped: tuple[str, ...]
    """Buffers that are computed, not learned: index tables, masks."""
    unexpected: tuple[str, ...]
    """NameMap that the family does not know."""


@dataclass(frozen=True)
class Family:
    """One layout of checkpoints; ``dims`` is 3 for videos, 2 for images."""

    name: str
    title: str
    dims: Literal[2, 3]
    names: NameMap
    requires: tuple[str, ...]
    """NameMap that a file of this family has, beside the patch embedding."""
    forbids: tuple[str, ...] = ()
    """NameMap that it has not."""
    relative_bias: RelativeBias = "official"
    """How its own code reads the bias table in a window that is clipped in space (SwinConfig.relative_bias)."""
    index: Literal["none", "square", "flat"] = "none"
    """The index buffer that its code saves with every block, and wants back."""
    container: str | None = None
    """The key of the file under which its code looks for the weights."""
    harmless: tuple[str, ...] = field(default=())
    """Patterns of names inside the backbone that change nothing in classification."""

    @property
    def anchor(self) -> str:
        """The tensor that every file of this family has, and by whose name it is found."""
        return f"{self.names.patch_proj}.weight"

    def in_backbone(self, name: str) -> bool:
        """Whether an unknown name lies where the backbone's tensors are: then the file is of another architecture."""
        roots = {
            template.partition(".")[0]
            for part, template in self.names.templates.items()
            if part.partition(".")[0] not in ("head", "memory")
        }
        return name.partition(".")[0] in roots | {"absolute_pos_embed"}

    def claims(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Whether tensors with these names and shapes are a file of this family."""
        patch = shapes.get(self.anchor, ())
        return (
            len(patch) == self.dims + 2
            and all(_occurs(pattern, shapes) for pattern in self.requires)
            and not any(_occurs(pattern, shapes) for pattern in self.forbids)
        )

    def to_canonical(self, tensors: Mapping[str, Tensor]) -> Translation:
        """The file's tensors under our names, numbers untouched (queries, keys and values put together)."""
        found: dict[TensorSlot, Tensor] = {}
        dropped, unexpected = [], []
        for name, tensor in tensors.items():
            slot = self.names.split(name)
            if slot is not None:
                found[slot] = tensor
            elif _BUFFER.fullmatch(name) or any(re.fullmatch(pattern, name) for pattern in self.harmless):
                dropped.append(name)
            else:
                unexpected.append(name)
        ours = {OUR_NAMES.join(slot): tensor for slot, tensor in _joined(found).items() if slot.part not in _APART}
        return Translation(ours, tuple(dropped), tuple(unexpected))

    def from_canonical(self, tensors: Mapping[str, Tensor], window_size: Grid) -> dict[str, Tensor]:
        """Our tensors under the family's names, with the index buffers that its own code expects."""
        slots = {_slot_of(name): tensor for name, tensor in tensors.items()}
        if not isinstance(self.names.qkv, str):
            slots = _apart(slots)
        theirs = {self.names.join(slot): tensor for slot, tensor in slots.items()}
        if self.index != "none":
            buffer = index_buffer(window_size)
            buffer = buffer.flatten() if self.index == "flat" else buffer
            tables = [name for name in theirs if name.endswith("relative_position_bias_table")]
            theirs |= {name.replace("bias_table", "index"): buffer.clone() for name in tables}
        return theirs

    def theirs(self, name: str) -> str:
        """One of our names in the family's words; of q, k and v, the first."""
        slot = _slot_of(name)
        if slot.part.startswith("qkv.") and not isinstance(self.names.qkv, str):
            slot = TensorSlot("q." + slot.part.removeprefix("qkv."), slot.stage, slot.block)
        return self.names.join(slot)


_APART = tuple(f"{part}.{end}" for part in "qkv" for end in ("weight", "bias"))


def index_buffer(window_size: Grid) -> Tensor:
    """(N, N) rows of the bias table for all pairs of a window's N tokens, time slowest, as the public codes save it."""
    return bias_index(window_size, window_size)


def _occurs(pattern: str, names: Mapping[str, object]) -> bool:
    return any(re.fullmatch(pattern, name) for name in names)


def _slot_of(name: str) -> TensorSlot:
    slot = OUR_NAMES.split(name)
    if slot is None:
        raise KeyError(name)  # our own model has no such tensor: a mistake in the package, not in a file
    return slot


def _joined(slots: dict[TensorSlot, Tensor]) -> dict[TensorSlot, Tensor]:
    """Queries, keys and values that stand apart, put together; an incomplete three stays apart, and is missing later."""
    whole = dict(slots)
    for slot in slots:
        if slot.part.startswith("q."):
            end = slot.part.removeprefix("q.")
            three = [slots.get(TensorSlot(f"{part}.{end}", slot.stage, slot.block)) for part in "qkv"]
            present = [tensor for tensor in three if tensor is not None]
            if len(present) == 3 and len({tensor.shape for tensor in present}) == 1:
                whole[TensorSlot(f"qkv.{end}", slot.stage, slot.block)] = torch.cat(present)
    return whole


def _apart(slots: dict[TensorSlot, Tensor]) -> dict[TensorSlot, Tensor]:
    """The inverse of :func:`_joined`."""
    apart: dict[TensorSlot, Tensor] = {}
    for slot, tensor in slots.items():
        if slot.part.startswith("qkv."):
            end = slot.part.removeprefix("qkv.")
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                apart[TensorSlot(f"{part}.{end}", slot.stage, slot.block)] = third.contiguous()
        else:
            apart[slot] = tensor
    return apart
