"""Downloads, from a server on this machine that can misbehave."""

import errno
import hashlib
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPMessage
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request

import pytest

from tests.storage.server import Site, serve
from videoswin.errors import OutputError, WeightsError
from videoswin.storage import download
from videoswin.storage import http as transfer
from videoswin.storage.download import cache_folder, cached_file, fetch, shown

CONTENT = bytes(range(256)) * 4000  # 1 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "_PAUSES_S", (0, 0, 0, 0, 0))
    return tmp_path / "cache"


@pytest.fixture
def site() -> Iterator[Site]:
    with serve(Site(CONTENT)) as running:
        yield running


def refused(site_or_url: Site | str, **options: Any) -> str:
    url = site_or_url if isinstance(site_or_url, str) else site_or_url.url
    with pytest.raises(WeightsError) as caught:
        fetch(url, "weights.pth", **options)
    message = str(caught.value)
    assert "weights.pth" in message
    assert "\n" not in message
    assert caught.value.hint
    return message


# --- once ---


def test_a_file_is_downloaded_once_and_whole(site: Site, cache: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    assert cached_file("weights.pth") is None
    path = fetch(site.url, "weights.pth", SHA256[:8], lambda done, total: seen.append((done, total)))
    assert path == cache / "weights.pth" == cached_file("weights.pth")
    assert path.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(site.url, "weights.pth", SHA256[:8]) == path
    assert site.requests == [""]
    kept = sorted(file.name for file in cache.iterdir() if not file.name.endswith(".lock"))
    assert kept == ["weights.pth", "weights.pth.sha256"]


def test_afterwards_no_network_is_needed(site: Site) -> None:
    fetch(site.url, "weights.pth")
    assert fetch("https://unreachable.invalid/weights.pth", "weights.pth").read_bytes() == CONTENT


def test_a_server_that_does_not_say_how_long_the_file_is(site: Site) -> None:
    site.length = False
    assert fetch(site.url, "weights.pth").read_bytes() == CONTENT


def test_two_processes_download_once(site: Site, cache: Path) -> None:
    script = "import sys; from videoswin.storage.download import fetch; print(fetch(sys.argv[1], 'weights.pth'))"
    command = [sys.executable, "-c", script, site.url]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in running] == [str(cache / "weights.pth")] * 2
    assert site.requests == [""]


# --- interruptions ---


def test_an_interrupted_download_goes_on_where_it_stopped(site: Site) -> None:
    site.cut_after = [300_000, 200_000]
    assert fetch(site.url, "weights.pth", SHA256).read_bytes() == CONTENT
    assert site.requests == ["", "bytes=300000-", "bytes=500000-"]


def test_another_session_goes_on_too(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.cut_after = [300_000]
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    message = refused(site)
    assert "the server stopped after 300,000 of 1,024,000 bytes" in message
    assert "300,000 bytes are there" in message
    assert not (cache / "weights.pth").exists()
    assert fetch(site.url, "weights.pth", SHA256).read_bytes() == CONTENT
    assert site.requests == ["", "bytes=300000-"]


def test_a_server_without_ranges_starts_over(site: Site) -> None:
    site.ranges, site.cut_after = False, [300_000]
    assert fetch(site.url, "weights.pth", SHA256).read_bytes() == CONTENT
    assert site.requests == ["", "bytes=300000-"]


@pytest.mark.parametrize("etag", ['"v2"', None], ids=["another mark", "no mark, another length"])
def test_halves_of_two_versions_are_not_glued_together(
    site: Site, etag: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.etag = '"v1"' if etag else None
    site.cut_after = [300_000]
    with monkeypatch.context() as once:
        once.setattr(download, "_ATTEMPTS", 1)
        refused(site)
    site.content, site.etag = b"new" * 200_000, etag
    assert fetch(site.url, "weights.pth").read_bytes() == site.content


def test_a_wrong_part_is_not_glued_on(site: Site) -> None:
    site.cut_after, site.wrong_part = [300_000], True
    assert fetch(site.url, "weights.pth", SHA256).read_bytes() == CONTENT
    assert site.requests == ["", "bytes=300000-", ""]


def test_cut_off_between_the_last_byte_and_the_rename(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as once:
        once.setattr(transfer, "_copy", _then_die(transfer._copy))
        with pytest.raises(KeyboardInterrupt):
            fetch(site.url, "weights.pth")
    assert (cache / "weights.pth.part").stat().st_size == len(CONTENT)
    assert fetch(site.url, "weights.pth", SHA256).read_bytes() == CONTENT
    assert site.requests == ["", f"bytes={len(CONTENT)}-"]


def _then_die(function: Any) -> Any:
    def wrapped(*arguments: Any) -> None:
        function(*arguments)
        raise KeyboardInterrupt

    return wrapped


def test_a_busy_server_is_asked_again_but_not_for_ever(site: Site) -> None:
    site.statuses = [503, 429]
    assert fetch(site.url, "weights.pth").read_bytes() == CONTENT
    assert len(site.requests) == 3


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(Site(b"")) as gone:
        url = gone.url
    assert "6 attempts, 0 bytes are there" in refused(url)


# --- refusals ---


def test_no_such_file(site: Site) -> None:
    site.statuses = [404]
    assert f"there is no such file at {site.url}" in refused(site)
    assert len(site.requests) == 1


def test_a_refusal_is_not_repeated(site: Site) -> None:
    site.statuses = [403]
    assert "HTTP 403" in refused(site)
    assert len(site.requests) == 1


def test_another_file_than_expected_is_removed(site: Site, cache: Path) -> None:
    message = refused(site, sha256="00ff")
    assert "should start with 00ff" in message
    assert SHA256 in message
    assert [file.name for file in cache.iterdir() if not file.name.endswith(".lock")] == []


@pytest.mark.parametrize("known", [None, SHA256[:8]])
def test_a_file_that_changed_in_the_cache_is_refused(site: Site, known: str | None) -> None:
    path = fetch(site.url, "weights.pth", known)
    path.write_bytes(b"x" + CONTENT[1:])
    assert "not what was downloaded" in refused(site, sha256=known)


def test_a_file_put_there_by_hand_is_taken_if_its_sum_is_right(site: Site, cache: Path) -> None:
    cache.mkdir()
    (cache / "weights.pth").write_bytes(CONTENT)
    assert fetch(site.url, "weights.pth", SHA256[:8]).read_bytes() == CONTENT
    assert "should start with 00" in refused(site, sha256="00")
    assert site.requests == []


@pytest.mark.parametrize("url", ["http://example.invalid/w.pth", "file:///etc/passwd", "ftp://example.invalid/w.pth"])
def test_only_https(url: str) -> None:
    assert "not https" in refused(url)


@pytest.mark.parametrize("target", ["http://example.invalid/w.pth", "ftp://example.invalid/w.pth"])
def test_redirects_lead_to_https_only(site: Site, target: str) -> None:
    site.redirect = target
    assert "which is not https" in refused(site)


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/w", "HTTP://localhost:1/w", "http://example.invalid/w", "file:///w"]
)
def test_a_server_elsewhere_does_not_lead_to_this_machine(target: str) -> None:
    request = Request("https://example.invalid/w.pth")
    with pytest.raises(transfer.Refused, match="which is not https"):
        transfer._SafeRedirects().redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), target)


