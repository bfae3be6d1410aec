"""Damaged and hostile variations of every kind of file: an error of ours, or tensors, in bounded memory.

Each mutant is made from a seed, in one of the ways below. ``make test-slow`` makes a thousand of each kind of file, the suite a
few dozen.
"""

import contextlib
import io
import pickle
import random
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.weights.golden import GOLDEN
from tests.weights.pickles import caffe2
from videoswin.errors import WeightsError
from videoswin.weights.checkpoint import inspect_checkpoint
from videoswin.weights.containers.read import read_container

_MAX_BYTES = 60 * 2**20


def saved(legacy: bool) -> bytes:
    file = io.BytesIO()
    tree = {
        "state_dict": {f"layers.{i}.weight": torch.full((4, 3), float(i)) for i in range(8)},
        "meta": {"epoch": 3, "score": np.float64(0.5), "names": ["a", "b"], "path": Path("runs")},
    }
    torch.save(tree, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def arrays() -> dict[str, np.ndarray]:
    return {f"res{i}_w": np.full((4, 3), i, dtype=np.float32) for i in range(8)}


SOURCES: dict[str, Callable[[], bytes]] = {
    "pth": lambda: saved(legacy=False),
    "official.pth": lambda: (GOLDEN / "official_3d.pth").read_bytes(),
    "legacy.pth": lambda: saved(legacy=True),
    "safetensors": lambda: (GOLDEN / "timm_2d.safetensors").read_bytes(),
    "pkl": lambda: pickle.dumps({"blobs": arrays(), "lr": 0.1}, protocol=4),
    "caffe2.pkl": lambda: caffe2(arrays()),
    "checkpoint": lambda: (GOLDEN / "zoo" / "vivit_model1.checkpoint").read_bytes(),
}


# --- ways to damage a file ---


def flipped_bits(data: bytearray, draw: random.Random) -> bytearray:
    for _ in range(draw.choice((1, 3, 20))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def other_bytes(data: bytearray, draw: random.Random) -> bytearray:
    """Where descriptions stand: near the start or the end."""
    near = min(len(data), 3000)
    for _ in range(draw.choice((1, 2, 8))):
        at = draw.randrange(near)
        data[at if draw.random() < 0.5 else -1 - at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    return data


def cut(data: bytearray, draw: random.Random) -> bytearray:
    return data[: draw.randrange(len(data))]


def repeated(data: bytearray, draw: random.Random) -> bytearray:
    start = draw.randrange(len(data))
    piece = data[start : start + draw.choice((1, 8, 100))]
    return data[:start] + piece * draw.choice((2, 10, 1000)) + data[start:]


def missing(data: bytearray, draw: random.Random) -> bytearray:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.choice((1, 8, 100)) :]


def larger_numbers(data: bytearray, draw: random.Random) -> bytearray:
    """Some run of four or eight bytes becomes a size that no memory has."""
    for _ in range(draw.choice((1, 2))):
        length = draw.choice((2, 4, 8))
        at = draw.randrange(min(len(data), 3000) - length)
        at = at if draw.random() < 0.7 else len(data) - length - at
        data[at : at + length] = (draw.choice((2**31 - 1, 2**63 - 1, 2**64 - 1, 2**40)) % 2 ** (8 * length)).to_bytes(
            length, "little"
        )
    return data


def larger_digits(data: bytearray, draw: random.Random) -> bytearray:
    """Numbers in the header of a safetensors file, which is text."""
    found = list(re.finditer(rb"\d+", bytes(data[:20_000])))
    if not found:
        return flipped_bits(data, draw)
    match = draw.choice(found)
    new = draw.choice((b"0", b"-1", b"9" * 18, b"9" * 30, b"1e9", b"[0]", str(2**63).encode(), b"1.5", b'"4"'))
    header = int.from_bytes(data[:8], "little") + len(new) - len(match[0])
    changed = data[: match.start()] + new + data[match.end() :]
    if draw.random() < 0.8 and data[8:9] == b"{":
        changed[:8] = max(header, 0).to_bytes(8, "little")
    return changed


def bombs_inside(data: bytearray, draw: random.Random) -> bytearray:
    """Instructions that make something large, at any place."""
    bomb = draw.choice(
        (
            b"\x96" + (8 * 10**9).to_bytes(8, "little"),
            b"(" * 5000,
            b"]" * 5000,
            b"q\x00h\x00\x86" * 500,
            b"r\xff\xff\xff\xff",
            b"B\xff\xff\xff\x7f",
            b"cposix\nsystem\nX\x04\x00\x00\x00true\x85R",
            b"\x8b\xff\xff\xff\x7f",
            b"\xdd\xff\xff\xff\xff",
        )
    )
    at = draw.randrange(min(len(data), 3000))
    return data[:at] + bomb + data[at:]


WAYS = (flipped_bits, other_bytes, cut, repeated, missing, larger_numbers, larger_digits, bombs_inside)


def mutant(source: bytes, seed: int) -> bytes:
    draw = random.Random(seed)
    data = bytearray(source)
    for _ in range(draw.choice((1, 1, 2))):
        data = draw.choice(WAYS)(data, draw) or bytearray(b"\0")
    return bytes(data)


def pickle_mutant(source: bytes, seed: int) -> bytes:
    """A whole archive round a damaged pickle: the checks of the archive do not stand before the machine."""
    with zipfile.ZipFile(io.BytesIO(source)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, mutant(content, seed) if name.endswith("data.pkl") else content)
    return changed.getvalue()


def outcome(path: Path) -> str:
    """ "read" or the reason; anything but a WeightsError gets out."""
    result, message = "read", ""
    tracemalloc.start()
    try:
        contents = read_container(path)
        assert all(tensor.isfinite().all() for tensor in contents.tensors.values())
    except WeightsError as error:
        result, message = error.reason, str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < _MAX_BYTES
    assert "\n" not in message
    assert len(message) < 3000
    with contextlib.suppress(WeightsError):
        inspect_checkpoint(path)
    return result


def attack(tmp_path: Path, kind: str, seeds: range) -> dict[str, int]:
    """Counts of what came of the mutants of one kind of file."""
    source = SOURCES[kind]()
    assert outcome_of(tmp_path, kind, source) == "read"
    counts = {"refused": 0, "read": 0}
    for seed in seeds:
        for make in (mutant, pickle_mutant) if kind.endswith("pth") and source[:2] == b"PK" else (mutant,):
            result = outcome_of(tmp_path, kind, make(source, seed))
            counts["read" if result == "read" else "refused"] += 1
    return counts


def outcome_of(folder: Path, kind: str, content: bytes) -> str:
    path = folder / f"w.{kind}"
    path.write_bytes(content)
    return outcome(path)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_few_mutants(tmp_path: Path, kind: str) -> None:
    assert attack(tmp_path, kind, range(25))["refused"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
def test_a_thousand_mutants(tmp_path: Path, kind: str) -> None:
    counts = attack(tmp_path, kind, range(100_000, 101_000))
    print(f"\n{kind}: {counts}")
    assert counts["refused"] > 300
