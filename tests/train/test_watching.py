"""Who looks on at a run."""

from pathlib import Path

import pytest

from tests.train.helpers import Recorder, tiny_trainer
from videoswin.cli.watch import _Log
from videoswin.errors import MissingExtraError
from videoswin.train.metrics import EpochRow, Tally
from videoswin.train.watching import TensorBoard, Watches

pytestmark = pytest.mark.usefixtures("without_pictures")


def test_several_watches(videos: Path, tmp_path: Path):
    one, two = Recorder(), Recorder()
    tiny_trainer(videos, tmp_path / "run", epochs=1).run(Watches(one, two))
    assert one.steps == two.steps == [(1, 1), (1, 2), (1, 3)]
    assert one.best == [1]


@pytest.mark.filterwarnings("ignore")  # the library's own
def test_scalars_for_tensorboard(videos: Path, tmp_path: Path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with TensorBoard(tmp_path / "board") as board:
        rows = tiny_trainer(videos, tmp_path / "run", epochs=2).run(board)
    events = accumulator.EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    found = [event.value for event in events.Scalars("epoch/val_loss")]
    assert found == pytest.approx([row.val_loss for row in rows])
    assert [event.step for event in events.Scalars("step/lr")] == [1, 2, 3, 4, 5, 6]


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"videoswin\[tensorboard\]"):
        TensorBoard(tmp_path)


def test_lines_for_a_file_have_the_date_and_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    clock = iter([0.0, 10.0, 80.0, 150.0])
    monkeypatch.setattr("videoswin.cli.watch.time.monotonic", lambda: next(clock))
    log, tally = _Log(10), Tally()
    tally.count(4, 2.0, 3)
    log.step(1, 1, 2, tally, 1e-3)
    log.step(1, 2, 2, tally, 1e-3)
    out, err = capsys.readouterr()
    assert "epoch 1/10, step 2/2   loss 0.500   accuracy 75.0 %   lr 1.0e-03   21 min left" in err
    log.epoch(EpochRow(1, 0.5, 0.75, None, None, 1e-3, 1.0, 4.0), True)
    out = capsys.readouterr().out
    assert "21 min left   20" in out
    assert out.count("\n") == 1
