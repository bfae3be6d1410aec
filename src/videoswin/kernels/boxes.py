"""What the operator reads: the boxes of a token grid, as index tensors. Which boxes there are is the model's matter."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["BoxGroup", "PackedBoxes", "Partition"]


@dataclass(frozen=True)
class BoxGroup:
    """Boxes of one shape, which share one relative-position bias."""

    count: int
    """Number of boxes."""
    shape: tuple[int, int, int]
    bias_index: Tensor
    """(n, n) rows of the bias table, n the tokens of one box."""
    visible: Tensor | None = None
    """(n, n) booleans, whether row may look at column; None: every token sees the whole box."""

    @property
    def tokens_per_box(self) -> int:
        return self.bias_index.shape[0]

    @property
    def visible_index(self) -> Tensor:
        """``bias_index``, and -1 for pairs that do not see each other."""
        return self.bias_index if self.visible is None else self.bias_index.masked_fill(~self.visible, -1)


class PackedBoxes(NamedTuple):
    """A partition as the compiled engines read it, in int32 and int64."""

    order: Tensor
    """(M,) as :attr:`Partition.order`."""
    index: Tensor
    """The groups' ``bias_index``, flattened, one after the other; -1 for pairs that do not see each other."""
    groups: Tensor
    """(groups, 4): boxes, tokens of one, first place in ``order``, first place in ``index``; on the CPU."""
    boxes: Tensor
    """(boxes, 3): tokens, first place in ``order``, the group's first place in ``index``."""


@dataclass(frozen=True)
class Partition:
    """How the tokens of one grid are grouped into boxes, ready to gather, attend and scatter."""

    order: Tensor
    """(M,) token indices, box by box, group by group; the index N (one past the last token) means a padding token."""
    inverse: Tensor
    """(N,) where each token of the grid stands in ``order``."""
    groups: tuple[BoxGroup, ...]
    padded: bool
    """Whether ``order`` holds padding tokens."""

    @cached_property
    def packed(self) -> PackedBoxes:
        """The same in a few flat tensors."""
        sizes = [(g.count, g.tokens_per_box) for g in self.groups]
        slots = [0, *accumulate(count * n for count, n in sizes)]
        entries = [0, *accumulate(n * n for _, n in sizes)]
        with torch.inference_mode(False):
            rows = [
                (count, n, slot, entry) for (count, n), slot, entry in zip(sizes, slots[:-1], entries[:-1], strict=True)
            ]
            index = torch.cat([group.visible_index.flatten() for group in self.groups])
            boxes = [(n, slot + box * n, entry) for count, n, slot, entry in rows for box in range(count)]
            places = torch.tensor(boxes, dtype=torch.int32, device=self.order.device)
            return PackedBoxes(self.order.int(), index.int(), torch.tensor(rows), places)
