"""Files that hold no weights are called what they are; old and foreign ones that do are read."""

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.weights.golden import GOLDEN
from tests.weights.pickles import archive, caffe2
from videoswin.errors import WeightsError
from videoswin.weights.containers.read import read_container
from videoswin.weights.safetensors import write_tensors

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2).half(), "n": torch.tensor(7)}
ZOO = GOLDEN / "zoo"


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_container(path)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


def packed_tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("w.pth"))
    return file.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 112\n", "git lfs pull"),
    "a page": (b"\n<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>", "HTML page"),
    "a page in capitals": (b"\xef\xbb\xbf<HTML>404</HTML>", "HTML page"),
    "an error": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "json": (b'{"error": "not found"}', "JSON"),
    "gzip": (gzip.compress(b"x" * 100), "gzip"),
    "bzip2": (bz2.compress(b"x" * 100), "bzip2"),
    "xz": (lzma.compress(b"x" * 100), "xz"),
    "tar": (packed_tar(), "tar archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "Keras"),
    "zeros": (bytes(1000), "did not finish"),
    "a video": (b"\0\0\0\x20ftypisom" + bytes(100), "a video"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a picture"),
    "a text": (b"Dear all, the weights are on the other server.", "a text"),
    "a few bytes": (b"\x01\x02\x03", "3 bytes"),
    "noise": (bytes(range(1, 256)) * 4, "no PyTorch file"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_something_else(tmp_path: Path, kind: str) -> None:
    content, reason = FILES[kind]
    (tmp_path / "w.pth").write_bytes(content)
    assert reason in refused(tmp_path / "w.pth")


def test_an_onnx_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph([], "g", [], [])
    (tmp_path / "w.pth").write_bytes(onnx.helper.make_model(graph, producer_name="pytorch").SerializeToString())
    assert "ONNX" in refused(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "w.pt")
    assert "TorchScript" in refused(tmp_path / "w.pt")


def test_archives_of_other_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as file:
        file.writestr("weights/model.pth", b"x")
        file.writestr("readme.txt", b"x")
    assert "Unpack it" in refused(tmp_path / "w.zip")
    np.savez(tmp_path / "w.npz", a=np.ones(2))
    assert "numpy" in refused(tmp_path / "w.npz")


def test_a_directory_of_a_million_members_is_not_read(tmp_path: Path) -> None:
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, *[0] * 15)
    directory = entry * 100_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory), 30, 0)
    (tmp_path / "w.pth").write_bytes(b"PK\x03\x04" + bytes(26) + directory + end)
    assert "directory" in refused(tmp_path / "w.pth")


# --- PyTorch's older format ---


def test_the_format_before_1_6(tmp_path: Path) -> None:
    torch.save({"state_dict": WEIGHTS, "epoch": 2}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    contents = read_container(tmp_path / "w.pth")
    assert contents.ignored == ("epoch",)
    require_equal(contents.tensors)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
def test_an_old_file_that_was_cut_off(tmp_path: Path, share: float) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: int(len(whole) * share)])
    refused(tmp_path / "w.pth")


def test_shared_storages_of_old_files(tmp_path: Path) -> None:
    one = torch.arange(12.0).view(3, 4)
    torch.save({"a": one, "b": one[1:], "c": one.T}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    read = read_container(tmp_path / "w.pth").tensors
    assert torch.equal(read["b"], one[1:])
    assert torch.equal(read["c"], one.T)


def require_equal(tensors: dict[str, torch.Tensor]) -> None:
    assert tensors.keys() == WEIGHTS.keys()
    assert all(
        torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype for name, tensor in WEIGHTS.items()
    )


# --- plain pickles ---

ARRAYS = {
    "conv1_w": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "conv1_b": np.arange(2, dtype=np.float64),
    "large_w": np.arange(200_000, dtype=np.float32).reshape(400, 500),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, "python 2"])