def test_a_scheme_in_capitals_is_the_same(site: Site) -> None:
    assert "not https" in refused("HTTP://example.invalid/w.pth")
    assert fetch(site.url.replace("http://", "HTTP://"), "weights.pth").read_bytes() == CONTENT


# --- what a server may cost ---


@pytest.mark.parametrize("length", [True, False], ids=["announced", "not announced"])
def test_a_file_that_is_too_large_is_refused_and_removed(site: Site, cache: Path, length: bool) -> None:
    site.length = length
    assert "it has more than 500,000 bytes" in refused(site, max_bytes=500_000)
    assert len(site.requests) == 1
    assert not [file.name for file in cache.iterdir() if file.name.endswith(".part")]


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e6", "0x10"])
def test_an_impossible_length_is_one_line(site: Site, length: str) -> None:
    site.headers = {"Content-Length": length}
    assert "it announces a length of" in refused(site)


class Clock:
    """A minute passes with every look."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 60
        return self.time


def test_a_server_that_sends_a_byte_now_and_then_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.content, site.length, site.endless_body = b"x", False, True
    monkeypatch.setattr(transfer, "_now", Clock())
    monkeypatch.setattr(download, "_MAX_SECONDS", 1e9)
    message = refused(site)
    assert "bytes in a minute" in message
    assert "6 attempts" in message


def test_a_download_has_an_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_MAX_SECONDS", -1.0)
    assert "it takes too long; 1 attempts" in refused(site)


def test_headers_without_an_end_are_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_HEADERS_S", 0.05)
    monkeypatch.setattr(download, "_ATTEMPTS", 1)
    site.endless_headers = True
    assert "its headers take too long" in refused(site)


def test_another_file_than_was_wanted_is_removed(site: Site, cache: Path) -> None:
    seen: list[bytes] = []

    def check(file: Path) -> None:
        seen.append(file.read_bytes())
        raise WeightsError(file, "it is a cat", "Feed it")

    message = refused(site, check=check)
    assert "is not the file that was expected (it is a cat). It was removed." in message
    assert seen == [CONTENT]
    assert [file.name for file in cache.iterdir() if not file.name.endswith(".lock")] == []


# --- the disk ---


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_space_is_asked_for_before(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**30, 2**30 - 1000, 1000))
    assert "the disk is full (1,024,000 bytes are needed and 1,000 are free)" in refused(site)
    assert not (cache / "weights.pth.part").exists()


def test_a_disk_that_fills_up_meanwhile(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "transfer", raise_(OSError(errno.ENOSPC, "No space left on device")))
    assert "the disk is full (No space left on device)" in refused(site)


def test_a_disk_that_takes_no_more_is_not_asked_again(site: Site) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        assert "it cannot be stored (File too large)" in refused(site)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(site.requests) == 1


def test_nothing_is_written_through_a_link(site: Site, cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    (tmp_path / "thesis.txt").write_text("years of work")
    (cache / "weights.pth.part").symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(OutputError, match="nothing is written through links"):
        fetch(site.url, "weights.pth")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def raise_(error: Exception) -> Any:
    def function(*_: object) -> None:
        raise error

    return function


def test_a_cache_that_cannot_be_written(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "file"))
    assert "VIDEOSWIN_CACHE" in refused(site)


# --- the place, and what is shown ---


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VIDEOSWIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "videoswin"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_folder() == Path.home() / ".cache" / "videoswin"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "videoswin"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_folder() == tmp_path / "videoswin" / "Cache"


def test_a_person_sees_a_bar_and_a_pipe_does_not(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown("nothing") as progress:
        progress(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with shown("swin3d_t") as progress:
        fetch(site.url, "weights.pth", None, progress)
    assert "downloading swin3d_t" in capsys.readouterr().err
