"""Tensor files: read with suspicion, written whole or not at all.

Reading. A safetensors file is 8 bytes of header length, a JSON header and the raw numbers: nothing in it is executed.
Its header is checked here before a single number is read, since "the header is wrong" is no help to anybody: every
refusal names the tensor and says what to do. The safetensors library then checks once more. Numbers have to be finite.

Writing. Files and folders are made beside their place, flushed to the disk and then renamed into it, so that a reader
(or the next session after a power cut) finds the old version or the new one, never half of either.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from videoswin.errors import WeightsError

__all__ = [
    "TensorInfo",
    "own_float32",
    "read_header",
    "read_tensors",
    "replace_file",
    "replace_folder",
    "replace_together",
    "require_finite",
    "require_floats",
    "require_regular_file",
    "settled_folder",
    "write_tensors",
]

_MAX_HEADER_BYTES = 100_000_000  # the cap of the safetensors format itself
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
    header, start = _read_header(Path(path))
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt"), Path(path).open("rb") as file:  # the library's own check, once more
            for name, info in sorted(header.items(), key=lambda item: item[1].start):
                file.seek(start + info.start)
                tensors[name] = _read_tensor(file, info)
    except (SafetensorError, OSError, MemoryError) as error:
        raise WeightsError(path, f"the tensors cannot be read ({error})", _DAMAGED) from None
    require_finite(path, tensors)
    return tensors


def _read_tensor(file: BinaryIO, info: TensorInfo) -> Tensor:
    """Straight into memory of its own. A mapped file would count twice once it is copied, and while it is not, whoever
    writes to the file changes the model."""
    buffer = torch.empty(info.stop - info.start, dtype=torch.uint8)
    if buffer.numel() and file.readinto(memoryview(buffer.numpy())) != buffer.numel():  # type: ignore[attr-defined]
        raise OSError("the file became shorter while it was read")
    return buffer.view(_DTYPES[info.dtype]).view(info.shape)


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
        raise WeightsError(path, f"the file cannot be read ({error.strerror})", "Check its rights (ls -l)") from None
    header = _parse_header(path, raw)
    tensors = {name: _tensor_info(path, name, entry) for name, entry in header.items() if name != "__metadata__"}
    _require_gapless(path, tensors, size - 8 - length)
    return tensors, 8 + length


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a ``.safetensors`` file atomically.

    Raises:
        WeightsError: a tensor holds NaN or infinity: nothing is written that :func:`read_tensors` would refuse.
    """
    require_finite(path, tensors)
    with replace_file(path) as new:
        new.touch()  # the library would make a file that its owner alone can read, whatever the umask says
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, new)


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """A path to write to; when the ``with`` block ends well, the new file takes the place of ``path`` in one step.

    When it ends with an exception, ``path`` is as it was. The folder has to exist.
    """
    path = Path(path)
    new = path.with_name(f".{path.name}.new")
    try:
        yield new
        _flush_to_disk(new)
        os.replace(new, path)
        _flush_to_disk(path.parent)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: str | Path, marker: str) -> Iterator[Path]:
    """An empty folder to fill; when the ``with`` block ends well, it takes the place of the folder ``path``.

    No system renames a folder over a full one in one step. So the old one steps aside first, to ``.NAME.previous``, and
    goes when the new one is in place; :func:`settled_folder` finds it if the power fails just between the two.

    Args:
        marker: a file name that folders of this kind hold. A folder with other things in it is not replaced.

    Raises:
        WeightsError: ``path`` is a file, or a folder of something else.
    """
    path = Path(os.path.abspath(path))  # "." has no name to put a dot before
    _require_replaceable(path, marker)
    path.parent.mkdir(parents=True, exist_ok=True)
    new, previous = path.with_name(f".{path.name}.new"), _previous(path)
    shutil.rmtree(new, ignore_errors=True)  # what a killed process left
    new.mkdir()
    try:
        yield new
        for file in sorted(new.rglob("*")):
            _flush_to_disk(file)
        _flush_to_disk(new)
        _swap(new, path, previous)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextmanager
def replace_together(parent: str | Path, last: str) -> Iterator[Path]:
    """An empty folder to fill with files; when the ``with`` block ends well, they move into ``parent``, one by one, replacing
    older ones of their names; the file ``last``, which the others belong to, goes last. When it ends with an exception,
    ``parent`` is as it was.
    """
    parent = Path(os.path.abspath(parent))
    new = parent / f".{last}.new"
    shutil.rmtree(new, ignore_errors=True)  # what a killed process left
    new.mkdir()
    try:
        yield new
        files = sorted(new.iterdir(), key=lambda file: file.name == last)
        for file in files:
            _flush_to_disk(file)
        for file in files:
            os.replace(file, parent / file.name)
        _flush_to_disk(parent)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def settled_folder(path: str | Path) -> Path:
    """``path`` itself, or its previous version if a :func:`replace_folder` was cut off between its two steps."""
    path = Path(path)
    previous = _previous(path)
    return previous if os.path.isdir(previous) and not os.path.exists(path) else path


def _swap(new: Path, path: Path, previous: Path) -> None:
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.rename(path, previous)
    try:
        os.rename(new, path)
    except OSError:
        if previous.is_dir():
            os.rename(previous, path)
        raise
    _flush_to_disk(path.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _previous(path: Path) -> Path:
    absolute = Path(os.path.abspath(path))
    return absolute.with_name(f".{absolute.name}.previous")


def _require_replaceable(path: Path, marker: str) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise WeightsError(path, "this is a file or a link, and a checkpoint is a folder", "Give another folder")
    if path.is_dir() and not (path / marker).is_file() and any(path.iterdir()):
        raise WeightsError(path, f"the folder holds other things (no {marker}) and is left alone", "Give a new folder")


def _flush_to_disk(path: Path) -> None:
    """A rename is safe only after the contents are on the disk, and lasting only after the folder is."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_regular_file(path: Path) -> None:
    """Refuse a path that is missing, a folder, a pipe or a device, with a :class:`WeightsError`."""
    try:
        exists, is_folder, is_file = path.exists(), path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:  # too long a name, a NUL byte
        raise WeightsError(str(path), f"the path cannot be used ({error})", "Check the path") from None
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
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise WeightsError(path, f"the header is no valid JSON ({error}): no safetensors file", _DAMAGED) from None
    if not isinstance(header, dict):
        raise WeightsError(path, "the header is no table of tensors: no safetensors file", _DAMAGED)
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'"{twice}" occurs twice')
    return table


def _tensor_info(path: Path, name: str, entry: Any) -> TensorInfo:
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
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in shape):
        raise WeightsError(path, f'tensor "{name}" has the shape {shape}, which is no list of sizes', _DAMAGED)
    need = math.prod(shape) * _DTYPES[dtype].itemsize
    if not 0 <= start <= stop or stop - start != need:
        reason = (
            f'tensor "{name}" of shape {shape} and type {dtype} needs {need:,} bytes, its place has {stop - start:,}'
        )
        raise WeightsError(path, reason, _DAMAGED)
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


def require_floats(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a tensor of whole numbers, by name, with a :class:`WeightsError`: all weights of a Swin are fractions."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            hint = "Give a complete checkpoint of a Swin transformer"
            raise WeightsError(path, f'tensor "{name}" holds {tensor.dtype}, not floating-point numbers', hint)


def own_float32(tensor: Tensor) -> Tensor:
    """The tensor itself where it is float32 already: what was read is nobody else's."""
    return tensor.to(torch.float32).contiguous()