def test_arrays_of_numpy_in_a_pickle(tmp_path: Path, protocol: Any) -> None:
    """As Caffe2's model zoos have them, and as Python 3 writes the same."""
    blobs = {"blobs": ARRAYS, "lr": 0.1}
    pickled = caffe2(ARRAYS) if protocol == "python 2" else pickle.dumps(blobs, protocol)
    (tmp_path / "w.pkl").write_bytes(pickled)
    contents = read_container(tmp_path / "w.pkl")
    assert contents.container == "blobs"
    assert contents.tensors.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert torch.equal(contents.tensors[name], torch.from_numpy(array)), name


def test_arrays_in_the_order_of_fortran(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"w": array}))
    assert torch.equal(read_container(tmp_path / "w.pkl").tensors["w"], torch.from_numpy(array))


def test_arrays_of_other_processors_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"w": np.ones((2, 2), dtype=">f4")}))
    assert "byte order" in refused(tmp_path / "w.pkl")


def test_an_array_that_claims_more_than_it_has(tmp_path: Path) -> None:
    honest = caffe2({"w": np.ones((2, 3), dtype=np.float32)})
    (tmp_path / "w.pkl").write_bytes(honest.replace(b"M\x02\x00", b"M\x00\xff"))
    assert "needs" in refused(tmp_path / "w.pkl")


def test_code_in_a_caffe2_pickle(tmp_path: Path) -> None:
    code = b"cposix\nsystem\nU\x0ctouch canary\x85R0"
    (tmp_path / "w.pkl").write_bytes(caffe2(ARRAYS).replace(b"}(", b"}" + code + b"(", 1))
    assert "posix.system" in refused(tmp_path / "w.pkl")


def test_tensors_that_pickle_wrote(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(WEIGHTS))
    assert "torch.save" in refused(tmp_path / "w.pkl")


# --- flax ---


def test_a_checkpoint_of_flax() -> None:
    contents = read_container(ZOO / "vivit_model1.checkpoint")
    assert (contents.container, contents.ignored) == ("optimizer/target", ("global_step",))
    assert contents.tensors["Transformer/encoderblock_0/MultiHeadDotProductAttention_0/query/kernel"].shape == (
        24,
        4,
        6,
    )
    assert len(contents.tensors) == 40


@pytest.mark.parametrize(
    "content",
    [
        b"\x81\xa1a" * 1000,
        b"\x81\xa1a\xdd\xff\xff\xff\xff" + b"\x80" * 1000,
        b"\x81\xa1a" + b"\xc7\xff\x01" * 1000,
        b"\x81\xa1a\xc6\xff\xff\xff\xff",
        b"\x81\xa1a\xc1",
        b"\x82\xa1a\x01\xa1a\x01",
        b"\x81\xa1a\x01and more",
        b"\x81\xa1a\xc7\x0b\x01\x93\x91\x05\xa7float32\xc4\x04\0\0\0\0",
    ],
)
def test_msgpack_that_lies(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint").write_bytes(content)
    refused(tmp_path / "checkpoint")


# --- other families' containers ---


def test_a_file_of_slowfasts_kind() -> None:
    contents = read_container(ZOO / "timesformer_joint.pyth")
    assert contents.container == "model_state"
    assert contents.ignored == ("epoch", "optimizer_state", "cfg")
    assert contents.tensors["model.cls_token"].shape == (1, 1, 24)


# --- writing, and too little memory ---


def test_a_machine_without_memory_is_no_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pth")

    def no_memory(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "empty", no_memory)
    with pytest.raises(MemoryError):
        read_container(tmp_path / "w.pth")


def test_a_new_file_has_the_rights_that_the_umask_says(tmp_path: Path) -> None:
    write_tensors(tmp_path / "w.safetensors", WEIGHTS)
    (tmp_path / "other").touch()
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_missing_storage_and_one_of_another_size(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as file:
        pickled = file.read("w/data.pkl")
        storages = {str(i): file.read(f"w/data/{i}") for i in range(3)}
    assert 'storage "2"' in refused(archive(tmp_path / "a.pth", pickled, {k: storages[k] for k in "01"}))
    storages["1"] += b"\0"
    assert "should have 4 bytes and has 5" in refused(archive(tmp_path / "b.pth", pickled, storages))
