import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from videoswin.errors import OutputError, WeightsError
from videoswin.storage.atomic import replace_file, replace_folder, replace_together, settled_folder
from videoswin.weights.safetensors import write_tensors


def half_written(path: Path) -> None:
    path.write_text("half")
    raise OSError("disk full")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), replace_file(path) as new:
        half_written(new)
    assert path.read_text() == "old"
    with replace_file(path) as new:
        new.write_text("new")
        assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    assert path.read_text() == "new"


def fill(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "config.json").write_text(text)

    return write


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "best"
    for text in ("first", "second"):
        with replace_folder(path, "config.json") as new:
            fill(text)(new)
    with pytest.raises(OSError, match="disk full"), replace_folder(path, "config.json") as new:
        half_written(new / "config.json")
    assert (path / "config.json").read_text() == "second"
    assert [p.name for p in path.parent.iterdir()] == ["best"]


@pytest.mark.parametrize("die_at", [1, 2])
def test_a_save_killed_between_its_two_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, die_at: int
) -> None:
    path = tmp_path / "best"
    with replace_folder(path, "config.json") as new:
        fill("old")(new)
    calls = 0
    real_rename = os.rename

    class Killed(BaseException):
        """Not an OSError: a killed process tidies nothing up."""

    def rename(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == die_at:
            raise Killed
        real_rename(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(Killed), replace_folder(path, "config.json") as new:
        fill("new")(new)
    monkeypatch.undo()
    assert (settled_folder(path) / "config.json").read_text() == "old"
    with replace_folder(path, "config.json") as new:
        fill("newer")(new)
    assert (settled_folder(path) / "config.json").read_text() == "newer"
    assert [p.name for p in tmp_path.iterdir()] == ["best"]


def test_a_rename_that_fails_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "best"
    with replace_folder(path, "config.json") as new:
        fill("old")(new)
    real_rename = os.rename

    def rename(source: Path, target: Path) -> None:
        if ".new" in str(source):
            raise OSError("disk trouble")
        real_rename(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="disk trouble"), replace_folder(path, "config.json") as new:
        fill("new")(new)
    assert (path / "config.json").read_text() == "old"


LEAVE = """
import os, signal, sys
from videoswin.storage.atomic import replace_file
with replace_file(sys.argv[1]) as new:
    new.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    subprocess.run([sys.executable, "-c", LEAVE, path], check=False)
    assert [p.name for p in tmp_path.iterdir()] != []
    with replace_file(path) as new:
        new.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_of_many_files_is_not_looked_through_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of a million clips stand in one folder."""
    (tmp_path / "files").mkdir()
    if (tmp_path / "files").stat().st_nlink != 2:
        pytest.skip("a file system that does not count the folders in a folder")
    looked: list[object] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: (looked.append(place), scandir(place))[1])
    with replace_file(tmp_path / "files" / "one") as new:
        new.write_text("one")
    assert not [place for place in looked if place == tmp_path / "files"]


def test_a_writer_that_lives_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    with replace_file(path) as slow:
        slow.write_text("slow")
        with replace_file(path) as fast:
            assert fast != slow
            fast.write_text("fast")
        assert path.read_text() == "fast"
    assert path.read_text() == "slow"
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_many_writers_of_one_name_leave_one_whole_version(tmp_path: Path) -> None:
    def write(number: int) -> None:
        with replace_file(tmp_path / "notes.txt") as new:
            new.write_text(str(number) * 1000)
        with replace_folder(tmp_path / "best", "config.json") as new:
            fill(str(number))(new)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, [n % 10 for n in range(60)]))
    assert len(set((tmp_path / "notes.txt").read_text())) == 1
    assert (tmp_path / "best" / "config.json").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best", "notes.txt"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_file_is_readable_as_the_umask_says(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with replace_file(tmp_path / "notes.txt") as new:
            new.write_text("x")
        write_tensors(tmp_path / "w.safetensors", {"w": torch.zeros(2)})
        with replace_folder(tmp_path / "best", "w.safetensors") as folder:
            write_tensors(folder / "w.safetensors", {"w": torch.zeros(2)})
        with replace_together(tmp_path, last="m.xml") as folder:
            (folder / "m.xml").write_text("x")
    finally:
        os.umask(before)
    for name in ("notes.txt", "w.safetensors", "best/w.safetensors", "m.xml"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "best").stat().st_mode & 0o777 == 0o777 & ~umask


