"""Checkpoints of flax (scenic's ViViT): msgpack, with arrays as extension 1, a packed (shape, type, bytes).

Read here and not by the msgpack library: that one builds whatever a file announces (64 bytes of memory for one of the file),
and copies every array twice. This reader knows what such checkpoints hold, counts containers and depth, and leaves arrays
where they are. flax splits arrays of more than 1 GiB; none of the models here has one.
"""

import struct
from typing import Any, BinaryIO

import torch

from videoswin.weights.containers.stored import FileBytes, StoredTensor
from videoswin.weights.containers.unreadable import UNTRUSTED, Unreadable

__all__ = ["looks_like_flax", "read_flax"]

_MAX_VALUES = 250_000
_MAX_DEPTH = 50
_MAX_TEXT = 64 * 1024
_ARRAY = 1
_DTYPES = {
    "float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16,
    "int64": torch.int64, "int32": torch.int32, "int16": torch.int16, "int8": torch.int8, "uint8": torch.uint8,
    "bool": torch.bool,
}  # fmt: skip
_RANDOM = ("uint16", "uint32", "uint64")
"""Types of random states: scenic's files hold the one of their training. Weights never have them."""
_SIZED = {  # the first byte: what follows, and the form of its length or of itself
    0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"),
    0xC7: ("ext", ">B"), 0xC8: ("ext", ">H"), 0xC9: ("ext", ">I"),
    0xCA: ("number", ">f"), 0xCB: ("number", ">d"),
    0xCC: ("number", ">B"), 0xCD: ("number", ">H"), 0xCE: ("number", ">I"), 0xCF: ("number", ">Q"),
    0xD0: ("number", ">b"), 0xD1: ("number", ">h"), 0xD2: ("number", ">i"), 0xD3: ("number", ">q"),
    0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("table", ">H"), 0xDF: ("table", ">I"),
}  # fmt: skip


def looks_like_flax(head: bytes) -> bool:
    """A small table whose first key is a short text of letters: msgpack has no signature."""
    if len(head) < 3 or not 0x81 <= head[0] <= 0x8F:
        return False
    length = head[1] & 0x1F
    return 0xA1 <= head[1] <= 0xBF and head[2 : 2 + length].replace(b"_", b"").isalnum()


def read_flax(file: BinaryIO, size: int) -> dict[str, Any]:
    """What the file holds, with its parameters, which are nested tables, as one flat table ("Transformer/encoderblock_0/...").

    Raises:
        Unreadable: it is damaged or no checkpoint of flax.
    """
    file.seek(0)
    reader = _Reader(file, size)
    tree = reader.value()
    if file.tell() != size:
        raise Unreadable(f"{size - file.tell():,} bytes follow the checkpoint and belong to nothing")
    if not isinstance(tree, dict):
        raise Unreadable("it holds no table of tensors")
    match tree:
        case {"optimizer": {"target": {"params": dict(parameters), **rest}}} if not rest:
            return tree | {"optimizer": {"target": _flat(parameters)}}
        case {"optimizer": {"target": dict(parameters)}}:
            return tree | {"optimizer": {"target": _flat(parameters)}}
        case {"target": dict(parameters)} | {"params": dict(parameters)}:
            name = "target" if "target" in tree else "params"
            return tree | {name: _flat(parameters)}
        case _:
            return _flat(tree)


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        inner = _flat(value) if isinstance(value, dict) else None  # as deep as the reader allows
        flat |= {f"{key}/{name}": leaf for name, leaf in inner.items()} if inner is not None else {key: value}
    return flat


class _Reader:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.values = 0

    def read(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) != count:
            raise Unreadable("it is cut off")
        return data

    def value(self, depth: int = 0) -> Any:
        self.values += 1
        if self.values > _MAX_VALUES or depth > _MAX_DEPTH:
            raise Unreadable("it has more parts than any checkpoint", UNTRUSTED)
        kind, of = self._kind()
        match kind:
            case "number" | "constant":
                return of
            case "text":
                return self._text(of)
            case "bytes":
                return self._skipped(of)
            case "list":
                return [self.value(depth + 1) for _ in range(of)]
            case "table":
                return self._table(of, depth)
            case _:
                return self._extension(of, depth)

    def _kind(self) -> tuple[str, Any]:
        """What comes next: a kind with its length, or a number itself."""
        first = self.read(1)[0]
        if first < 0x80 or first >= 0xE0:
            return "number", first if first < 0x80 else first - 0x100
        if first < 0xC0:
            return (
                ("table", first & 15)
                if first < 0x90
                else ("list", first & 15)
                if first < 0xA0
                else ("text", first & 31)
            )
        if first in (0xC0, 0xC2, 0xC3):
            return "constant", {0xC0: None, 0xC2: False, 0xC3: True}[first]
        if 0xD4 <= first <= 0xD8:
            return "ext", 1 << (first - 0xD4)
        if first not in _SIZED:
            raise Unreadable("it has a byte that msgpack does not know")
        kind, form = _SIZED[first]
        return kind, struct.unpack(form, self.read(struct.calcsize(form)))[0]

    def _table(self, count: int, depth: int) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for _ in range(count):
            key = self.value(_MAX_DEPTH)
            if type(key) is not str or key in table:
                raise Unreadable("it has a table with a key that is no text, or twice")
            table[key] = self.value(depth + 1)
        return table

    def _text(self, count: int) -> str:
        if count > _MAX_TEXT:
            raise Unreadable(f"it has a text of {count:,} letters", UNTRUSTED)
        try:
            return self.read(count).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Unreadable("it has a text that is none") from error

    def _skipped(self, count: int) -> FileBytes:
        start = self.file.tell()
        if count > self.size - start:
            raise Unreadable(f"it announces {count:,} bytes and has {self.size - start:,} left")
        self.file.seek(count, 1)
        return FileBytes(count, start)

    def _extension(self, count: int, depth: int) -> Any:
        kind = self.read(1)[0]
        stop = self.file.tell() + count
        if kind != _ARRAY:
            return self._skipped(count)
        shape, dtype, data = self._array(depth)
        if self.file.tell() != stop:
            raise Unreadable("it has an array that does not end where it should")
        if dtype in _RANDOM:
            return data
        if dtype not in _DTYPES:
            raise Unreadable(f"it has an array of the type {dtype}, which is not read")
        strides, step = [], 1
        for size in reversed(shape):
            strides.append(step)
            step *= max(size, 1)
        return StoredTensor(data, _DTYPES[dtype], tuple(shape), tuple(reversed(strides)))

    def _array(self, depth: int) -> tuple[list[int], str, FileBytes]:
        match self.value(depth + 1):
            case [list(shape), str(dtype), FileBytes() as data] if len(shape) <= 32 and all(
                type(n) is int and 0 <= n < 2**62 for n in shape
            ):
                return shape, dtype, data
            case _:
                raise Unreadable("it has an array that is none")
