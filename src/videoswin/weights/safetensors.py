"""Safetensors files, read with suspicion.

Such a file is 8 bytes of header length, a JSON header and the raw numbers: nothing in it is executed. The header is parsed
here and not by the library, which maps files into memory and says of a wrong one that it is wrong: here every refusal names
the tensor and says what to do, and nothing in a header can be larger than what it describes. Numbers have to be finite.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from videoswin.errors import WeightsError
from videoswin.storage.atomic import replace_file
from videoswin.weights.containers.stored import MAX_AXES, read_into_memory
from videoswin.weights.containers.unreadable import Unreadable

__all__ = [
    "TensorInfo",
    "own_float32",
    "read_header",
    "read_tensors",
    "require_finite",
    "require_floats",
    "require_regular_file",
    "write_tensors",
]
_MAX_HEADER_BYTES = 8 * 2**20  # the format's own cap, 100 MB, is half a minute and 2 GB of JSON
_MAX_ENTRIES = 60_000  # tensors; each is two lists and a table, ten times as large in memory as in the file
_MAX_NAME = 1000
_MAX_DIGITS = 19  # of 2**63
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_DAMAGED = "Copy or download it again"


@dataclass(frozen=True)
class TensorInfo:
    """What a header says about one tensor. ``start``, ``stop``: bytes, counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a ``.safetensors`` file, on the CPU, in their own dtypes.

    Raises:
        WeightsError: the file is missing, damaged, dishonest about its size, no safetensors, or holds NaN or infinity.
    """
    path = Path(path)
    header, start = _read_header(path)
    tensors: dict[str, Tensor] = {}
    try:
        with path.open("rb", buffering=0) as file:
            for name, info in sorted(header.items(), key=lambda item: item[1].start):
                file.seek(start + info.start)
                raw = read_into_memory(file, info.stop - info.start)
                tensors[name] = raw.view(_DTYPES[info.dtype]).view(info.shape)
    except Unreadable as error:
        raise WeightsError(path, error.reason, error.hint) from error
    except OSError as error:
        raise _no_access(path, error) from error
    require_finite(path, tensors)
    return tensors


def read_header(path: str | Path) -> dict[str, TensorInfo]:
    """Names, dtypes and shapes of the tensors of a ``.safetensors`` file; their numbers are not read.

    Raises:
        WeightsError: as :func:`read_tensors`, but for the finite check.
    """
    return _read_header(Path(path))[0]


def _read_header(path: Path) -> tuple[dict[str, TensorInfo], int]:
    """The header, and the place of the first number in the file."""
    require_regular_file(path)
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            _require_plausible_length(path, length, size)
            raw = file.read(length)
    except OSError as error:
        raise _no_access(path, error) from error
    header = _parse_header(path, raw)
    tensors = {name: _tensor_info(path, name, entry) for name, entry in header.items() if name != "__metadata__"}
    _require_gapless(path, tensors, size - 8 - length)
    return tensors, 8 + length


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a ``.safetensors`` file atomically.

    Raises:
        WeightsError: a tensor holds NaN or infinity: nothing is written that :func:`read_tensors` would refuse.
        OutputError: the disk is full, or the file cannot be written there.
    """
    require_finite(path, tensors)
    with replace_file(path) as new:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, new)


def _no_access(path: Path, error: OSError) -> WeightsError:
    return WeightsError(path, f"the file cannot be read ({error.strerror})", "Check its rights (ls -l)")


def require_regular_file(path: Path) -> None:
    """Refuse a path that is missing, a folder, a pipe or a device, with a :class:`WeightsError`."""
    try:
        exists, is_folder, is_file = path.exists(), path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:  # too long a name, a NUL byte
        raise WeightsError(str(path), f"the path cannot be used ({error})", "Check the path") from error
    if not exists:
        raise WeightsError(path, "the file was not found", "Check the path")
    if is_folder:
        raise WeightsError(path, "this is a folder, not a file of weights", "Give the file inside it")
    if not is_file:
        raise WeightsError(path, "this is a pipe or a device, not a regular file", "Save the weights to a file first")


def _require_plausible_length(path: Path, length: int, size: int) -> None:
    if size < 8:
        raise WeightsError(path, f"the file has {size} bytes, too few for any weights", _DAMAGED)
    if length > _MAX_HEADER_BYTES or length > size - 8:
        reason = f"it announces a header of {length:,} bytes and holds {size:,} bytes in all"
        raise WeightsError(path, f"{reason}: it is cut off, or no safetensors file", _DAMAGED)