def save_text(path: Path) -> None:
    with replace_file(path) as new:
        new.write_text("x" * 500_000)


def save_torch(path: Path) -> None:
    with replace_file(path) as new:
        torch.save(torch.zeros(100_000), new)


def save_safetensors(path: Path) -> None:
    write_tensors(path, {"w": torch.zeros(100_000)})


@pytest.mark.parametrize("save", [save_text, save_torch, save_safetensors])
def test_a_disk_that_takes_no_more_is_one_line_and_the_old_file_stays(
    tmp_path: Path, save: Callable[[Path], None]
) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "model.bin"
    path.write_text("old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    try:
        with pytest.raises(OutputError) as caught:
            save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value).startswith(f"{path}: it cannot be written: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.bin"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_named(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(OutputError, match=r"notes.txt: it cannot be written: the disk .* Make room"),
        replace_file(tmp_path / "notes.txt"),
    ):
        raise error
    with (
        pytest.raises(OutputError, match=r"best: it cannot be written: the disk .* Make room"),
        replace_folder(tmp_path / "best", "x"),
    ):
        raise error


def test_errors_inside_a_folder_name_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "best"
    with pytest.raises(WeightsError) as caught, replace_folder(path, "x") as new:
        write_tensors(new / "w.safetensors", {"w": torch.tensor([float("nan")])})
    assert str(caught.value).startswith(f'{path}: tensor "w" holds NaN')
    with pytest.raises(OutputError) as full, replace_folder(path, "x") as new, replace_file(new / "w"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(full.value).startswith(f"{path}: it cannot be written: the disk is full")
    other = tmp_path / "other.pth"
    with pytest.raises(WeightsError, match=r"other\.pth: no"), replace_folder(path, "x"):
        raise WeightsError(other, "no")


def test_an_error_about_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), replace_file(tmp_path / "notes.txt"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/clip.mp4")
    with pytest.raises(ValueError, match="of the caller"), replace_file(tmp_path / "notes.txt"):
        raise ValueError("of the caller")


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    (tmp_path / "link.txt").symlink_to("kept.txt")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, reason in {
        "link.txt": r"this is a link \(to kept.txt\)",
        "dangling": "nothing is written through links",
        "pipe": "a device or a pipe",
        "folder": "this is a folder",
    }.items():
        with pytest.raises(OutputError, match=reason), replace_file(tmp_path / name):
            pass
    assert (tmp_path / "kept.txt").read_text() == "kept"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert (tmp_path / "link.txt").is_symlink()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the folder it should stand in does not exist"):
        save_text(tmp_path / "none" / "x.txt")


def test_folders_of_other_things_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(WeightsError, match=r"holds other things \(no config.json\)"),
        replace_folder(tmp_path, "config.json"),
    ):
        pass
    with (
        pytest.raises(WeightsError, match="a file or a link"),
        replace_folder(tmp_path / "thesis.txt", "config.json"),
    ):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with replace_folder(tmp_path / "out", "config.json") as new:
        fill("x")(new)
    assert (tmp_path / "out" / "config.json").is_file()


def test_files_are_replaced_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text("old")
    with pytest.raises(OSError, match="disk full"), replace_together(tmp_path, last="m.xml") as new:
        half_written(new / "m.xml")
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("m.xml", "old")]
    with replace_together(tmp_path, last="m.xml") as new:
        assert list(new.iterdir()) == []
        (new / "m.xml").write_text("new")
        (new / "m.bin").write_text("new")
    assert {(f.name, f.read_text()) for f in tmp_path.iterdir()} == {("m.xml", "new"), ("m.bin", "new")}
