"""Files of PyTorch: what is read, and what is refused before it can do harm."""

import contextlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videoswin.errors import WeightsError
from videoswin.weights.containers.read import read_container

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def saved(path: Path, tree: Any) -> Path:
    torch.save(tree, path)
    return path


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_container(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert caught.value.hint
    return message


# --- what is read ---


@pytest.mark.parametrize(
    ("tree", "ignored"),
    [
        (WEIGHTS, ()),
        ({"state_dict": WEIGHTS, "meta": {"epoch": 3}}, ("meta",)),
        ({"model": WEIGHTS, "epoch": 3, "optimizer": {}}, ("epoch", "optimizer")),
        ({**WEIGHTS, "version": 2}, ("version",)),
    ],
    ids=["bare", "state_dict", "model", "a number among them"],
)
def test_every_container_gives_the_same_tensors(tmp_path: Path, tree: Any, ignored: tuple[str, ...]) -> None:
    contents = read_container(saved(tmp_path / "w.pth", tree))
    assert list(contents.tensors) == list(WEIGHTS)
    assert all(torch.equal(contents.tensors[name], tensor) for name, tensor in WEIGHTS.items())
    assert contents.ignored == ignored


@pytest.mark.parametrize("since_numpy_2", [False, True])
def test_values_of_numpy_beside_the_weights_are_passed_over(tmp_path: Path, since_numpy_2: bool) -> None:
    """MMAction2 keeps them in ``meta``: the best score, a random state."""
    meta = {
        "best_score": np.float64(78.9),
        "epoch": np.int64(30),
        "state": np.arange(3),
        "names": np.array(["a", "bc"]),
    }
    path = saved(tmp_path / "w.pth", {"state_dict": WEIGHTS, "meta": meta})
    named = (
        b"cnumpy._core.multiarray\n"
        if b"cnumpy._core.multiarray\n" in path.read_bytes()
        else b"cnumpy.core.multiarray\n"
    )
    wanted = b"cnumpy._core.multiarray\n" if since_numpy_2 else b"cnumpy.core.multiarray\n"
    rename_in_pickle(path, named, wanted)
    contents = read_container(path)
    assert all(torch.equal(contents.tensors[name], tensor) for name, tensor in WEIGHTS.items())
    assert contents.ignored == ("meta",)


def test_a_value_of_numpy_is_no_weight(tmp_path: Path) -> None:
    contents = read_container(saved(tmp_path / "w.pth", {**WEIGHTS, "b": np.ones(2), "c": np.float32(1)}))
    assert (list(contents.tensors), contents.ignored) == (list(WEIGHTS), ("b", "c"))


@pytest.mark.parametrize("name", ["load", "fromfile", "memmap", "fromregex"])
def test_no_other_function_of_numpy_is_called(tmp_path: Path, name: str) -> None:
    class Calls:
        def __reduce__(self) -> tuple[Any, ...]:
            return getattr(np, name), (str(tmp_path / "w.pth"),)

    message = refused(saved(tmp_path / "w.pth", {"state_dict": WEIGHTS, "meta": Calls()}))
    assert "more than weights" in message


def test_what_numpy_is_said_to_be_made_of_is_not_looked_at(tmp_path: Path) -> None:
    """A forged dtype can make numpy itself read beyond its memory; numpy is not asked."""
    path = saved(tmp_path / "w.pth", {"state_dict": WEIGHTS, "meta": Forged()})
    assert read_container(path).ignored == ("meta",)


class Forged:
    """A scalar whose dtype claims a pointer where eight letters stand."""

    def __reduce__(self) -> tuple[Any, ...]:
        scalar = type(np.float64(0)).__reduce__(np.float64(0))[0]
        return scalar, (np.dtype("f8"), b"AAAAAAAA", "and more")


def rename_in_pickle(path: Path, old: bytes, new: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(old, new) if name.endswith("/data.pkl") else content)


def test_a_transposed_view_is_read_as_it_was(tmp_path: Path) -> None:
    contents = read_container(saved(tmp_path / "w.pth", {"a": WEIGHTS["a.weight"].T}))
    assert torch.equal(contents.tensors["a"], WEIGHTS["a.weight"].T)


# --- code ---


class Canary:
    """Unpickled without protection, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, legacy: bool) -> None:
    canary, path = tmp_path / "canary", tmp_path / "w.pth"
    torch.save({"state_dict": WEIGHTS, "meta": Canary(canary)}, path, _use_new_zipfile_serialization=not legacy)
    message = refused(path)
    assert not canary.exists()
    assert "more than weights" in message
    assert "mkdir" in message
    assert "weights_only=False" not in message


def test_a_plain_pickle_is_not_run(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "w.pt"
    path.write_bytes(pickle.dumps(Canary(canary)))
    refused(path)
    assert not canary.exists()


# --- archives ---


def members(path: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def rewritten(path: Path, contents: list[tuple[str, bytes]], packed: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, data in contents:
            archive.writestr(name, data)
    return path


def test_a_zip_bomb_is_refused_from_its_directory(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"a": torch.zeros(2**20)})
    rewritten(path, members(path), packed=True)
    assert path.stat().st_size < 2**14
    assert "packed" in refused(path)


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    """Many entries of the directory may point to the same bytes (Fifield's bomb)."""
    path = rewritten(tmp_path / "w.pth", [("w/data.pkl", b"x" * 5000), ("w/data/0", b"y" * 5000)])
    raw = bytearray(path.read_bytes())
    second = raw.rindex(b"PK\x01\x02")
    for at in (second + 20, second + 24):  # packed and unpacked size
        raw[at : at + 4] = (9000).to_bytes(4, "little")
    path.write_bytes(raw)
    assert "announce" in refused(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", WEIGHTS)
    contents = members(path)
    assert "occurs 2 times" in refused(rewritten(path, [*contents, contents[-1]]))


def test_something_before_the_archive_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", WEIGHTS)
    path.write_bytes(b"PK\x03\x04" + b"\0" * 60 + path.read_bytes())
    refused(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off(tmp_path: Path, share: float) -> None:
    path = saved(tmp_path / "w.pth", WEIGHTS)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    refused(path)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_pickle(tmp_path: Path, seed: int) -> None:
    """Any byte of the list of tensors, changed: an error of ours, or tensors."""
    path = saved(tmp_path / "w.pth", {"state_dict": WEIGHTS, "meta": {"epoch": 3}})
    contents = dict(members(path))
    name = next(n for n in contents if n.endswith("data.pkl"))
    data = bytearray(contents[name])
    generator = torch.Generator().manual_seed(seed)
    for _ in range(3):
        at, value = (int(torch.randint(n, (), generator=generator)) for n in (len(data), 256))
        data[at] = value
    contents[name] = bytes(data)
    rewritten(path, list(contents.items()))
    with contextlib.suppress(WeightsError):
        read_container(path)


def test_other_archives_and_other_files(tmp_path: Path) -> None:
    assert "0 data.pkl" in refused(rewritten(tmp_path / "a.pth", [("readme.txt", b"hello")]))
    (tmp_path / "b.pth").write_bytes(b"<html>404</html>")
    assert "no PyTorch file" in refused(tmp_path / "b.pth")
    assert "not found" in refused(tmp_path / "c.pth")


# --- tensors ---


def test_a_huge_shape_over_one_number_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"a": torch.zeros(1).expand(10**12)})
    assert "needs" in refused(path)


def test_many_tensors_on_one_storage_are_refused(tmp_path: Path) -> None:
    one = torch.zeros(10_000)
    assert "its tensors take" in refused(saved(tmp_path / "w.pth", {f"a{i}": one[:] for i in range(50)}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(tmp_path: Path, value: float) -> None:
    assert '"a" holds NaN or infinity' in refused(saved(tmp_path / "w.pth", {"a": torch.tensor([0, value])}))


@pytest.mark.parametrize("tree", [{}, {"epoch": 3}, [1, 2], torch.ones(3), {"state_dict": {}}])
def test_files_without_weights(tmp_path: Path, tree: Any) -> None:
    refused(saved(tmp_path / "w.pth", tree))


def test_sparse_tensors_are_refused(tmp_path: Path) -> None:
    assert "sparse" in refused(saved(tmp_path / "w.pth", {"a": torch.eye(3).to_sparse()}))


def test_a_buffer_is_no_path() -> None:
    """Only files are read: a stream could not be checked first."""
    with pytest.raises(TypeError):
        read_container(io.BytesIO())  # pyright: ignore[reportArgumentType]
