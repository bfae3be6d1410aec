"""Tensors as files describe them: a shape over bytes that stand somewhere in the file.

Descriptions are cheap and may lie, so they are checked before any memory is taken: a tensor needs no more bytes than its
storage has (stride 0 makes terabytes of one number), reaches no further than its storage does, and all tensors together
need no more than twice the file (two names may mean one tensor; ten thousand names for one are a bomb).
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import torch
from torch import Tensor

from videoswin.weights.containers.unreadable import DAMAGED, UNTRUSTED, Unreadable

__all__ = [
    "MAX_AXES",
    "EncodedBytes",
    "FileBytes",
    "HeldBytes",
    "Source",
    "StoredTensor",
    "read_into_memory",
    "read_stored",
]

MAX_AXES = 32
"""More than any layer has; PyTorch's own operators stop at 64."""
_MAX_SIZE = 2**62


class Source(Protocol):
    """Bytes that can be had when they are needed."""

    @property
    def nbytes(self) -> int: ...

    def read(self, file: BinaryIO) -> Tensor:
        """All of them, (nbytes,) uint8, in memory that nothing else uses."""
        ...


@dataclass(eq=False)
class FileBytes:
    """Bytes of the file itself. ``start`` may become known later than the rest."""

    nbytes: int
    start: int

    def read(self, file: BinaryIO) -> Tensor:
        file.seek(self.start)
        return read_into_memory(file, self.nbytes)


@dataclass(frozen=True, eq=False)
class HeldBytes:
    """A few bytes that were read along with their description."""

    data: bytes

    @property
    def nbytes(self) -> int:
        return len(self.data)

    def read(self, file: BinaryIO) -> Tensor:
        return (
            torch.frombuffer(bytearray(self.data), dtype=torch.uint8)
            if self.data
            else torch.empty(0, dtype=torch.uint8)
        )


@dataclass(frozen=True, eq=False)
class EncodedBytes:
    """Bytes that Python 3 wrote as text in a pickle that Python 2 could read: UTF-8 of Latin-1, up to twice as long."""

    nbytes: int
    start: int
    encoded: int
    """Length in the file."""

    def read(self, file: BinaryIO) -> Tensor:
        file.seek(self.start)
        try:
            data = file.read(self.encoded).decode("utf-8").encode("latin-1")
        except UnicodeError as error:
            raise Unreadable(f"its numbers are no text that stands for bytes ({error})") from error
        if len(data) != self.nbytes:
            raise Unreadable(f"an array of {self.nbytes:,} bytes has {len(data):,}")
        return HeldBytes(data).read(file)


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor that was not read yet."""

    source: Source
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""
    offset: int = 0
    """Of its first element, in elements."""
    of_numpy: bool = False
    """An array of numpy, which in PyTorch's own files is a score or a random state and no weight."""

    def __post_init__(self) -> None:
        if len(self.shape) > MAX_AXES or len(self.strides) != len(self.shape):
            raise Unreadable(f"a tensor has {len(self.shape)} axes and {len(self.strides)} strides")
        for number in (*self.shape, *self.strides, self.offset):
            if type(number) is not int or not 0 <= number <= _MAX_SIZE:
                raise Unreadable("a tensor has a size, stride or offset that is no possible number", UNTRUSTED)
        if math.prod(max(n, 1) for n in self.shape) > _MAX_SIZE:
            raise Unreadable("a tensor has more numbers than any memory holds", UNTRUSTED)

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def reach(self) -> int:
        """The bytes of its storage up to its last element."""
        if 0 in self.shape:
            return 0
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        return (last + 1) * self.dtype.itemsize

    def fills_its_source(self) -> bool:
        """Whether its elements are its source's, all of them, one after the other."""
        dense = [math.prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        follows = all(n <= 1 or stride == step for n, stride, step in zip(self.shape, self.strides, dense, strict=True))
        return follows and self.offset == 0 and self.nbytes == self.source.nbytes


def read_stored(path: Path, tensors: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """Read tensors into memory of their own, contiguous.

    Raises:
        Unreadable: one of them lies about its place, or the file ends before it.
    """
    _check(tensors, path.stat().st_size)
    names = defaultdict(list)
    for name, tensor in tensors.items():
        names[tensor.source].append(name)
    read: dict[str, Tensor] = {}
    with path.open("rb", buffering=0) as file:
        for source, sharing in names.items():
            raw = source.read(file)
            for name in sharing:
                read[name] = _view(raw, tensors[name], alone=len(sharing) == 1)
    return {name: read[name] for name in tensors}


def read_into_memory(file: BinaryIO, nbytes: int) -> Tensor:
    """(nbytes,) uint8 from where the file stands. A mapped file would change with the file, and count twice once copied.

    Raises:
        Unreadable: the file ends before.
    """
    try:
        buffer = torch.empty(nbytes, dtype=torch.uint8)
    except RuntimeError as error:  # PyTorch's word for it; a machine that is too small is no damaged file
        raise MemoryError(f"no memory for a tensor of {nbytes:,} bytes") from error
    view, done = memoryview(buffer.numpy()), 0  # type: ignore[arg-type]
    while done < nbytes:
        count = file.readinto(view[done:])  # type: ignore[attr-defined]  # at most 2 GiB a call on Linux
        if not count:
            raise Unreadable(f"it is cut off: {nbytes - done:,} bytes of a tensor are missing")
        done += count
    return buffer


def _view(raw: Tensor, tensor: StoredTensor, alone: bool) -> Tensor:
    itemsize = tensor.dtype.itemsize
    numbers = raw[: raw.numel() // itemsize * itemsize].view(tensor.dtype)
    if alone and tensor.fills_its_source():
        return numbers.view(tensor.shape)
    if 0 in tensor.shape:
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    return numbers.as_strided(tensor.shape, tensor.strides, tensor.offset).clone(memory_format=torch.contiguous_format)


def _check(tensors: Mapping[str, StoredTensor], file_size: int) -> None:
    total = 0
    for name, tensor in tensors.items():
        lies, has = f'tensor "{name}" of shape {list(tensor.shape)} lies in', tensor.source.nbytes
        if tensor.nbytes > has:
            raise Unreadable(f"{lies} {has:,} bytes and needs {tensor.nbytes:,}", UNTRUSTED)
        if tensor.reach > has:
            raise Unreadable(f"{lies} {has:,} bytes and reaches to {tensor.reach:,}", UNTRUSTED)
        if has > file_size:
            raise Unreadable(f"{lies} {has:,} bytes, and the file has {file_size:,}", DAMAGED)
        total += tensor.nbytes
    if total > 2 * file_size:
        raise Unreadable(f"its tensors take {total:,} bytes and the file has {file_size:,}", UNTRUSTED)
