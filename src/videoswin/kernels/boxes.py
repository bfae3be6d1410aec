"""What the operator reads: the boxes of a token grid, as index tensors. Which boxes there are is the model's matter."""

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

__all__ = ["SERIAL_VALUES", "BoxGroup", "Partition"]

SERIAL_VALUES = 2**15 - 1
"""What PyTorch computes of this size it computes without starting threads, which takes far longer here than the work."""


@dataclass(frozen=True)
class BoxGroup:
    """Boxes of one shape, which share one relative-position bias. Index tensors are int32."""

    count: int
    """Number of boxes."""
    shape: tuple[int, int, int]
    tokens: Tensor
    """(count * n,) token indices, box by box; the index N (one past the last token) means a padding token."""
    bias_index: Tensor
    """(n, n) rows of the bias table, n the tokens of one box; -1 where row may not look at column."""
    causal: bool
    """Whether ``bias_index`` holds a -1."""

    @property
    def tokens_per_box(self) -> int:
        return self.bias_index.shape[0]


@dataclass(frozen=True)
class Partition:
    """How the tokens of one grid are grouped into boxes, ready to gather, attend and scatter. Index tensors are int32.

    The groups' tensors are views of ``order`` and ``index``.
    """

    order: Tensor
    """(M,) token indices, box by box, group by group; the index N (one past the last token) means a padding token."""
    inverse: Tensor
    """(N,) where each token of the grid stands in ``order``."""
    index: Tensor
    """The groups' ``bias_index``, flattened, one after the other."""
    groups: tuple[BoxGroup, ...]
    padded: bool
    """Whether ``order`` holds padding tokens."""
    sizes: Tensor
    """(groups, 4), int64, on the CPU: boxes, tokens of one, first place in ``order``, first place in ``index``."""
    places: Tensor
    """(boxes, 3): tokens, first place in ``order``, the group's first row."""
    shapes: Tensor
    """(groups, 5): tokens of a box, first place in ``index``, first row, boxes, first place in ``order``. Rows count the queries
    of one box of each group."""

    @classmethod
    def of(
        cls,
        order: Tensor,
        index: Tensor,
        shapes: list[tuple[int, tuple[int, int, int]]],
        num_tokens: int,
        causal: bool = False,
    ) -> "Partition":
        """From ``order``, ``index`` and each group's number of boxes and their shape."""
        counts = [(count, t * h * w) for count, (t, h, w) in shapes]
        slots = list(accumulate((count * n for count, n in counts), initial=0))
        entries = list(accumulate((n * n for _, n in counts), initial=0))
        rows = list(accumulate((n for _, n in counts), initial=0))
        whole = list(zip(counts, slots, entries, rows, strict=False))  # sums have one more: the end
        places = [(n, slot + box * n, row) for (count, n), slot, _, row in whole for box in range(count)]
        by_group = [(n, entry, row, count, slot) for (count, n), slot, entry, row in whole]
        sizes = torch.tensor(
            [(count, n, slot, entry) for (count, n), slot, entry, _ in whole], dtype=torch.int64, device="cpu"
        ).view(-1, 4)
        groups = tuple(
            BoxGroup(
                count=count,
                shape=shape,
                tokens=order[slot : slot + count * n],
                bias_index=index[entry : entry + n * n].view(n, n),
                causal=causal and shape[0] > 1,
            )
            for (_, shape), ((count, n), slot, entry, _) in zip(shapes, whole, strict=True)
        )
        return cls(
            order=order,
            inverse=inverse_of(order, num_tokens),
            index=index,
            groups=groups,
            padded=len(order) > num_tokens,
            sizes=sizes,
            places=torch.tensor(places, dtype=torch.int32, device="cpu").view(-1, 3).to(order.device),
            shapes=torch.tensor(by_group, dtype=torch.int32, device="cpu").view(-1, 5).to(order.device),
        )

    @property
    def nbytes(self) -> int:
        """Memory of the index tensors."""
        tensors = (self.order, self.inverse, self.index, self.sizes, self.places, self.shapes)
        return sum(t.numel() * t.element_size() for t in tensors)


def inverse_of(order: Tensor, num_tokens: int) -> Tensor:
    """(num_tokens,) where each token stands in ``order``, which may hold the index ``num_tokens`` any number of times."""
    inverse, start = order.new_empty(num_tokens + 1), 0
    for part in order.split(SERIAL_VALUES):
        places = torch.arange(start, start + len(part), dtype=order.dtype, device=order.device)
        inverse.scatter_(0, part.long(), places)
        start += len(part)
    return inverse[:num_tokens]
