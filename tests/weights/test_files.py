import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videoswin.errors import WeightsError
from videoswin.weights.safetensors import read_header, read_tensors, write_tensors

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a.bias": torch.tensor([0.5, -0.5], dtype=torch.bfloat16),
    "steps": torch.tensor(7),
    "empty": torch.zeros(0, 4),
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_tensors(path, TENSORS)
    return path


def raw(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """The bytes of a safetensors file with any header, and any announced header length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def test_what_is_written_is_read(good: Path) -> None:
    tensors = read_tensors(good)
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert read_header(good)["a.weight"].shape == (2, 3)


def test_tensors_may_be_views_and_need_grad(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    write_tensors(tmp_path / "t.safetensors", {"w": weight.t()})
    assert torch.equal(read_tensors(tmp_path / "t.safetensors")["w"], weight.detach().t())


DISHONEST = {
    "no bytes": (b"", "0 bytes"),
    "too short": (b"\x01\x02", "2 bytes"),
    "header longer than the file": (raw({}, length=10_000), "announces a header of 10,000 bytes"),
    "header longer than any": (raw({}, length=2**63), "announces a header"),
    "zeros": (b"\0" * 100, "no valid JSON"),
    "not JSON": (raw(b"{hello}"), "no valid JSON"),
    "not UTF-8": (raw(b'{"\xff": 1}'), "no valid JSON"),
    "nested without end": (raw(b"[" * 100_000), "no valid JSON"),
    "a list": (raw([1, 2]), "no table"),
    "one name twice": (raw(b'{"w": 1, "w": 2}'), '"w" occurs twice'),
    "an entry of another kind": (raw({"w": 3}), 'tensor "w" is malformed'),
    "an entry with more fields": (raw({"w": {**entry([1], 0, 4), "x": 1}}, b"\0" * 4), "malformed"),
    "offsets that are text": (raw({"w": {**entry([1], 0, 4), "data_offsets": ["0", "4"]}}), "malformed"),
    "unknown type": (raw({"w": entry([1], 0, 4, "F9")}, b"\0" * 4), "the type F9"),
    "negative size": (raw({"w": entry([-1], 0, 4)}, b"\0" * 4), "no list of sizes"),
    "size that is no number": (raw({"w": entry([True], 0, 4)}, b"\0" * 4), "no list of sizes"),
    "shape against offsets": (raw({"w": entry([2], 0, 4)}, b"\0" * 4), "needs 8 bytes, its place has 4"),
    "an absurd shape": (raw({"w": entry([2**40, 2**40], 0, 4)}, b"\0" * 4), "its place has 4"),
    "backward offsets": (raw({"w": entry([1], 4, 0)}, b"\0" * 4), "needs 4 bytes"),
    "cut off": (raw({"w": entry([2], 0, 8)}, b"\0" * 4), "4 bytes of its tensors are missing"),
    "bytes behind": (raw({"w": entry([1], 0, 4)}, b"\0" * 9), "5 bytes follow the last tensor"),
    "a hole before": (raw({"w": entry([1], 4, 8)}, b"\0" * 8), "unused bytes before"),
    "a hole between": (raw({"v": entry([1], 0, 4), "w": entry([1], 8, 12)}, b"\0" * 12), "unused bytes between"),
    "overlap": (raw({"v": entry([2], 0, 8), "w": entry([2], 4, 12)}, b"\0" * 12), '"v" and "w" overlap'),
}


@pytest.mark.parametrize("kind", DISHONEST)
def test_a_dishonest_file_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    content, reason = DISHONEST[kind]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        read_tensors(path)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@given(data=st.data())
def test_damage_gives_our_error_or_other_finite_numbers(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.mktemp("mutants") / "m.safetensors"
    write_tensors(path, TENSORS)
    content = bytearray(path.read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[:cut] if data.draw(st.booleans()) else content)
    try:
        tensors = read_tensors(path)
    except WeightsError:
        return
    assert all(bool(t.isfinite().all()) for t in tensors.values())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_of_a_diverged_run_are_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match=r'tensor "head\.bias" holds NaN or infinity'):
        write_tensors(path, {"head.bias": torch.tensor([0.0, value])})
    assert list(tmp_path.iterdir()) == []
    number = torch.tensor([value]).numpy().tobytes()
    path.write_bytes(raw({"head.bias": entry([1], 0, 4)}, number))
    with pytest.raises(WeightsError, match=r'tensor "head\.bias" holds NaN or infinity'):
        read_tensors(path)


def test_things_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in [
        (tmp_path, "this is a folder"),
        (tmp_path / "none", "not found"),
        (tmp_path / "pipe", "a pipe or a device"),
        (tmp_path / ("x" * 5000), "the path cannot be used"),
    ]:
        with pytest.raises(WeightsError, match=reason):
            read_tensors(path)
