"""The machine for pickles: the same plain values as Python's, nothing called, and nothing that grows."""

import argparse
import collections
import datetime
import decimal
import enum
import functools
import io
import os
import pathlib
import pickle
import re
import struct
import subprocess
import tracemalloc
import types
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.weights.pickles import archive, class_of
from videoswin.errors import WeightsError
from videoswin.weights.containers.inert import Budget, InertUnpickler
from videoswin.weights.containers.pickle_objects import Blob, NotBuilt, NumpyArray
from videoswin.weights.containers.read import read_container
from videoswin.weights.containers.unreadable import Unreadable


def load(pickled: bytes, budget: Budget | None = None) -> Any:
    return InertUnpickler(io.BytesIO(pickled), len(pickled), budget or Budget()).load()


def refused(pickled: bytes) -> str:
    with pytest.raises(Unreadable) as caught:
        load(pickled)
    return caught.value.reason


# --- what is plain is read as Python reads it ---

KEYS = st.text() | st.integers(-(2**63), 2**63 - 1) | st.binary() | st.booleans() | st.none()
PLAIN = st.recursive(
    KEYS | st.floats(allow_nan=False) | st.integers(),
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner) | st.sets(st.integers()).map(sorted)
    ),
)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@given(value=PLAIN)
def test_plain_values(protocol: int, value: Any) -> None:
    assert with_bytes(load(pickle.dumps(value, protocol))) == with_bytes(value)


@pytest.mark.parametrize("protocol", [0, 1])
@given(value=PLAIN)
def test_plain_values_of_old_protocols(protocol: int, value: Any) -> None:
    assert with_bytes(load(pickle.dumps(value, protocol))) == with_bytes(value)


