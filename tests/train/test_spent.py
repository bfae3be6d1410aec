"""Where the time of a run goes."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.train.helpers import Recorder, interrupter, tiny_trainer
from videoswin.errors import Interrupted
from videoswin.train.metrics import EpochRow, read_rows, write_rows
from videoswin.train.spent import Spent, about_waiting, seconds_by_name, spent_on

ROW = EpochRow(1, 1.0, 0.5, None, None, 5e-4, 40.0, 2.0, data_s=10.0, step_s=30.0, val_s=5.0, write_s=5.0)
OLD = EpochRow(1, 1.0, 0.5, None, None, 5e-4, 40.0, 2.0)


def test_the_clock_is_read_also_when_something_goes_wrong():
    spent = Spent()

    def fail() -> None:
        with spent.on("val_s"):
            time.sleep(0.01)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with spent.on("val_s"):
        pass
    assert spent.val_s >= 0.01
    assert (spent.data_s, spent.step_s, spent.write_s) == (0, 0, 0)


@pytest.mark.usefixtures("without_pictures")
def test_every_epoch_has_its_times(videos: Path, tmp_path: Path):
    trainer = tiny_trainer(videos, tmp_path / "run", epochs=2)
    for row in trainer.run(Recorder()):
        for name in ("data_s", "step_s", "val_s", "write_s"):
            assert getattr(row, name) > 0
        assert (row.data_s or 0) + (row.step_s or 0) <= row.seconds
    assert [row.data_s for row in read_rows(tmp_path / "run" / "metrics.csv")] == [
        pytest.approx(row.data_s, rel=1e-4) for row in trainer.rows
    ]


@pytest.mark.usefixtures("without_pictures")
def test_a_stopped_epoch_keeps_its_times(videos: Path, tmp_path: Path):
    first = tiny_trainer(videos, tmp_path / "run")
    with pytest.raises(Interrupted):
        first.run(interrupter(1, 2))
    second = tiny_trainer(videos, tmp_path / "run")
    second.resume()
    assert second.progress.spent.step_s > 0
    assert second.progress.spent.data_s == pytest.approx(first.progress.spent.data_s)


def test_rows_without_times_are_read(tmp_path: Path):
    write_rows(tmp_path / "m.csv", [OLD])
    assert "data_s" not in (tmp_path / "m.csv").read_text()
    write_rows(tmp_path / "m.csv", [OLD, replace(ROW, epoch=2)])  # an older run, gone on with
    assert read_rows(tmp_path / "m.csv") == [OLD, replace(ROW, epoch=2)]


def test_in_words():
    assert seconds_by_name([ROW, ROW, OLD], 0) == {
        "decoding and varying clips": 20,
        "forward and backward passes": 60,
        "validation": 10,
        "writing checkpoints": 10,
    }
    assert spent_on([ROW], 2).startswith("waiting for clips 20% (10.0 s), ")
    assert spent_on([OLD], 0) == ""


def test_advice_on_waiting():
    waits = replace(ROW, data_s=30.0)
    assert about_waiting([replace(ROW, data_s=5.0)], 0, 8, False) == []
    assert about_waiting([replace(waits, data_s=3.0, step_s=3.0)], 0, 8, False) == []  # too short to matter
    (line,) = about_waiting([waits], 0, 8, False)
    assert "50% of the time of training: try --workers 7, or videoswin pack" in line
    (line,) = about_waiting([waits], 7, 8, False)
    assert "try videoswin pack" in line
    (line,) = about_waiting([waits], 0, 2, True)  # decoded beforehand: packing would not help
    assert line.endswith("try --workers 1.")
    (line,) = about_waiting([waits], 1, 2, True)
    assert "try --augment standard" in line
