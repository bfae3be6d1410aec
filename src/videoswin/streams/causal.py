"""A causal model fed as the video comes: one push per two frames, constant work, bounded memory, the offline answers.

In a causal model a token looks at its own box, and there back in time only. So nothing that came out earlier ever
changes, and all that a block has to remember is the keys and values of the boxes that are open now: at most P time steps.
On the axis of time a block with window P and shift s cuts at 0, s, s + P, s + 2P, ... Every step has a slot in its box,

    time   0 1 2 3 | 4 5 6 7 8 9 10 11 | 12 ...        window 8, shift 4: slot = (time - s) mod P
    slot   4 5 6 7 | 0 1 2 3 4 5  6  7 |  0 ...

and looks at the slots before it; in the short first box only from slot P - s on. The memory is one buffer of P slots,
written in place. What is left in it from the box before is never read, so nothing has to be cleared.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.errors import ConfigError
from videoswin.kernels import BoxGroup, Partition
from videoswin.kernels.linear import linear
from videoswin.model.attention import BoxAttention
from videoswin.model.backbone import Stage, SwinBackbone, block_shift
from videoswin.model.blocks import SwinBlock
from videoswin.model.config import Grid, SwinConfig, check_clip_size
from videoswin.model.video_swin import ClassificationHead, VideoSwin
from videoswin.model.windows import partition
from videoswin.streams.base import check_push, checked_rows, passed_over
from videoswin.streams.pool import Pool

__all__ = ["Stream"]


class Stream:
    """A causal model over live video, ``B`` streams at once.

    Every push of two sampled frames (``patch_size[0]``) a stream gives the answer that the whole video so far would give
    offline, from the work of those two frames alone.

    Args:
        model: a causal model; ``model.as_causal()`` makes one from any weights. It is read, never changed, and always
            runs as in evaluation. Its layers are called, with all that is attached to them; a stage, a block or an attention
            as a whole is not. Its weights must not change while the stream goes on: what it remembers is of the old ones.
        pool: how many of the latest time steps (of two frames each) are averaged before the head. "all": every step
            since the start, so that each push equals ``model(everything so far)``.

    Raises:
        ConfigError: the model is not causal, a module that is not called as a whole carries hooks or is wrapped, or ``pool``
            is no whole number above 0.

    >>> stream = Stream(model, pool=16)  # doctest: +SKIP
    >>> logits = stream.push(two_frames)  # (B, 3, 2, H, W) -> (B, num_classes)  # doctest: +SKIP
    """

    def __init__(self, model: VideoSwin, pool: int | str = 16) -> None:
        if not model.config.causal:
            raise ConfigError(
                "A Stream needs a causal model. Train one (videoswin train --causal), try model.as_causal(), "
                "or use SlidingStream, which takes any model."
            )
        _require_called(model)
        self.model = model
        self.pool = Pool(pool, model.config.num_features)
        self._blocks: list[list[_BlockMemory]] = []
        self._times: list[int] = []
        self._pixels = (0, 0)

    @property
    def frames_per_step(self) -> int:
        """Sampled frames of one time step, the depth of a patch (2 in all published models)."""
        return self.model.config.patch_size[0]

    @property
    def times(self) -> tuple[int, ...]:
        """Time steps that each stream of the batch has seen; empty before the first push."""
        return tuple(self._times)

    @property
    def state_bytes(self) -> int:
        """Memory of keys, values and pooled features; 0 before the first push, and constant after it."""
        return sum(t.numel() * t.element_size() for t in self._state().values()) if self._times else 0

    @torch.inference_mode()
    def push(self, clip: Tensor) -> Tensor:
        """The next frames, (B, 3, T, H, W) normalised, T a multiple of ``frames_per_step`` -> logits (B, num_classes)
        after the last of them (pooled features (B, 8C) if the model has no head).

        Several steps in one push give what one after the other would, somewhat faster.

        Raises:
            ConfigError: T is no multiple; sizes, device or number type are others than before or than the model's; the
                model's weights, or what is attached to it, have changed.
        """
        check_push(self.model, clip, self.frames_per_step, len(self._times), self._pixels)
        _require_called(self.model)
        if not self._times:
            self._allocate(clip.shape[0], (clip.shape[3], clip.shape[4]))
        elif any(memory.is_stale() for memories in self._blocks for memory in memories):
            raise ConfigError(
                "The model's weights have changed since this stream began, and what it remembers is of the old ones. "
                "Call reset() to start anew."
            )
        backbone = self.model.backbone
        x = backbone.patch_embed(clip)  # (B, K, H', W', C)
        plans = self._plans(x.shape[1])
        for stage, memories in zip(backbone.stages, self._blocks, strict=True):
            shape = x.shape
            x = x.flatten(2, 3)  # (B, K, H'W', C)
            for memory in memories:
                x = memory.forward(x, plans[memory.shift])
            x = stage.downsample(x.view(shape))
        features = backbone.norm(x).mean(dim=(2, 3))  # (B, K, 8C)
        pooled = self.pool.push(features, self._times)
        self._times = [time + x.shape[1] for time in self._times]
        head = self.model.head
        if head is not None and head.training:
            return head.fc(pooled)  # without its dropout
        return self.model.classify(pooled[:, :, None, None, None])

    def reset(self, rows: Iterable[int] | None = None) -> None:
        """Start anew: all streams, after which another batch or frame size may come, or only some rows of the batch.

        Rows that started at different times stand at different places of their boxes. Attention then runs once for each
        place, on a copy of its rows' keys and values; the rest of the work is shared as before.

        Raises:
            ConfigError: there is no such row.
        """
        if rows is None:
            self._times, self._blocks = [], []
            return
        for row in checked_rows(rows, len(self._times)):
            self._times[row] = 0

    def fork(self) -> Self:
        """A second stream that goes on from here on its own."""
        twin = type(self)(self.model, self.pool.size)
        twin.pool = self.pool.fork()
        twin._blocks = [[memory.fork() for memory in memories] for memories in self._blocks]
        twin._times, twin._pixels = list(self._times), self._pixels
        return twin

    def state_dict(self) -> dict[str, Tensor]:
        """Everything the stream remembers, copied, as tensors that safetensors can save.

        Raises:
            ConfigError: nothing was pushed yet.
        """
        if not self._times:
            raise ConfigError("The stream has no state yet; push frames first.")
        return {name: tensor.clone() for name, tensor in self._state().items()}

    def _state(self) -> dict[str, Tensor]:
        state = {"times": torch.tensor(self._times), "pixels": torch.tensor(self._pixels)}
        state |= {f"pool.{name}": tensor for name, tensor in self.pool.state_dict().items()}
        for i, memories in enumerate(self._blocks):
            for j, memory in enumerate(memories):
                state |= {f"layers.{i}.blocks.{j}.{name}": tensor for name, tensor in memory.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state, of a stream with the same model and pool. The tensors are copied.

        Raises:
            ConfigError: the state is of another model, another pool, or incomplete; the stream is left as it was.
        """
        fresh = type(self)(self.model, self.pool.size)
        times, pixels = (_counters(state, name) for name in ("times", "pixels"))
        check_clip_size(self.model.config, (self.frames_per_step, pixels[0], pixels[-1]))
        fresh._allocate(len(times), (pixels[0], pixels[-1]))
        fresh._times = times
        own = fresh._state()
        for name in sorted(own.keys() | state.keys()):
            if name not in own or name not in state or own[name].shape != state[name].shape:
                raise ConfigError(
                    f'The state does not fit this model and pool: "{name}" differs. Use those it was saved with.'
                )
        with torch.inference_mode():
            for name, tensor in own.items():
                tensor.copy_(state[name])
        self._times, self._pixels, self._blocks, self.pool = fresh._times, fresh._pixels, fresh._blocks, fresh.pool

    def _plans(self, steps: int) -> dict[int, list["_Places"]]:
        """For blocks of either shift, and for each new time step, where it falls."""
        slots = self.model.config.window_size[0]
        return {
            shift: [_places([time + k for time in self._times], slots, shift) for k in range(steps)]
            for shift in {0, slots // 2}
        }

    @torch.inference_mode()
    def _allocate(self, batch: int, pixels: tuple[int, int]) -> None:
        config, weight = self.model.config, self.model.backbone.norm.weight
        height, width = (-(-n // p) for n, p in zip(pixels, config.patch_size[1:], strict=True))
        self._blocks = []
        for stage in self.model.backbone.stages:
            memories = []
            for i, block in enumerate(stage.blocks):
                block = cast(SwinBlock, block)
                memories.append(_BlockMemory(block, config, (height, width), block_shift(config, i), batch, weight))
            self._blocks.append(memories)
            height, width = -(-height // 2), -(-width // 2)
        self.pool.allocate(batch, weight)
        self._times, self._pixels = [0] * batch, pixels


@dataclass(frozen=True)
class _Group:
    """Keys and values of the open boxes of one spatial shape. n tokens a box and time step."""

    keys_values: Tensor
    """(2, B, boxes, heads, P * n, C / heads)"""
    bias: tuple[Tensor, ...]
    """For each slot, its queries against all slots up to itself, or more: (1, heads, n, up to P * n)."""

    @classmethod
    def allocate(cls, attention: BoxAttention, step: BoxGroup, whole: BoxGroup, batch: int, like: Tensor) -> Self:
        slots, n, heads = attention.window_size[0], step.tokens_per_box, attention.num_heads
        kept = like.new_zeros((2, batch, step.count, heads, slots * n, attention.dim // heads))
        return cls(kept, _bias_by_slot(attention.relative_position_bias_table.detach(), whole, n, like.dtype))


class _BlockMemory:
    """One block, and what it remembers of each stream: the keys and values of its open boxes."""

    def __init__(
        self, block: SwinBlock, config: SwinConfig, plane: tuple[int, int], shift: Grid, batch: int, like: Tensor
    ) -> None:
        self.block = block
        self.shift = shift[0]
        self.table = block.attn.relative_position_bias_table.detach().clone()
        device = like.device
        # One time step decides which tokens share a box; the whole window says which bias each pair of slots reads.
        self.step = _spatial_partition(config, (1, *plane), shift, device)
        whole = _spatial_partition(config, (config.window_size[0], *plane), shift, device)
        pairs = zip(self.step.groups, whole.groups, strict=True)
        self.groups = [_Group.allocate(block.attn, step, full, batch, like) for step, full in pairs]
        self.sizes = [group.count * group.tokens_per_box for group in self.step.groups]

    def forward(self, x: Tensor, plan: "Sequence[_Places]") -> Tensor:
        """(B, K, H'W', C), K new time steps -> the same, through attention and MLP."""
        block = self.block
        branch = nn.Identity() if block.drop_path.training else block.drop_path
        x = x + branch(self._attention(block.norm1(x), plan))
        return x + branch(block.mlp(block.norm2(x)))

    def is_stale(self) -> bool:
        """Whether the bias table, which is read once, has changed: as in a step of training, and then so have the others."""
        return not self.table.equal(self.block.attn.relative_position_bias_table)

    def fork(self) -> "_BlockMemory":
        """The same block with a memory of its own; what is only read is shared."""
        twin = copy(self)
        twin.groups = [replace(group, keys_values=group.keys_values.clone()) for group in self.groups]
        return twin

    def state_dict(self) -> dict[str, Tensor]:
        return {f"keys_values.{i}": group.keys_values for i, group in enumerate(self.groups)}

    def _attention(self, x: Tensor, plan: "Sequence[_Places]") -> Tensor:
        attention = self.block.attn
        if self.step.padded:
            x = F.pad(x, (0, 0, 0, 1))  # the one zero token that every padding index reads
        qkv = linear(x.index_select(2, self.step.order), attention.qkv)  # (B, K, M, 3C)
        out = x.new_empty((*qkv.shape[:3], x.shape[-1]))
        for k, places in enumerate(plan):
            parts = zip(qkv[:, k].split(self.sizes, dim=1), out[:, k].split(self.sizes, dim=1), strict=True)
            for group, (new, mixed) in zip(self.groups, parts, strict=True):
                for (slot, first), rows in places.items():
                    _attend(group, new, mixed, slot, first, rows)
        return linear(out.index_select(2, self.step.inverse), attention.proj)


def _attend(group: _Group, qkv: Tensor, out: Tensor, slot: int, first: int, rows: "_Rows") -> None:
    """One time step of some rows: (B, boxes * n, 3C) -> ``out`` (B, boxes * n, C). Their keys and values go to ``slot``,
    and their queries see the slots from ``first`` to there."""
    _, batch, boxes, heads, _, width = group.keys_values.shape
    qkv = qkv.view(batch, boxes, -1, 3, heads, width).permute(3, 0, 1, 4, 2, 5)  # (3, B, boxes, heads, n, C / heads)
    n = qkv.shape[4]
    here, seen = slice(slot * n, (slot + 1) * n), slice(first * n, (slot + 1) * n)
    group.keys_values[:, rows, :, :, here] = qkv[1:, rows]
    keys, values = group.keys_values[:, rows, :, :, seen].flatten(1, 2)
    bias = group.bias[slot][..., seen]
    mixed = F.scaled_dot_product_attention(qkv[0, rows].flatten(0, 1), keys, values, attn_mask=bias)
    out.view(batch, boxes, n, heads, width)[rows] = mixed.unflatten(0, (-1, boxes)).transpose(2, 3)


def _require_called(model: VideoSwin) -> None:
    """Raises :class:`ConfigError` if something is attached to a module that a stream does not call as a whole."""
    if name := passed_over(_run_from_inside(model)):
        raise ConfigError(
            f'A Stream runs what is inside "{name}", which carries hooks, is wrapped, or computes something of its own: that '
            "would be passed over. Attach it to the layers inside, or use SlidingStream."
        )


def _run_from_inside(model: VideoSwin) -> Iterator[tuple[str, nn.Module, type[nn.Module]]]:
    yield "model", model, VideoSwin
    yield "backbone", model.backbone, SwinBackbone
    if model.head is not None and model.head.training:
        yield "head", model.head, ClassificationHead
    for i, stage in enumerate(model.backbone.stages):
        yield f"backbone.layers.{i}", stage, Stage
        for j, block in enumerate(stage.blocks):
            yield f"backbone.layers.{i}.blocks.{j}", block, SwinBlock
            yield f"backbone.layers.{i}.blocks.{j}.attn", cast(SwinBlock, block).attn, BoxAttention


def _spatial_partition(config: SwinConfig, grid: Grid, shift: Grid, device: torch.device) -> Partition:
    """The boxes of a grid that is no longer than one temporal window."""
    shift = (0, shift[1], shift[2])
    return partition(grid, config.window_size, shift, config.relative_bias, config.padding, device, causal=True)


def _bias_by_slot(table: Tensor, whole: BoxGroup, n: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """For each slot, (1, heads, n, slots * n). Where only true offsets count, all are views of the last slot's."""
    index = whole.bias_index.view(-1, n, whole.tokens_per_box)  # (slots, n, slots * n)
    slots = len(index)

    def rows(slot: int) -> Tensor:
        picked = table.index_select(0, index[slot].flatten().clamp(min=0)).to(dtype)  # what lies ahead is not read
        return picked.view(1, n, slots * n, -1).permute(0, 3, 1, 2).contiguous()

    last = rows(slots - 1)
    moved = [(slots - 1 - slot) * n for slot in range(slots)]
    if all(index[slot, :, : (slot + 1) * n].equal(index[-1, :, moved[slot] :]) for slot in range(slots)):
        return tuple(last[..., moved[slot] :] for slot in range(slots))
    return tuple(rows(slot) for slot in range(slots))


def _counters(state: Mapping[str, Tensor], name: str) -> list[int]:
    """The whole numbers of a saved state, or a :class:`ConfigError`."""
    numbers = state.get(name)
    if (
        numbers is None
        or numbers.ndim != 1
        or numbers.dtype != torch.long
        or not len(numbers)
        or int(numbers.min()) < 0
    ):
        raise ConfigError(f'This is no state of a stream: "{name}" holds no counters. Give what state_dict() gave.')
    return numbers.tolist()


_Rows = slice | list[int]
_Places = dict[tuple[int, int], _Rows]
"""Rows of the batch by where a time step falls in their open boxes: (its slot, the first slot of the box)."""


def _places(times: Sequence[int], slots: int, shift: int) -> _Places:
    places: dict[tuple[int, int], list[int]] = {}
    for row, time in enumerate(times):
        place = (time - shift) % slots, slots - shift if time < shift else 0
        places.setdefault(place, []).append(row)
    if len(places) == 1:  # the usual case, and the fast one: a slice is a view
        return dict.fromkeys(places, slice(None))
    return dict(places)
