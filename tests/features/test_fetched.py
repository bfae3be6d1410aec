"""Features at an address are read as those of a folder are: each file fetched once, and never an old one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from tests.batch.toy import Bucket
from tests.tiny import tiny_classifier, write_video
from videoswin.cli.main import main
from videoswin.data.clips import Clip
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, OutputError
from videoswin.features.extract import Job, extract_features
from videoswin.features.folder import FeaturesFolder

TIME = Preprocessing(clip_len=8, sampling="time", fps=6, size=(32, 32), short_side=32)
CLASSIFIER = tiny_classifier(preprocessing=TIME)
PLACE = "memory://features"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], Path]:
    """Compute the features of three videos and put them to the address, as an observer of the store sees them."""
    store = fsspec.filesystem("memory")
    for number in range(3):
        write_video(tmp_path / "v" / f"{number}.mp4", frames=16, seed=number)

    def run() -> Path:
        rows = [Clip(path, "nod") for path in sorted((tmp_path / "v").iterdir())]
        extract_features(CLASSIFIER, rows, Job((1, 2)), tmp_path / "f")
        if store.exists("/features"):
            store.rm("/features", recursive=True)
        store.put(str(tmp_path / "f"), "/features", recursive=True)
        return tmp_path / "f"

    return run


def read(notices: list[str]) -> dict[str, np.ndarray]:
    features = FeaturesFolder(PLACE, notices.append)
    with features.files("stage2") as folder:
        return {line["name"]: np.load(folder / "stage2" / f"{line['name']}.npy") for line in features.lines}


def test_each_file_is_fetched_once_and_again_when_it_is_another(
    make: Callable[[], Path], tmp_path: Path, cache: Path
) -> None:
    folder = make()
    notices: list[str] = []
    first = read(notices)
    assert notices == [f"3 of 3 files copied from {PLACE}"]
    assert not list(cache.rglob("stage1"))  # nobody asked for it
    read(notices)
    assert len(notices) == 1
    write_video(tmp_path / "v" / "1.mp4", frames=16, seed=9)  # of the same name and length
    (tmp_path / "v" / "0.mp4").unlink()
    make()
    second = read(notices)
    assert notices[1:] == [f"1 of 2 files copied from {PLACE}"]
    assert not np.array_equal(first["1"], second["1"])
    np.testing.assert_array_equal(second["1"], np.load(folder / "stage2" / "1.npy"))
    assert sorted(path.name for path in cache.rglob("*.npy")) == ["1.npy", "2.npy"]
    (copy,) = cache.rglob("1.npy")
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")  # a damaged copy
    np.testing.assert_array_equal(read(notices)["1"], second["1"])
    assert len(notices) == 3


def test_an_index_without_sums_is_believed_but_nothing_is_kept_for_it(make: Callable[[], Path]) -> None:
    make()
    store = fsspec.filesystem("memory")
    lines = [json.loads(line) for line in store.cat_file("/features/index.jsonl").splitlines()]
    store.pipe_file("/features/index.jsonl", "\n".join(json.dumps(line | {"sums": {}}) for line in lines).encode())
    notices: list[str] = []
    read(notices)
    read(notices)
    assert notices == [f"3 of 3 files copied from {PLACE}"] * 2


def test_what_is_not_what_the_index_describes_is_refused(make: Callable[[], Path]) -> None:
    make()
    store = fsspec.filesystem("memory")
    whole, index = store.cat_file("/features/stage2/1.npy"), store.cat_file("/features/index.jsonl")
    for content in (whole[:-4], whole[:-1] + b"x", None):
        if content is None:
            store.rm_file("/features/stage2/1.npy")
        else:
            store.pipe_file("/features/stage2/1.npy", content)
        with pytest.raises(ConfigError, match=r"stage2/1\.npy is missing, or is not what index\.jsonl describes"):
            read([])
    features = FeaturesFolder(PLACE)
    store.pipe_file("/features/stage2/1.npy", whole)
    store.pipe_file("/features/index.jsonl", index + b"\n")  # another run, between the index and the files
    with pytest.raises(ConfigError, match="made anew at this moment"), features.files("stage2"):
        pass
    store.rm_file("/features/index.jsonl")
    with pytest.raises(ConfigError, match="holds no features"), features.files("stage2"):
        pass
    first, *others = index.splitlines()
    for part, field, value in (
        ("stage2", "name", "../../evil"),
        ("store", "store", "/evil.safetensors"),
        ("store", "store", "store/../../evil.safetensors"),
        ("store", "store", "search/evil.usearch"),
    ):
        line = json.dumps(json.loads(first) | {field: value}).encode()
        store.pipe_file("/features/index.jsonl", b"\n".join([line, *others]))
        with pytest.raises(ConfigError, match="outside of it"), FeaturesFolder(PLACE).files(part):
            pass
    store.pipe_file("/features/index.jsonl", b"[]\n")
    with pytest.raises(ConfigError, match="holds no features"):
        read([])


def test_places_that_hold_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("memory://nothing", f"bucket://{tmp_path}", f"file://{tmp_path}", tmp_path):
        with pytest.raises(ConfigError, match="holds no features"):
            FeaturesFolder(place)
    with pytest.raises(ConfigError, match="a user or a password") as caught:
        FeaturesFolder("s3://me:hidden@bucket/features")
    assert "hidden" not in str(caught.value)

    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError("denied, key=hidden")

    monkeypatch.setattr(Bucket, "cat_file", refuse)
    with pytest.raises(OutputError, match=r"cannot be reached \(denied") as reached:
        FeaturesFolder(f"bucket://{tmp_path}")
    assert "hidden" not in str(reached.value)


def test_the_verbs_read_an_address_and_compute_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    CLASSIFIER.save(tmp_path / "m")
    for number in range(12):
        write_video(tmp_path / "v" / ("nod", "wave")[number % 2] / f"{number}.mp4", frames=16, seed=number)
    data, address, weights = str(tmp_path / "v"), f"bucket://{tmp_path}/f", ["--weights", str(tmp_path / "m")]
    assert main(["features", data, *weights, "--out", address, "--device", "cpu"]) == 0
    query = str(tmp_path / "v" / "nod" / "0.mp4")
    assert main(["search", query, "--in", f"{tmp_path}/f", *weights, "--json"]) == 0
    in_folder = capsys.readouterr().out.splitlines()
    assert main(["search", query, "--in", address, *weights, "--json"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-11:] == in_folder[-11:]
    assert f"12 of 12 files copied from {address}" in said.err
    shutil.rmtree(tmp_path / "cache" / "features")  # of the query
    looked: list[int] = []
    monkeypatch.setattr("videoswin.features.clips.look", lambda *_: looked.append(1))
    monkeypatch.setattr("videoswin.features.clips.VideoReader.__call__", lambda *_: looked.append(1))
    assert main(["probe", data, *weights, "--features", address, "--folds", "3", "--seeds", "1"]) == 0
    assert "features of 12 clips, 0 of them computed" in capsys.readouterr().err
    assert main(["teach", data, *weights, "--features", address, "--out", str(tmp_path / "t")]) == 0
    assert main(["audit", data, *weights, "--features", address, "--json"]) == 0
    assert looked == []
    assert "copied" not in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "cache"))
    write_video(tmp_path / "v" / "nod" / "0.mp4", frames=16, seed=77)  # a changed file is looked at
    assert main(["probe", data, *weights, "--features", address, "--folds", "3", "--seeds", "1"]) == 0
    assert "features of 12 clips, 1 of them computed" in capsys.readouterr().err
    other = tiny_classifier(preprocessing=TIME)
    with torch.no_grad():
        next(other.model.backbone.parameters()).view(-1)[0] += 1
    other.save(tmp_path / "other")
    capsys.readouterr()
    verbs = (["probe", data], ["teach", data, "--out", str(tmp_path / "t2")], ["audit", data])
    for verb in verbs:
        assert main([*verb, "--weights", str(tmp_path / "other"), "--features", address]) == 2
        assert f"{address}: these are features of another checkpoint" in capsys.readouterr().err
    assert main(["search", query, "--in", address, "--weights", str(tmp_path / "other")]) == 2
    assert f"{address}: these are features of another checkpoint" in capsys.readouterr().err