def _parse_header(path: Path, raw: bytes) -> dict[str, Any]:
    if raw.count(b"[") + raw.count(b"{") > 3 * _MAX_ENTRIES or raw.count(b":") > 4 * _MAX_ENTRIES:
        raise WeightsError(path, "the header has more parts than any list of tensors", _DAMAGED)
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_int=_small_integer)
    except (ValueError, RecursionError) as error:
        raise WeightsError(path, f"the header is no valid JSON ({error}): no safetensors file", _DAMAGED) from error
    if not isinstance(header, dict):
        raise WeightsError(path, "the header is no table of tensors: no safetensors file", _DAMAGED)
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f'"{twice}" occurs twice')
    return table


def _small_integer(digits: str) -> int:
    """Sizes that fit no machine would be multiplied, and printed, for minutes."""
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"it holds a number of {len(digits):,} digits")
    return int(digits)


def _tensor_info(path: Path, name: str, entry: Any) -> TensorInfo:
    if len(name) > _MAX_NAME:
        raise WeightsError(path, f"the header has a name of {len(name):,} letters", _DAMAGED)
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(stop)]} if len(entry) == 3:
            pass
        case _:
            raise WeightsError(path, f'the header entry of tensor "{name}" is malformed', _DAMAGED)
    if dtype not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise WeightsError(
            path, f'tensor "{name}" has the type {dtype}, which is not read', f"Save it as one of {known}"
        )
    if len(shape) > MAX_AXES:
        raise WeightsError(path, f'tensor "{name}" has {len(shape):,} axes, more than any layer', _DAMAGED)
    if any(type(n) is not int or n < 0 for n in shape):
        raise WeightsError(path, f'tensor "{name}" has the shape {shape}, which is no list of sizes', _DAMAGED)
    need = math.prod(shape) * _DTYPES[dtype].itemsize
    if not 0 <= start <= stop or stop - start != need:
        reason = (
            f'tensor "{name}" of shape {shape} and type {dtype} needs {need:,} bytes, its place has {stop - start:,}'
        )
        raise WeightsError(path, reason, _DAMAGED)
    if math.prod(max(n, 1) for n in shape) >= 2**62:  # empty, and yet too large for PyTorch to count
        raise WeightsError(path, f'tensor "{name}" has a shape that fits no memory', _DAMAGED)
    return TensorInfo(dtype, tuple(shape), start, stop)


def _require_gapless(path: Path, tensors: Mapping[str, TensorInfo], data_bytes: int) -> None:
    """Tensors lie end to end and fill the file: no overlap, no hole to hide things in, nothing missing or left over."""
    placed = sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop))
    if placed and placed[0][1].start > 0:
        raise WeightsError(path, f'there are unused bytes before tensor "{placed[0][0]}"', _DAMAGED)
    for (name, info), (next_name, next_info) in pairwise(placed):
        if next_info.start < info.stop:
            raise WeightsError(path, f'tensors "{name}" and "{next_name}" overlap', _DAMAGED)
        if next_info.start > info.stop:
            raise WeightsError(path, f'there are unused bytes between tensors "{name}" and "{next_name}"', _DAMAGED)
    end = placed[-1][1].stop if placed else 0
    if end > data_bytes:
        raise WeightsError(
            path, f"the file is cut off: {end - data_bytes:,} bytes of its tensors are missing", _DAMAGED
        )
    if end < data_bytes:
        raise WeightsError(path, f"{data_bytes - end:,} bytes follow the last tensor and belong to none", _DAMAGED)


def require_finite(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a tensor with NaN or infinity, by name, with a :class:`WeightsError`."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            hint = "These weights come from a run that diverged; use an earlier checkpoint"
            raise WeightsError(path, f'tensor "{name}" holds NaN or infinity', hint)


def require_floats(
    path: str | Path, tensors: Mapping[str, Tensor], hint: str = "Give a complete checkpoint of a Swin transformer"
) -> None:
    """Refuse a tensor of whole numbers, by name, with a :class:`WeightsError`: all weights are fractions."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise WeightsError(path, f'tensor "{name}" holds {tensor.dtype}, not floating-point numbers', hint)


def own_float32(tensor: Tensor) -> Tensor:
    """The tensor itself where it is float32 already: what was read is nobody else's."""
    return tensor.to(torch.float32).contiguous()
