"""The architecture of a checkpoint, read from its tensors: nobody has to name a preset."""

import math
from collections.abc import Mapping
from pathlib import Path

from videoswin.errors import ConfigError, WeightsError
from videoswin.model.config import Grid, SwinConfig
from videoswin.weights.formats.base import Family
from videoswin.weights.formats.name_map import OUR_NAMES, TensorSlot

__all__ = ["read_architecture", "table_windows"]

Shapes = Mapping[str, tuple[int, ...]]

_MAX_BLOCKS = 200  # eight times Swin-L's; building thousands, even without memory, takes many seconds
_INCOMPLETE = "It is incomplete, or of another architecture; download it again"
_MAX_WINDOW = 64  # tokens along an axis; larger "windows" that fit a row count are arithmetic, not architectures


def read_architecture(
    path: Path, family: Family, ours: Shapes, index_sizes: Mapping[str, int], window_in_file: Grid | None = None
) -> SwinConfig:
    """The configuration that the tensors describe. Sizes of 2D files: one frame per window and per patch.

    Args:
        ours: shapes under our names.
        index_sizes: the number of entries of every index buffer in the file, by any name. A window of n tokens has n * n.
        window_in_file: the window, where the caller knows it.

    Raises:
        WeightsError: the tensors describe no Swin transformer, or more than one window fits.
    """
    slots = {slot: shape for name, shape in ours.items() if (slot := OUR_NAMES.split(name)) is not None}
    patch = _need(path, family, slots, TensorSlot("patch_proj.weight"), family.dims + 2)
    depths = _depths(path, slots)
    tables = [_need(path, family, slots, TensorSlot("table", stage, 0), 2) for stage in range(len(depths))]
    hidden = _need(path, family, slots, TensorSlot("fc1.weight"), 2)
    rows = max(table[0] for table in tables)
    window = _window(path, family, rows, max(index_sizes.values(), default=None), window_in_file)
    classes = slots.get(TensorSlot("head.weight"), (0,))
    remembered = slots.get(TensorSlot("memory.known"), (0,))[0]
    channels = patch[0] * 2 ** (len(depths) - 1)
    parts = classes[1] // channels if len(classes) == 2 and channels else 0
    try:
        return SwinConfig(
            embed_dim=patch[0],
            depths=depths,
            num_heads=tuple(table[1] for table in tables),
            window_size=window,
            patch_size=(1, patch[2], patch[3]) if family.dims == 2 else (patch[2], patch[3], patch[4]),
            in_channels=patch[1],
            mlp_ratio=hidden[0] / patch[0],
            patch_norm=TensorSlot("patch_norm.weight") in slots,
            num_classes=classes[0],
            head_parts=parts if remembered or parts > 1 else 0,
            head_memory=remembered,
            relative_bias=family.relative_bias,
        )
    except (ConfigError, ZeroDivisionError, IndexError) as error:
        raise WeightsError(path, f"its tensors describe no Swin transformer ({error})", _INCOMPLETE) from error


def table_windows(rows: int, dims: int) -> list[Grid]:
    """All windows (P, M, M) whose bias table has this many rows: (2P-1)(2M-1)(2M-1).

    Windows of one pixel are left out: a Swin transformer with them would not look around. Images: P is 1.
    """
    found = []
    for m in range(2, _MAX_WINDOW + 1):
        frames, rest = divmod(rows, (2 * m - 1) ** 2)
        if rest == 0 and frames % 2 == 1 and frames < 2 * _MAX_WINDOW and (dims == 3 or frames == 1):
            found.append(((frames + 1) // 2, m, m))
    return found


def _window(path: Path, family: Family, rows: int, index_size: int | None, given: Grid | None) -> Grid:
    if given is not None:
        need = math.prod(2 * n - 1 for n in given)
        if need != rows:
            reason = f"a window of {_by(given)} has a bias table of {need} rows, and its tables have {rows}"
            raise WeightsError(path, reason, _advice(table_windows(rows, family.dims)))
        return given
    fits = table_windows(rows, family.dims)
    if len(fits) > 1 and index_size is not None:
        fits = [window for window in fits if math.prod(window) ** 2 == index_size] or fits
    if not fits:
        raise WeightsError(path, f"no window has a relative position bias table of {rows} rows", _INCOMPLETE)
    if len(fits) > 1:
        windows = " and ".join(_by(window) for window in fits)
        raise WeightsError(path, f"the windows {windows} all fit its bias tables of {rows} rows", _advice(fits))
    return fits[0]


def _advice(fits: list[Grid]) -> str:
    return f"Say which it is: window_in_file={fits[0]}" if fits else _INCOMPLETE


def _depths(path: Path, slots: Mapping[TensorSlot, tuple[int, ...]]) -> tuple[int, ...]:
    """Blocks of each stage. A gap is no question here: it will show as missing tensors."""
    blocks = [(slot.stage, slot.block) for slot in slots if slot.part == "table"]
    stages = 1 + max((stage for stage, _ in blocks), default=-1)
    depths = tuple(1 + max((b for s, b in blocks if s == stage), default=-1) for stage in range(stages))
    if not depths or 0 in depths or sum(depths) > len(blocks):
        raise WeightsError(path, f"it has {len(blocks)} bias tables for {max(sum(depths), 1)} blocks", _INCOMPLETE)
    if sum(depths) > _MAX_BLOCKS:
        raise WeightsError(path, f"it has {sum(depths):,} blocks, more than any Swin transformer", _INCOMPLETE)
    return depths


def _need(
    path: Path, family: Family, slots: Mapping[TensorSlot, tuple[int, ...]], slot: TensorSlot, ndim: int
) -> tuple[int, ...]:
    shape, name = slots.get(slot), family.theirs(OUR_NAMES.join(slot))
    if shape is None:
        raise WeightsError(path, f'the tensor "{name}" is missing', _INCOMPLETE)
    if len(shape) != ndim:
        raise WeightsError(path, f'the tensor "{name}" has {len(shape)} axes, not {ndim}', _INCOMPLETE)
    return shape


def _by(window: Grid) -> str:
    return "x".join(map(str, window))
