"""Tensors that grow row by row into one safetensors file, without being in memory: for videos of hours."""

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from torch import Tensor

from videoswin.storage.atomic import replace_file
from videoswin.weights.safetensors import read_header

__all__ = ["RowsFile", "copy_as_npy", "sum_of_file"]

_CHUNK = 2**22  # bytes


class RowsFile:
    """``with RowsFile(path) as file: file.add({"stage4": rows})``; the file is there when the block ends well.

    Rows are float32 (R, ...), of one shape for each name. Without any row nothing is written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._context = ExitStack()
        self._parts: dict[str, BinaryIO] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}

    def __enter__(self) -> Self:
        self._new = self._context.enter_context(replace_file(self._path))
        return self

    def add(self, rows: Mapping[str, Tensor]) -> None:
        for name, some in rows.items():
            if name not in self._parts:
                file = self._new.with_name(f"{len(self._parts)}.rows").open("w+b")
                self._parts[name] = self._context.enter_context(file)
                self._shapes[name] = (0, *some.shape[1:])
            count, *rest = self._shapes[name]
            self._shapes[name] = (count + some.shape[0], *rest)
            self._parts[name].write(np.ascontiguousarray(some.float().numpy()).astype("<f4", copy=False).tobytes())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self._assemble()
        self._context.__exit__(kind, error, trace)  # type: ignore[arg-type]

    def _assemble(self) -> None:
        header, start = {}, 0
        for name, shape in self._shapes.items():
            stop = start + 4 * int(np.prod(shape))
            header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, stop]}
            start = stop
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with self._new.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for part in self._parts.values():
                part.seek(0)
                shutil.copyfileobj(part, file, _CHUNK)


def sum_of_file(path: Path) -> str:
    """Of its contents.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new_sum).hexdigest()


def copy_as_npy(store: Path, name: str, to: Path, rows: bool) -> tuple[tuple[int, ...], str]:
    """One float32 tensor of a safetensors file as a ``.npy`` file, piece by piece; gives its shape and :func:`sum_of_file`.

    Args:
        rows: its first axis is that of rows; else the file gets one in front.
    """
    info = read_header(store)[name]
    shape = info.shape if rows else (1, *info.shape)
    header, total = io.BytesIO(), _new_sum()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with store.open("rb") as file, replace_file(to) as new, new.open("wb") as out:
        first = 8 + int.from_bytes(file.read(8), "little")
        file.seek(first + info.start)
        piece, left = header.getvalue(), info.stop - info.start
        while piece:
            total.update(piece)
            out.write(piece)
            piece = file.read(min(left, _CHUNK))
            left -= len(piece)
    return shape, total.hexdigest()


def _new_sum() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=16)
