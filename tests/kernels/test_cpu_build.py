"""The compiled library is this user's own, whole, and made once; where it cannot be had, the reason is told."""

import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from videoswin.kernels import cpu_build
from videoswin.kernels.cpu_build import library, why_not

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")
SMALL_SOURCE = "int box_attention(void) { return 7; }\n"  # compiles in no time


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own, nothing built yet, and a source that is quick to compile."""
    source = tmp_path / "box_attention.c"
    source.write_text(SMALL_SOURCE)
    folder = tmp_path / "cache"
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(folder))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(cpu_build, "_SOURCE", source)
    monkeypatch.setattr(cpu_build, "_built", None)
    return folder


def anew(monkeypatch: pytest.MonkeyPatch) -> str:
    """As the next process would find it."""
    monkeypatch.setattr(cpu_build, "_built", None)
    return why_not()


def built(cache: Path) -> Path:
    (file,) = (cache / "engine").iterdir()
    return file


def compiler(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_it_is_compiled_once_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not() == ""
    assert library().box_attention() == 7  # type: ignore[union-attr]
    kept = built(cache)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    before = kept.stat().st_mtime_ns
    monkeypatch.setenv("PATH", "")  # no compiler is needed any more
    assert anew(monkeypatch) == ""
    assert built(cache).stat().st_mtime_ns == before


def test_another_source_is_compiled_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not() == ""
    cpu_build._SOURCE.write_text(SMALL_SOURCE.replace("7", "8"))
    assert anew(monkeypatch) == ""
    assert library().box_attention() == 8  # type: ignore[union-attr]
    assert len(list((cache / "engine").iterdir())) == 2


def damage(file: Path, contents: bytes) -> None:
    """As another file: the old one is loaded in this process."""
    file.unlink()
    file.write_bytes(contents)
    file.chmod(0o700)


@pytest.mark.parametrize("left", [0, 100, 5000, -1])
def test_a_cut_file_is_made_again(cache: Path, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    """Loading one would end the process."""
    assert why_not() == ""
    contents = built(cache).read_bytes()
    damage(built(cache), contents[:left])
    assert anew(monkeypatch) == ""
    assert built(cache).read_bytes() == contents


def test_a_changed_file_is_made_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not() == ""
    contents = built(cache).read_bytes()
    damage(built(cache), contents[:999] + bytes([contents[999] ^ 1]) + contents[1000:])
    assert anew(monkeypatch) == ""
    assert built(cache).read_bytes() == contents


def test_a_file_of_another_name_is_left_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "engine").mkdir(parents=True, mode=0o700)
    foreign = cache / "engine" / "box_attention-0123.so"
    foreign.write_text("mine")
    assert why_not() == ""
    assert foreign.read_text() == "mine"


# Whose it is --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["file", "folder"])
def test_what_others_can_write_is_not_loaded(cache: Path, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    assert why_not() == ""
    path = built(cache) if which == "file" else cache / "engine"
    for mode in (0o720, 0o702, 0o777):
        path.chmod(mode)
        assert "can be written by others, and code is not loaded from there (chmod go-w)" in anew(monkeypatch)
    path.chmod(0o700)
    assert anew(monkeypatch) == ""


def test_a_parent_that_others_can_write_is_not_trusted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    assert f"{cache}, above engine, belongs to others or can be written by them" in why_not()
    cache.chmod(0o1777)  # as /tmp: others can rename their own things only
    assert anew(monkeypatch) == ""
    cache.chmod(0o777)
    assert f"{cache}, above " in anew(monkeypatch)


def test_a_group_of_the_users_own_is_the_user(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir()
    cache.chmod(0o770)
    monkeypatch.setattr(cpu_build, "_is_own_group", lambda gid: False)
    assert f"{cache}, above engine" in why_not()
    monkeypatch.setattr(cpu_build, "_is_own_group", lambda gid: True)
    assert anew(monkeypatch) == ""


@pytest.mark.parametrize("which", ["file", "folder"])
def test_nothing_is_loaded_through_a_link(cache: Path, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    assert why_not() == ""
    path = built(cache) if which == "file" else cache / "engine"
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(moved)
    assert "is a link, and code is not loaded through one; VIDEOSWIN_CACHE can name" in anew(monkeypatch)


def test_another_users_is_not_loaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not() == ""
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    assert "belongs to another user, and code is not loaded from there" in anew(monkeypatch)


def test_a_link_above_the_cache_may_be_the_users(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a home folder lies on another disk."""
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "home").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "home" / "cache"))
    assert why_not() == ""
    (tmp_path / "elsewhere").chmod(0o777)
    assert f"{tmp_path / 'elsewhere'}, above " in anew(monkeypatch)


# Where it cannot be had ---------------------------------------------------------------------------------------------------


def test_without_a_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert why_not() == "no C compiler was found (cc, or $CC)"
    assert library() is None


def test_a_compiler_of_several_words(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As "ccache gcc", or "gcc -m64"."""
    monkeypatch.setenv("CC", f"{compiler(tmp_path / 'my cache', 'exec ' + chr(34) + '$@' + chr(34))!r} cc -DWORDS")
    assert why_not() == ""


def test_a_compiler_that_cannot_be_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "gcc 'open")
    assert "$CC cannot be read" in why_not()


def test_a_broken_compiler_is_told(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", compiler(tmp_path / "cc", "echo no such flag >&2; exit 1"))
    assert why_not() == f"{tmp_path / 'cc'} could not compile it (no such flag)"
    assert list((cache / "engine").iterdir()) == []


def test_a_slow_compiler_is_told(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(command: list[str], **_: object) -> None:
        raise subprocess.TimeoutExpired(command, 120)

    monkeypatch.setattr(subprocess, "run", slow)
    assert "took longer than 120 s" in why_not()


def test_what_cannot_be_loaded_is_told(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the cache is mounted "noexec", or a compiler makes code for other machines."""
    script = 'while [ "$1" != -o ]; do shift; done; echo "no library" > "$2"'
    monkeypatch.setenv("CC", compiler(tmp_path / "cc", script))
    assert "it could not be kept or loaded (" in why_not()
    assert "VIDEOSWIN_CACHE can name another folder" in why_not()


def test_a_cache_that_cannot_be_written_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write_text("a file where the folder should be")
    assert "it could not be kept or loaded (" in why_not()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="nothing is read-only to the administrator")
def test_a_read_only_cache_is_told(cache: Path) -> None:
    cache.mkdir(mode=0o500)
    assert "it could not be kept or loaded (" in why_not()


# Once at a time -----------------------------------------------------------------------------------------------------------


def test_two_threads_compile_once(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setenv("CC", compiler(tmp_path / "cc", f'echo run >> "{runs}"; exec cc "$@"'))
    reasons: list[str] = []
    threads = [threading.Thread(target=lambda: reasons.append(why_not())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert reasons == [""] * 4
    assert runs.read_text() == "run\n"
