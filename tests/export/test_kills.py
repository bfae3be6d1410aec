"""``export`` and ``convert`` may be stopped at any moment: the file is the old one or the new one, whole, and nothing else is
left; of kill -9, nothing that the next run does not remove."""

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tiny import tiny_classifier
from videoswin.cli.output import DONE, INTERRUPTED
from videoswin.export import export
from videoswin.export.runtime import load_exported
from videoswin.weights.checkpoint import load_checkpoint
from videoswin.weights.convert import convert_model

KILLS = 10  # of each verb, by each signal

pytestmark = pytest.mark.slow


def run(arguments: Sequence[str], number: signal.Signals | None = None, after_s: float = 0.0) -> int:
    """The exit code of a command that gets a signal after a while."""
    command = [sys.executable, "-m", "videoswin", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        if number is not None:
            try:
                process.wait(after_s)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
        _, errors = process.communicate()
    assert "Traceback" not in errors, errors
    # An interrupt that passes through exec() of a text is remembered by Python (3.11): it says goodbye by SIGINT, which a
    # shell shows as 130 too.
    return INTERRUPTED if process.returncode == -signal.SIGINT else process.returncode


def stop_at_many_moments(
    arguments: Sequence[str], folder: Path, number: signal.Signals, new: Path | None = None
) -> list[int]:
    """Exit codes; the folder's files are looked at after each. ``new``: a file of weights that must not be there before."""
    begun = time.perf_counter()
    assert run(arguments) == DONE
    seconds = time.perf_counter() - begun
    names = {path.name for path in folder.iterdir()}
    codes = []
    for kill in range(KILLS):
        if new is not None:
            new.unlink(missing_ok=True)
        begun = time.perf_counter()
        codes.append(run(arguments, number, after_s=seconds * (kill + 0.5) / KILLS))
        if codes[-1] == DONE:  # the machine was busier before: from now on the moments are nearer to each other
            seconds = min(seconds, time.perf_counter() - begun)
        if number == signal.SIGTERM:
            assert {path.name for path in folder.iterdir()} <= names
        if new is not None and new.exists():
            load_checkpoint(new)
    if new is not None:
        new.unlink(missing_ok=True)
    assert run(arguments) == DONE
    assert {path.name for path in folder.iterdir()} == names  # a killed one's left-overs went with the next run
    return codes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_export(number: signal.Signals, tmp_path: Path) -> None:
    classifier = tiny_classifier()
    classifier.save(tmp_path / "ck")
    folder = tmp_path / "out"
    folder.mkdir()
    export(classifier, folder / "m.xml", "openvino")
    order = ["export", str(tmp_path / "ck"), "--to", "openvino", "--out", str(folder / "m.xml")]
    codes = stop_at_many_moments(order, folder, number)
    load_exported(folder / "m.xml")
    if number == signal.SIGTERM:
        # Before Python has come to the command, the signal ends the process as it does any other.
        assert set(codes) <= {DONE, INTERRUPTED, -signal.SIGTERM}
        assert INTERRUPTED in codes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_convert(number: signal.Signals, tmp_path: Path) -> None:
    """Which writes new files only: each run finds the folder as the last one left it, but for a finished file."""
    folder, target = tmp_path / "out", tmp_path / "out" / "w.pth"
    folder.mkdir()
    convert_model(tiny_classifier().model, tmp_path / "theirs.pth", "official")
    order = ["convert", str(tmp_path / "theirs.pth"), str(target), "--to", "torchvision"]
    codes = stop_at_many_moments(order, folder, number, new=target)
    assert set(codes) <= {DONE, INTERRUPTED, -number}
