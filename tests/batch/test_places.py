"""A table in an object store: the same as in a folder, finished parts only, and no word of what gives access to it."""

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import fsspec
import pytest

from tests.batch.test_batch import kill_and_restart, table
from tests.batch.toy import Bucket, run
from videoswin.batch.manifest import read_manifest
from videoswin.batch.place import Folder, Store, place_of
from videoswin.batch.work import _content
from videoswin.cli.main import main
from videoswin.data.folders import VIDEO_SUFFIXES
from videoswin.errors import ConfigError, OutputError, VideoError
from videoswin.storage.addresses import listed, require_no_password, shown, without_secrets

pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def memory() -> Iterator[str]:
    """A prefix in fsspec's memory."""
    store = fsspec.filesystem("memory")
    yield "memory://videos"
    store.rm("/videos", recursive=True)


def contents(parts: dict[str, bytes]) -> list[bytes]:
    """In their order, whatever their names say of failures."""
    return [parts[name] for name in sorted(parts)]


def test_a_table_in_a_store_is_that_of_a_folder(names: Path, undisturbed: Path, tmp_path: Path) -> None:
    outcome = run(names, f"bucket://{tmp_path}/out")
    assert outcome.failed == 12
    assert contents(table(tmp_path / "out")) == contents(table(undisturbed))
    assert len(pq.read_table(f"{tmp_path}/out/table")) == 200
    again = run(names, f"bucket://{tmp_path}/out")
    assert (again.resumed, again.failed) == (200, 12)
    with pytest.raises(ConfigError, match="another batch"):
        run(names, f"bucket://{tmp_path}/out", part_rows=9)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="something else"):
        run(names, f"bucket://{tmp_path}/mine")


def test_a_file_address_is_a_folder(tmp_path: Path) -> None:
    assert place_of(f"file://{tmp_path}/out") == Folder(tmp_path / "out")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_kills_in_the_middle_of_an_object_change_no_byte(
    names: Path,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    assert kill_and_restart(names, f"bucket://{tmp_path}/out", 3, seed=3) >= 1
    assert contents(table(tmp_path / "out")) == contents(table(undisturbed))


def test_a_part_without_its_mark_is_done_again(names: Path, undisturbed: Path, tmp_path: Path) -> None:
    run(names, f"bucket://{tmp_path}/out")
    half = tmp_path / "out" / "table" / "part-0000003.parquet"
    half.write_bytes(half.read_bytes()[:40])
    (mark,) = (tmp_path / "out" / "marks").glob("part-0000003*")
    mark.unlink()
    place = place_of(f"bucket://{tmp_path}/out")
    assert 3 not in place.parts()
    run(names, f"bucket://{tmp_path}/out")
    assert contents(table(tmp_path / "out")) == contents(table(undisturbed))


def test_an_object_counts_when_it_and_its_mark_are_there(memory: str) -> None:
    place = Store(f"{memory}/out")
    with place.owned():
        place.write_job("{}")
    assert place.read_job() == "{}"
    place.put_part("part-0000001.2-failed.parquet", b"one")
    assert place.parts() == {1: 2}
    assert place.has_part("part-0000001.2-failed.parquet")
    assert not place.has_part("part-0000001.parquet")
    place.put_part("part-0000001.parquet", b"two")  # what could not be fetched before could be now
    assert place.parts() == {1: 0}
    store = fsspec.filesystem("memory")
    assert store.ls("/videos/out/table", detail=False) == ["/videos/out/table/part-0000001.parquet"]
    store.rm("/videos/out/table/part-0000001.parquet")
    assert place.parts() == {}
    assert pickle.loads(pickle.dumps(place)) == place


def test_two_versions_of_a_part_in_a_folder_become_one(names: Path, undisturbed: Path, tmp_path: Path) -> None:
    """A worker was killed behind the writing, and the part was done again when its file could be read."""
    shutil.copytree(undisturbed, tmp_path / "out")
    folder = tmp_path / "out" / "table"
    (folder / "part-0000001.4-failed.parquet").write_bytes((folder / "part-0000001.parquet").read_bytes())
    run(names, tmp_path / "out")
    assert table(tmp_path / "out") == table(undisturbed)


def test_videos_and_lists_at_addresses(memory: str, tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    for name in ("b.mp4", "a.mp4", "notes.md"):
        store.pipe_file(f"/videos/{name}", b"x")
    assert listed(f"{memory}/", VIDEO_SUFFIXES) == ["memory:///videos/a.mp4", "memory:///videos/b.mp4"]
    assert listed(f"{memory}/b*", VIDEO_SUFFIXES) == ["memory:///videos/b.mp4"]
    store.pipe_file("/videos/list.csv", b"path\nb.mp4\nmemory://videos/a.mp4\n")
    assert read_manifest([f"{memory}/list.csv"]).paths == ("memory://videos/b.mp4", "memory://videos/a.mp4")
    assert _content("memory://videos/a.mp4") == b"x"
    with pytest.raises(ConfigError, match="no videos"):
        listed(f"{memory}/c*", VIDEO_SUFFIXES)
    with pytest.raises(ConfigError, match="cannot be fetched"):
        read_manifest([f"{memory}/nothing.csv"])
    with pytest.raises(ConfigError, match="gone with the process"):
        place_of(memory)


def test_what_gives_access_is_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("s3://me:hidden@bucket/a/b?X-Sig=hidden") == "s3://bucket/a/b"
    error = ValueError("403 of https://h/a?sig=hidden (secret='hidden', aws_secret_access_key: hidden)")
    assert "hidden" not in without_secrets(error, "https://h/a?sig=hidden")
    with pytest.raises(ConfigError, match="user or a password") as caught:
        place_of("s3://me:hidden@bucket/out")
    assert "hidden" not in str(caught.value)
    with pytest.raises(VideoError, match="cannot be fetched") as missing:
        _content(f"bucket://{tmp_path}/v.mp4?sig=hidden")
    assert "hidden" not in str(missing.value)
    (tmp_path / "l.txt").write_text("https://me:hidden@host/v.mp4\n")
    assert (
        main(["batch", str(tmp_path / "l.txt"), "--weights", "swin3d_micro_gestures", "--out", str(tmp_path / "o")])
        == 2
    )
    assert "hidden" not in capsys.readouterr().err


def test_a_store_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError("denied, key=hidden")

    monkeypatch.setattr(Bucket, "pipe_file", refuse)
    place = cast(Store, place_of(f"bucket://{tmp_path}/out"))
    with pytest.raises(OutputError, match=r"cannot be reached \(denied") as caught:
        place.write_job("{}")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "sftp://me:hidden@host/x", "sftp://me:hid/den@host/x", "sftp://me:hid@den@host/x", "zip://f.zip::sftp://me:hidden@host/x",
        "sftp://me@host/x",
    ],
)  # fmt: skip
def test_a_password_is_refused_wherever_it_stands(address: str) -> None:
    with pytest.raises(ConfigError, match="user or a password") as caught:
        require_no_password(address)
    assert not any(word in str(caught.value) for word in ("hidden", "hid", "den@"))


@pytest.mark.parametrize(
    "address", ["s3://bucket/a:b@c", "s3://bucket/key@2x", "hdfs://node:8020/key@2x", "s3://bucket/x?token=abc"]
)
def test_keys_that_look_like_passwords(address: str) -> None:
    require_no_password(address)
    assert shown(address) == address.partition("?")[0]
