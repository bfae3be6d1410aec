"""Errors are one line, keep their parts, travel between processes and name what was meant."""

import multiprocessing
import pickle
from copy import copy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videoswin import errors
from videoswin.errors import ConfigError, MissingExtraError, VideoError, VideoSwinError, WeightsError, nearest

FILE_ERRORS = [VideoError, WeightsError]


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name[0].isupper()])
def test_one_root_catches_all(name: str) -> None:
    assert issubclass(getattr(errors, name), VideoSwinError)
    assert issubclass(getattr(errors, name), Exception)


def test_python_callers_may_catch_the_builtin_kinds() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(MissingExtraError, ImportError)
    assert str(ConfigError("frames=0 must be positive.")) == "frames=0 must be positive."


@pytest.mark.parametrize("kind", FILE_ERRORS)
def test_a_file_error_reads_path_reason_hint(kind: type[VideoError]) -> None:
    error = kind(Path("a") / "clip.mp4", "the file is cut short.", "Download it again.")
    assert str(error) == f"{Path('a') / 'clip.mp4'}: the file is cut short. Download it again."
    assert (error.path, error.reason, error.hint) == (
        str(Path("a") / "clip.mp4"),
        "the file is cut short",
        "Download it again.",
    )


@pytest.mark.parametrize("kind", FILE_ERRORS)
def test_the_hint_is_optional(kind: type[VideoError]) -> None:
    assert str(kind("clip.mp4", "no video stream")) == "clip.mp4: no video stream."


@given(st.text(), st.text(), st.text())
def test_any_text_stays_on_one_line(path: str, reason: str, hint: str) -> None:
    """File names and messages of other libraries may hold anything."""
    assert len(str(VideoError(path, reason, hint)).splitlines()) <= 1


def test_what_no_terminal_can_print_is_escaped() -> None:
    """A file name may hold undecodable bytes, which print() refuses, or escape codes, which a terminal obeys."""
    text = str(VideoError("clip\udcff\x1b[2J.mp4", "no video stream"))
    assert text.isprintable()
    assert text == r"clip\udcff\x1b[2J.mp4: no video stream."


@given(st.text(), st.text(), st.text())
def test_copies_are_equal(path: str, reason: str, hint: str) -> None:
    error = WeightsError(path, reason, hint)
    for twin in (copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is WeightsError
        assert (twin.path, twin.reason, twin.hint, str(twin)) == (error.path, error.reason, error.hint, str(error))


def _fail(path: str) -> None:
    raise VideoError(path, "no video stream", "Give another file.")


def test_an_error_of_a_worker_process_reaches_the_parent_whole() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(VideoError) as caught:
        pool.apply(_fail, ("clip.mp4",))
    assert str(caught.value) == "clip.mp4: no video stream. Give another file."


@pytest.mark.parametrize(
    ("name", "valid", "words"),
    [
        ("swin3d_tn", ["swin3d_t", "vivit"], 'Did you mean "swin3d_t"?'),
        ("FRAMES", ["frames", "height"], 'Did you mean "frames"?'),
        ("zzz", ["b", "a"], "Choose one of: a, b."),
        ("", ["b", "a"], "Choose one of: a, b."),
        ("left", ["LEFT", "RIGHT"], 'Did you mean "LEFT"?'),
    ],
)
def test_nearest(name: str, valid: list[str], words: str) -> None:
    assert nearest(name, valid) == words
    assert nearest(name, iter(valid)) == words  # any iterable, read once


@given(st.text(max_size=20), st.lists(st.text("abcxyz_", min_size=1), min_size=1, max_size=5))
def test_nearest_names_only_valid_names(name: str, valid: list[str]) -> None:
    ending = nearest(name, valid)
    assert ending.startswith("Choose one of: ") or ending.split('"')[1] in valid
