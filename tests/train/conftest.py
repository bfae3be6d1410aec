import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train.helpers import Recorder, make_videos, tiny_trainer


@pytest.fixture(scope="package", autouse=True)
def without_power_cuts() -> Iterator[None]:
    """Waiting for the disk is for power cuts, which tests do not have; they save hundreds of checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two class folders with six videos each. Read only."""
    return make_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def whole(videos: Path, tmp_path_factory: pytest.TempPathFactory):
    """An uninterrupted run: its trainer, rows and watch. Read only."""
    trainer = tiny_trainer(videos, tmp_path_factory.mktemp("whole") / "run")
    watch = Recorder()
    return trainer, trainer.run(watch), watch


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves take longer than an epoch here; the run of the fixture ``whole`` draws them."""
    monkeypatch.setattr("videoswin.train.loop.draw_curves", lambda path, rows: None)