def with_bytes(value: Any) -> Any:
    """Bytes as text, which is what they are in a pickle for Python 2; NaN is left out, and types are told apart."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {(type(key) is bool, with_bytes(key)): with_bytes(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(with_bytes, value)]
    return value


def test_shared_and_circular_values() -> None:
    one: list[Any] = [1]
    circle: dict[str, Any] = {"a": one, "b": one}
    circle["self"] = circle
    read = load(pickle.dumps(circle))
    assert read["a"] is read["b"]
    assert read["self"] is read


def test_long_texts_stay_in_the_file() -> None:
    pickled = pickle.dumps({"long": "x" * 100_000, "short": "y"}, 4)
    read = load(pickled)
    blob = read["long"]
    assert isinstance(blob, Blob)
    assert pickled[blob.start : blob.start + blob.length] == b"x" * 100_000
    assert read["short"] == "y"


# --- what training writes beside weights ---


class Colour(enum.Enum):
    RED = 1


TRAINING: dict[str, Any] = {
    "argparse": argparse.Namespace(lr=0.1, out=pathlib.Path("runs")),
    "paths": [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("c")],
    "dates": [datetime.datetime(2026, 11, 26), datetime.timedelta(3), datetime.date(2026, 1, 1), datetime.UTC],
    "tables": [collections.defaultdict(list, a=[1]), collections.Counter("aab"), collections.deque([1, 2], 5)],
    "enum": Colour.RED,
    "numbers": [decimal.Decimal("1.5"), complex(1, 2), uuid.UUID(int=5), slice(1, 2), range(3)],
    "numpy": [np.float64(1), np.arange(4), np.random.RandomState(1), np.random.default_rng(1), np.bool_(True)],
    "functions": [functools.partial(print, 1), len, re.compile("a+"), int, argparse.Namespace],
    "types": [types.SimpleNamespace(a=1), bytearray(b"abc"), frozenset({1}), {1, 2}],
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", TRAINING)
def test_instances_are_read_past(kind: str, protocol: int) -> None:
    read = load(pickle.dumps({"beside": TRAINING[kind], "epoch": 7}, protocol))
    assert read["epoch"] == 7


@pytest.mark.parametrize("protocol", [2, 4])
def test_instances_of_classes_that_are_not_there(monkeypatch: pytest.MonkeyPatch, protocol: int) -> None:
    """Like yacs' CfgNode and OmegaConf's DictConfig: dictionaries and lists of their own, and instances with a state."""
    node = class_of(monkeypatch, "yacs.config", "CfgNode", dict)(lr=0.1)
    node.__dict__["immutable"] = True
    hub = class_of(monkeypatch, "mmengine.logging", "HistoryBuffer")()
    hub.log = [1.0, 2.0]
    own = class_of(monkeypatch, "own.lists", "Own", list)([1, 2])
    pickled = pickle.dumps([node, hub, own], protocol)
    monkeypatch.undo()
    node, hub, own = load(pickled)
    assert isinstance(node, NotBuilt)
    assert (node.kind, node.items, node.state) == ("yacs.config.CfgNode", {"lr": 0.1}, {"immutable": True})
    assert (hub.kind, hub.state) == ("mmengine.logging.HistoryBuffer", {"log": [1.0, 2.0]})
    assert (own.kind, own.elements) == ("own.lists.Own", [1, 2])


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))])
def test_arrays_are_described(array: np.ndarray, protocol: int) -> None:
    read = load(pickle.dumps(array, protocol))
    assert isinstance(read, NumpyArray)
    assert read.shape == array.shape


# --- code ---


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "call",
    [
        Calls(os.system, "touch canary"),
        Calls(subprocess.Popen, ["touch", "canary"]),
        Calls(eval, "open('canary', 'w')"),
        Calls(exec, "open('canary', 'w')"),
        Calls(__import__, "os"),
        Calls(open, "canary", "w"),
        Calls(np.load, "canary"),
        Calls(np.fromfile, "canary"),
        Calls(functools.reduce, max, [1, 2]),
    ],
    ids=lambda call: call.reduced[0].__name__,
)
def test_what_would_run_code_is_refused_by_name(call: Calls, protocol: int) -> None:
    reason = refused(pickle.dumps({"a": call}, protocol))
    assert "more than weights" in reason
    assert call.reduced[0].__name__ in reason


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02cposix\nsystem\nU\x04true\x85R.",
        b"(cposix\nsystem\nU\x04trueo.",
        b"(U\x04trueiposix\nsystem\n.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02cposix\nsystem\nU\x04true\x85\x81.",
        b"\x80\x02cbuiltins\ngetattr\ncos\npath\nU\x06system\x86RU\x04true\x85R.",
        b"\x80\x02ctorch.hub\nload\nU\x04true\x85R.",
        b"\x80\x02ctorch\nload\nU\x04true\x85R.",
    ],
)
def test_every_way_to_call(pickled: bytes) -> None:
    assert "more than weights" in refused(pickled)


# --- bombs ---


def nested_keys(depth: int) -> bytes:
    """A dictionary with a key that is a pair of pairs of pairs ... of one tuple: 2**depth to hash."""
    pair = b"".join(b"q" + bytes([i % 256]) + b"h" + bytes([i % 256]) + b"\x86" for i in range(depth))
    return b"\x80\x02}K\x01" + pair + b"Ns."


BOMBS: dict[str, tuple[bytes, str]] = {
    "a bytearray of 8 GB": (b"\x80\x05\x96" + struct.pack("<Q", 8 * 10**9) + b".", "announces 8,000,000,000 bytes"),
    "bytes of 4 GB": (b"\x80\x03B" + struct.pack("<I", 2**32 - 1) + b".", "announces"),
    "a text of 2**64": (b"\x80\x04\x8d" + struct.pack("<Q", 2**64 - 1) + b".", "announces"),
    "a negative length": (b"\x80\x02T" + struct.pack("<i", -5) + b".", "announces"),
    "an integer of 100 kB": (b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"1" * 100_000 + b".", "a number of"),
    "marks": (b"\x80\x02" + b"(" * 1_000_000 + b".", "nested deeper"),
    "values": (b"\x80\x02(" + b"N" * 1_000_000 + b"t.", "piles up"),
    "steps": (b"\x80\x02" + b"N0" * 2_000_000 + b"N.", "more steps"),
    "lists": (b"\x80\x02]" + b"]a" * 300_000 + b".", "more lists"),
    "a far place": (b"]p99999999999999999999\n.", "no place"),
    "digits": (b"I" + b"9" * 60_000 + b"\n.", "number that is none"),
    "a line without an end": (b"c" + b"a" * 200_000, "without an end"),
    "an endless name": (b"\x80\x02c" + b"a" * 5000 + b"\nb\n.", "name"),
    "a reference to another file": (b"\x80\x02K\x01Q.", "another file"),
    "an extension": (b"\x80\x02\x82\x01.", "elsewhere"),
    "a buffer": (b"\x80\x05\x97.", "elsewhere"),
    "nothing": (b"", "cut off"),
    "an empty stack": (b"\x80\x02.", "not there"),
    "no mark": (b"\x80\x02t.", "did not open"),
    "no memo": (b"\x80\x02h\x05.", "did not keep"),
    "an unknown instruction": (b"\x80\x02\xff.", "unknown instruction"),
    "entries for a number": (b"\x80\x02K\x01K\x01K\x01s.", "no table"),
    "half an entry": (b"\x80\x02}(K\x01u.", "no table"),
    "a call of a number": (b"\x80\x02K\x01)R.", "calls a int"),
    "no arguments": (b"\x80\x02ca\nb\nNR.", "no list of arguments"),
    "a tensor of nothing": (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "0 arguments"),
    "a tensor of numbers": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01K\x01K\x01tR.",
        "without a storage",
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_and_rubbish_are_refused(kind: str) -> None:
    pickled, reason = BOMBS[kind]
    assert reason in refused(pickled)


def doubled(depth: int) -> bytes:
    """A list of twice a list of twice a list ..."""
    return b"\x80\x02]" + b"".join(b"q\x00]h\x00ah\x00a" for _ in range(depth)) + b"."


HARMLESS: dict[str, bytes] = {
    "24 nested tuples as a key": nested_keys(24),
    "60 nested tuples as a key": nested_keys(60),
    "a list of 2**60 elements": doubled(60),
    "deep tuples": b"\x80\x02)" + b"\x85" * 100_000 + b".",
    "integers whose hashes are equal": b"\x80\x02}("
    + b"".join(b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") + b"N" for i in range(1, 30_000))
    + b"u.",
    "one text encoded 30,000 times": b"\x80\x02](c_codecs\nencode\nq\x00X"
    + struct.pack("<I", 60_000)
    + b"a" * 60_000
    + b"\x85q\x01"
    + b"h\x00h\x01R" * 30_000
    + b"e.",
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_bombs_that_do_not_go_off(kind: str) -> None:
    """They are read, in memory that grows with the file and not with what it claims."""
    pickled = HARMLESS[kind]
    tracemalloc.start()
    try:
        load(pickled)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * len(pickled) + 100_000


def test_the_budget_is_for_all_pickles_of_a_file() -> None:
    budget = Budget(instructions=10, containers=3)
    load(b"\x80\x02]]a.", budget)
    assert budget.containers == 1
    with pytest.raises(Unreadable, match="more lists"):
        load(b"\x80\x02]]a.", budget)
    with pytest.raises(Unreadable, match="more steps"):
        load(b"\x80\x02K\x01K\x01K\x01.", Budget(instructions=3))


def test_a_model_of_models_of_models(tmp_path: Path) -> None:
    """60 modules, each of which holds the one before twice, are 2**60 layers."""
    pickled = b"\x80\x02ca\nM\nq\x000h\x00)\x81}X\x08\x00\x00\x00_modules}sbq\x01"
    for _ in range(60):
        inner = b"}X\x01\x00\x00\x00ah\x01sX\x01\x00\x00\x00bh\x01s"
        pickled += b"0h\x00)\x81}X\x08\x00\x00\x00_modules" + inner + b"sbq\x01"
    with pytest.raises(WeightsError, match="more layers"):
        read_container(archive(tmp_path / "w.pth", pickled + b"."))


def test_a_chain_of_rebuilt_tensors(tmp_path: Path) -> None:
    step = b"h\x00q\x03(h\x00h\x01h\x02Ntq\x02"
    pickled = b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x00ca\nb\nq\x01)q\x02" + step * 5000 + b"h\x00h\x02R."
    with pytest.raises(WeightsError, match="no tensors"):
        read_container(archive(tmp_path / "w.pth", pickled))
