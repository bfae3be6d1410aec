"""A minimal reader of flax checkpoints for tests: msgpack, extension 1 = an array as packed (shape, dtype, bytes)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}


def read_flax(path: Path) -> dict[str, Tensor]:
    """The parameters, their keys joined by "/"."""
    data, _ = _value(path.read_bytes(), 0)
    return dict(_flat(data["optimizer"]["target"], ""))


def _flat(data: dict[str, Any], prefix: str) -> Any:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value


def _value(b: bytes, i: int) -> tuple[Any, int]:
    code = b[i]
    if code < 0x80:
        return code, i + 1
    if 0x80 <= code < 0x90 or code == 0xDE:
        count, i = (code & 15, i + 1) if code < 0x90 else (int.from_bytes(b[i + 1 : i + 3], "big"), i + 3)
        found = {}
        for _ in range(count):
            key, i = _value(b, i)
            found[key], i = _value(b, i)
        return found, i
    if 0x90 <= code < 0xA0:
        items, i = [], i + 1
        for _ in range(code & 15):
            item, i = _value(b, i)
            items.append(item)
        return items, i
    if 0xA0 <= code < 0xC0:
        end = i + 1 + (code & 31)
        return b[i + 1 : end].decode(), end
    if code in _LENGTHS:
        start = i + 1 + _LENGTHS[code]
        end = start + int.from_bytes(b[i + 1 : start], "big")
        return (b[start:end] if code < 0xD0 else b[start:end].decode()), end
    if 0xC7 <= code <= 0xC9 or 0xD4 <= code <= 0xD8:
        width = {0xC7: 1, 0xC8: 2, 0xC9: 4}.get(code, 0)
        length = int.from_bytes(b[i + 1 : i + 1 + width], "big") if width else 1 << (code - 0xD4)
        start = i + 2 + width
        (shape, dtype, raw), _ = _value(b[start : start + length], 0)
        array = np.frombuffer(raw, dtype=dtype).reshape(shape)
        return torch.from_numpy(array.copy()), start + length
    if 0xCC <= code <= 0xCF:
        end = i + 1 + (1 << (code - 0xCC))
        return int.from_bytes(b[i + 1 : end], "big"), end
    raise ValueError(f"msgpack code {code:#x}")
