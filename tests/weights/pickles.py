"""Pickles written by hand, and archives round them."""

import struct
import sys
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def archive(path: Path, pickled: bytes, storages: Mapping[str, bytes] | None = None) -> Path:
    """A file like those of ``torch.save``, with any pickle in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("w/data.pkl", pickled)
        for name, numbers in (storages or {}).items():
            file.writestr(f"w/data/{name}", numbers)
    return path


def class_of(monkeypatch: pytest.MonkeyPatch, module: str, name: str, base: type = object) -> Any:
    """A class of a module that is not installed. Pickles of its instances name it."""
    parts = module.split(".")
    for i in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
    made = type(name, (base,), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


def caffe2(arrays: Mapping[str, np.ndarray]) -> bytes:
    """``pickle.dump({"blobs": {name: array}}, protocol=2)`` as Python 2 wrote it: its str is bytes."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value

    pieces = [b"\x80\x02}", text(b"blobs"), b"}("]
    for name, array in arrays.items():
        shape = b"".join(b"M" + struct.pack("<H", n) for n in array.shape)
        pieces += [
            text(name.encode()),
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R",
            b"(K\x01(" + shape + b"tcnumpy\ndtype\n" + text(array.dtype.str[1:].encode()) + b"K\x00K\x01\x87R",
            b"(K\x03" + text(b"<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89" + text(array.tobytes()) + b"tb",
        ]
    return b"".join([*pieces, b"us."])
