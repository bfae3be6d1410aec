"""Features at an address: those of a folder, all or none of them, and not computed again."""

from pathlib import Path
from typing import Any

import pytest

from tests.batch.toy import Bucket
from tests.tiny import tiny_classifier, write_video
from videoswin.cli.main import main
from videoswin.data.clips import Clip
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, OutputError
from videoswin.features.extract import Job, extract_features
from videoswin.features.layouts import read_features_index
from videoswin.features.mirror import mirrored

TIME = Preprocessing(clip_len=8, sampling="time", fps=6, size=(32, 32), short_side=32)
CLASSIFIER = tiny_classifier(preprocessing=TIME)
CLIPS, LONG = Job((2,)), Job((2,), stride=4)


class Stopped(BaseException):
    """Stands for a kill: no code of ours expects it."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    folder = tmp_path_factory.mktemp("v")
    videos = [write_video(folder / f"{n}.mp4", frames=24, fps=12, seed=n) for n in range(2)]
    (folder / "bad.mp4").write_bytes(b"no video")
    return [Clip(path, "nod") for path in (*videos, folder / "bad.mp4")]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stop_at(number: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The put with this number leaves half an object and ends the run. Gives what was put, as it grows."""
    put: list[str] = []

    def half(self: Bucket, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        stops = len(put) == number
        put.append(path)
        Path(self._strip_protocol(path)).write_bytes(value[: len(value) // 2] if stops else value)
        if stops:
            raise Stopped

    monkeypatch.setattr(Bucket, "pipe_file", half)
    return put


@pytest.mark.parametrize("job", [CLIPS, LONG], ids=["clips", "long"])
def test_a_run_stopped_at_any_object_goes_on_and_ends_with_the_same_bytes(
    job: Job, rows: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_features(CLASSIFIER, rows, job, tmp_path / "folder")
    expected = contents(tmp_path / "folder")
    for number in range(len(expected)):
        place = tmp_path / f"at-{number}"
        monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "one machine"))
        stop_at(number, monkeypatch)
        with pytest.raises(Stopped):
            extract_features(CLASSIFIER, rows, job, f"bucket://{place}")
        with pytest.raises(ConfigError, match=r"no features|cut off"):
            read_features_index(place)
        if number % 2:
            monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "another"))
        stop_at(-1, monkeypatch)
        begun = len(list(place.rglob("*.safetensors")))  # one of them may be half
        found = extract_features(CLASSIFIER, rows, job, f"bucket://{place}")
        assert contents(place) == expected
        assert found.computed <= 2 - (begun - 1)
        assert len(found.failures) == 1
    assert not list((tmp_path / "another").rglob("*.safetensors"))  # nothing stays where a run ended


def test_what_is_there_is_neither_computed_nor_put_again(
    rows: list[Clip], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = stop_at(-1, monkeypatch)
    address = f"bucket://{tmp_path}/out"
    assert extract_features(CLASSIFIER, rows, CLIPS, address).computed == 2
    put.clear()
    assert extract_features(CLASSIFIER, rows[:1], CLIPS, address).computed == 0
    assert not [path for path in put if path.endswith(".safetensors")]
    settings, lines = read_features_index(tmp_path / "out")
    assert settings["videos"] == len(lines) == 1
    (tmp_path / "out" / "index.jsonl").write_text("")
    with pytest.raises(ConfigError, match="names 0 videos"):
        read_features_index(tmp_path / "out")


def test_an_address_holds_one_run(rows: list[Clip], tmp_path: Path, cache: Path) -> None:
    """As a folder does."""
    address, both = f"bucket://{tmp_path}/out", Job((1, 2))
    assert extract_features(CLASSIFIER, rows, both, address).removed == ()
    assert extract_features(CLASSIFIER, rows, CLIPS, address).removed == ("stage1/0.npy", "stage1/1.npy")
    assert extract_features(CLASSIFIER, rows[:1], Job((2,), "spatial"), address).removed == ("stage2/1.npy",)
    extract_features(CLASSIFIER, rows[:1], Job((2,), "spatial"), tmp_path / "folder")
    layouts = {name: data for name, data in contents(tmp_path / "out").items() if not name.startswith("store/")}
    assert layouts.items() <= contents(tmp_path / "folder").items()


def test_the_verb_at_an_address(
    rows: list[Clip], tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    CLASSIFIER.save(tmp_path / "m")
    arguments = ["features", str(rows[0].path), "--weights", str(tmp_path / "m"), "--device", "cpu", "--out"]
    assert main([*arguments, f"bucket://{tmp_path}/out"]) == 0
    assert capsys.readouterr().out.strip() == f"bucket://{tmp_path}/out"
    assert main([*arguments, f"file://{tmp_path}/folder"]) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "folder")
    for address, reason in (
        ("memory://features", "gone with the process"),
        ("s3://me:hidden@bucket/features", "a user or a password"),
    ):
        assert main([*arguments, address]) == 2
        error = capsys.readouterr().err
        assert reason in error
        assert "hidden" not in error
    with mirrored("bucket:///one"), pytest.raises(ConfigError, match="another process"), mirrored("bucket:///one/"):
        pass


def test_a_store_that_refuses_is_one_line(
    rows: list[Clip], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError("denied, key=hidden")

    monkeypatch.setattr(Bucket, "put_file", refuse)
    with pytest.raises(OutputError, match=r"cannot be reached \(denied") as caught:
        extract_features(CLASSIFIER, rows[:1], CLIPS, f"bucket://{tmp_path}/out")
    assert "hidden" not in str(caught.value)
