import os
from pathlib import Path

import pytest

from videoswin.errors import OutputError
from videoswin.storage.outputs import EXPORTED, PAGE, PICTURE, RECORDING, csv_table, require_writable_output

OURS = b'<!DOCTYPE html><html><meta name="generator" content="videoswin">'


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


def test_a_new_name_in_a_folder_is_fine(page: Path) -> None:
    assert require_writable_output(page, PAGE, inputs=["clip.mp4", 0, "rtsp://127.0.0.1/x", "a\0b"]) == page
    assert list(page.parent.iterdir()) == []


def test_a_relative_name_is_fine(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page.parent)
    assert require_writable_output("report.html", PAGE) == Path("report.html")


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (PAGE, OURS),
        (PAGE, b""),
        (PICTURE, b"\x89PNG\r\n\x1a\n" + b"tEXtSoftware\0videoswin"),
        (RECORDING, b"\0\0\0 ftypisom" + b"\0" * 200_000 + b"videoswin"),
        (EXPORTED, b"\x08\x07videoswin"),
        (csv_table("path", "label"), b"path,label\r\na,b\r\n"),
    ],
)
def test_an_older_file_of_the_kind_may_be_replaced(page: Path, kind: object, content: bytes) -> None:
    page.write_bytes(content)
    assert require_writable_output(page, kind) == page  # type: ignore[arg-type]
    assert page.read_bytes() == content


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (PAGE, b"<!doctype html><title>years of work</title>"),
        (PAGE, b"videoswin is what I write my thesis about"),
        (PICTURE, OURS),
        (RECORDING, b"\0\0\0 ftypisom" + b"\0" * 300_000),
        (EXPORTED, b"\0" * 100_000 + b"videoswin" + b"\0" * 100_000),
        (csv_table("path", "label"), b"path,label,split\r\n"),
    ],
)
def test_any_other_file_is_left_alone(page: Path, kind: object, content: bytes) -> None:
    page.write_bytes(content)
    with pytest.raises(OutputError, match=r"and it is left alone\. Give another name, or remove it first"):
        require_writable_output(page, kind)  # type: ignore[arg-type]


def test_an_input_is_never_an_output(page: Path) -> None:
    page.write_bytes(OURS)
    hard = page.with_name("hard.html")
    os.link(page, hard)
    link = page.with_name("link.html")
    link.symlink_to(page)
    for source in (page, str(hard), link):
        with pytest.raises(OutputError, match="this is the input itself"):
            require_writable_output(page, PAGE, inputs=["other.mp4", source])
    with pytest.raises(
        OutputError, match=r"this is the input itself.* Give another name"
    ):  # not: give the file behind it
        require_writable_output(link, PAGE, inputs=[page])


def test_links_devices_and_folders_are_refused(page: Path) -> None:
    page.symlink_to("nowhere.html")
    os.mkfifo(page.with_name("pipe"))
    for path, reason in {
        page: "nothing is written through links",
        page.with_name("pipe"): "a device or a pipe",
        Path("/dev/null"): "a device or a pipe",
        page.parent: "this is a folder",
    }.items():
        with pytest.raises(OutputError, match=reason):
            require_writable_output(path, PAGE)


def test_links_on_the_way_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to("disk")
    require_writable_output(tmp_path / "results" / "report.html", PAGE)


def test_a_folder_that_is_missing_or_closed_is_known_before_the_work(page: Path) -> None:
    with pytest.raises(OutputError, match="the folder it should stand in does not exist"):
        require_writable_output(page / "x" / "report.html", PAGE)
    with pytest.raises(OutputError, match="nothing can be written in its folder"):
        require_writable_output("/proc/report.html", PAGE)
