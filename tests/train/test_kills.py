"""A run that is killed at any moment, again and again, ends with the bits of a run that nobody disturbed."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.train.helpers import Recorder, same, tiny_trainer, weights
from videoswin.storage.atomic import settled_folder
from videoswin.weights.safetensors import read_tensors

KILLS = 50

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_pictures")]


def go_on(videos: Path, out: Path) -> None:
    """One process of a run: begins it, or goes on from the last state."""
    trainer = tiny_trainer(videos, out)
    if settled_folder(out / "last").is_dir():
        trainer.resume()
    trainer.run(Recorder())


def killed(videos: Path, out: Path, after_s: float) -> bool:
    """Whether the process was killed before it was through."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            go_on(videos, out)
            code = 0
        finally:
            os._exit(code)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"{out} cannot be gone on with"
    return os.WIFSIGNALED(status)


def test_fifty_kills(videos: Path, tmp_path: Path) -> None:
    trainer = tiny_trainer(videos, tmp_path / "whole")
    begun = time.perf_counter()
    trainer.run(Recorder())
    seconds = time.perf_counter() - begun
    draw, kills, runs = random.Random(0), 0, 0
    while kills < KILLS:
        out = tmp_path / f"run{runs}"
        while killed(videos, out, draw.uniform(0, 0.7 * seconds)):
            kills += 1
        runs += 1
        assert same(read_tensors(out / "last" / "model.safetensors"), weights(trainer))
