"""Folders as people have them: clutter is counted in one line, links are followed, frames are called what they are."""

from pathlib import Path

import pytest

from tests.data.test_annotations import refusal, summary, touch
from videoswin.data.annotations import read_index
from videoswin.data.folders import find_videos


def test_clutter_is_passed_over_and_counted(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4", "x/Thumbs.db", "x/desktop.ini", "y/b.mp4", "y/b.srt", "y/b.json", "y/c.LRV", "y/._b.mp4")
    touch(tmp_path, "x/@eaDir/a.mp4", "@eaDir/a.mp4", "__MACOSX/x/a.mp4", "lost+found/1.mp4", "notes.txt", "Thumbs.db")
    touch(tmp_path, "x/anna/1.mp4", "x/anna/2.mp4", "y/loop.gif")
    (tmp_path / "empty").mkdir()
    index = read_index(tmp_path)
    assert summary(index) == [("a.mp4", "x", ""), ("b.mp4", "y", "")]
    assert index.notes == (
        "passed over beside the clips: 7 other files (2 .db, 1 .ini, 1 .json, 1 .srt, 1 .lrv and 1 more), "
        "5 sub-folders with 2 videos, 1 empty class folder (empty).",
    )


def test_a_tidy_folder_has_no_notes(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4", "y/b.mp4", "README.txt", ".DS_Store", "x/.DS_Store")
    assert read_index(tmp_path).notes == ()


def test_links_are_followed(tmp_path: Path) -> None:
    store, data = tmp_path / "store", tmp_path / "data"
    touch(store, "blob1", "clips/b.mp4", "c.mp4")
    touch(data, "x/keep.txt", ".blobs/blob2")
    (data / "x/a.mp4").symlink_to(store / "blob1")
    (data / "x/in.mp4").symlink_to(data / ".blobs/blob2")
    (data / "y").symlink_to(store / "clips")
    assert summary(read_index(data)) == [("a.mp4", "x", ""), ("in.mp4", "x", ""), ("b.mp4", "y", "")]
    assert [Path(path).name for path in find_videos([data])] == ["a.mp4", "in.mp4", "b.mp4"]


def test_links_in_a_folder_with_a_list(tmp_path: Path) -> None:
    touch(tmp_path, "store/a.mp4", "data/keep.txt", "data/b.mp4")
    (tmp_path / "data/a.mp4").symlink_to(tmp_path / "store/a.mp4")
    (tmp_path / "data/labels.csv").write_text("path,label\na.mp4,x\nb.mp4,y\n")
    assert len(read_index(tmp_path / "data")) == 2, "the user named the folder"
    assert 'line 2: "a.mp4" leads out of the folder' in refusal(tmp_path / "data/labels.csv")[1]
    (tmp_path / "data/labels.csv").write_text("path,label\n../store/a.mp4,x\nb.mp4,y\n")
    assert "leads out of the folder" in refusal(tmp_path / "data")[1]


def test_links_that_lead_nowhere_or_in_a_circle(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4", "y/b.mp4")
    (tmp_path / "x/gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    (tmp_path / "x/self.mp4").symlink_to(tmp_path / "x/self.mp4")
    (tmp_path / "y/up").symlink_to(tmp_path)
    assert [line.split('"')[1] for line in refusal(tmp_path)[1:]] == ["x/gone.mp4", "x/self.mp4"]
    assert [Path(path).name for path in find_videos([tmp_path])] == ["a.mp4", "gone.mp4", "self.mp4", "b.mp4"]


def test_one_file_in_two_splits_by_links(tmp_path: Path) -> None:
    touch(tmp_path, "all/a.mp4", "all/b.mp4", "data/train/x/keep", "data/test/x/keep")
    for split, name in (("train", "a.mp4"), ("train", "b.mp4"), ("test", "a.mp4")):
        (tmp_path / "data" / split / "x" / name).symlink_to(tmp_path / "all" / name)
    notes = read_index(tmp_path / "data").notes
    assert notes[-1].endswith("make every figure look too good: a.mp4.")


def test_frames_that_belong_to_no_clip(tmp_path: Path) -> None:
    """Each clip's are a folder of their own (tests/data/test_forms.py)."""
    touch(tmp_path, *(f"x/{number:05d}.jpg" for number in range(3)))
    (line,) = refusal(tmp_path)
    assert "holds 1 folders of frames and no videos, such as x. The frames of a clip are a folder of their own" in line
    touch(tmp_path, "y/b.mp4", "z/b.mp4")
    assert "1 folder of frames (x). The frames of a clip" in read_index(tmp_path).notes[0]


def test_a_folder_of_frames_in_a_list(tmp_path: Path) -> None:
    touch(tmp_path, "clip1/1.jpg", "clip1/2.jpg")
    (tmp_path / "list.csv").write_text("path,label\nclip1,x\n")
    assert read_index(tmp_path / "list.csv").rows[0].path == tmp_path / "clip1"


def test_gifs_are_named_one_by_one(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4", "x/b.gif", "y/c.mp4")
    assert len(read_index(tmp_path)) == 2
    assert find_videos([tmp_path]) == [tmp_path / "x/a.mp4", tmp_path / "y/c.mp4"]
    assert find_videos([tmp_path / "x/b.gif"]) == [tmp_path / "x/b.gif"]
    (tmp_path / "list.csv").write_text("path,label\nx/b.gif,x\n")
    assert len(read_index(tmp_path / "list.csv")) == 1


def test_patterns_that_no_shell_has_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "b.mp4", "a.mp4", "odd[1].mp4")
    monkeypatch.chdir(tmp_path)
    assert find_videos(["?.mp4"]) == ["a.mp4", "b.mp4"]
    assert find_videos(["*.mkv"]) == ["*.mkv"]
    assert find_videos(["odd[1].mp4"]) == ["odd[1].mp4"], "a file of that name is meant"
