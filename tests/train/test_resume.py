"""A run that is stopped, and that a resumed one is the same run."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.train.helpers import (
    AUGMENT,
    STEPS,
    Recorder,
    figures,
    interrupter,
    poison,
    rows_of,
    same,
    tiny_trainer,
    weights,
)
from videoswin.classifier.loading import load
from videoswin.errors import Interrupted, TrainingError, WeightsError
from videoswin.train.metrics import read_rows
from videoswin.weights.safetensors import read_tensors

pytestmark = pytest.mark.usefixtures("without_pictures")


def interrupted(videos: Path, out: Path, watch: Recorder, **settings) -> None:
    with pytest.raises(Interrupted, match=r"--resume"):
        tiny_trainer(videos, out, **settings).run(watch)


def resumed(videos: Path, out: Path, watch: Recorder | None = None, **settings):
    trainer = tiny_trainer(videos, out, **settings)
    # Nothing of the fresh model may matter, nor where the global generator stands.
    with torch.no_grad():
        next(trainer.model.parameters()).zero_()
    torch.manual_seed(12345)
    trainer.resume()
    rows = trainer.run(watch or Recorder())
    return trainer, rows


@pytest.mark.parametrize("at", [(1, 1), (1, STEPS), (2, 2), (2, STEPS), (3, STEPS)])
def test_resumed_is_uninterrupted(whole, videos: Path, tmp_path: Path, at: tuple[int, int]):
    """Also in the figures of the epoch that was cut in two."""
    first, rows, watch = whole
    before, after = interrupter(*at), Recorder()
    interrupted(videos, tmp_path / "run", before)
    second, second_rows = resumed(videos, tmp_path / "run", after)
    assert before.steps + after.steps == watch.steps
    assert before.rates + after.rates == watch.rates
    assert same(weights(first), weights(second))
    assert figures(rows) == figures(second_rows) == figures(read_rows(tmp_path / "run" / "metrics.csv"))
    assert (second.progress.best, second.progress.best_epoch) == (first.progress.best, first.progress.best_epoch)
    optimizers = [read_tensors(t.out / "last" / "optimizer.safetensors") for t in (first, second)]
    assert same(*optimizers)


def test_stopped_again_and_again(whole, videos: Path, tmp_path: Path):
    first, rows, _ = whole
    out = tmp_path / "run"
    interrupted(videos, out, interrupter(1, 2))
    for at in ((2, 1), (2, 2), (3, 1)):
        with pytest.raises(Interrupted):
            resumed(videos, out, interrupter(*at))
    second, second_rows = resumed(videos, out)
    assert same(weights(first), weights(second))
    assert figures(rows) == figures(second_rows)


def test_workers_change_nothing(whole, videos: Path, tmp_path: Path):
    """Stopped with two workers, resumed with two: the run that had none."""
    first, rows, _ = whole
    interrupted(videos, tmp_path / "run", interrupter(1, 2), workers=2)
    second, second_rows = resumed(videos, tmp_path / "run", workers=2)
    assert same(weights(first), weights(second))
    assert figures(rows) == figures(second_rows)


def test_every_epoch_has_its_own_order_also_after_a_resume(videos: Path, tmp_path: Path):
    out = tmp_path / "run"
    interrupted(videos, out, interrupter(1, 3))
    trainer = tiny_trainer(videos, out)
    trainer.resume()
    orders = []
    for trainer.progress.epoch in (0, 1, 2):
        trainer.progress.step = 0
        orders.append([i for _, _, indices in trainer.batches_of(trainer.steps_ahead()) for i in indices.tolist()])
    assert all(sorted(order) == list(range(8)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_clips_of_the_next_epoch_are_drawn_anew(videos: Path, tmp_path: Path):
    trainer = tiny_trainer(videos, tmp_path / "run")
    drawn = []
    for trainer.progress.epoch in (0, 1):
        clips, _, indices = next(iter(trainer.batches_of(trainer.steps_ahead())))
        drawn.append({int(i): clip for i, clip in zip(indices, clips, strict=True)})
    trainer.train_clips.set_epoch(1)
    again = trainer.train_clips[next(iter(drawn[0]))][0]
    assert not torch.equal(again, next(iter(drawn[0].values())))
    for index, clip in drawn[1].items():
        assert torch.equal(trainer.train_clips[index][0], clip)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves(videos: Path, tmp_path: Path, number: int):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    trainer = tiny_trainer(videos, tmp_path / "run")
    with pytest.raises(Interrupted) as stop:
        trainer.run(interrupter(1, 2, number))
    assert "epoch 1 after step 2" in str(stop.value)
    assert str(trainer.out) in str(stop.value)
    assert same(load(trainer.out / "last").model.state_dict(), weights(trainer))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_second_signal_ends_at_once(videos: Path, tmp_path: Path):
    trainer = tiny_trainer(videos, tmp_path / "run")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & leaves it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            trainer.run(interrupter(1, 2, times=2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (trainer.out / "last").exists()


def test_nothing_to_resume(videos: Path, tmp_path: Path):
    with pytest.raises(WeightsError, match=r"no run to resume.*--resume"):
        tiny_trainer(videos, tmp_path / "run").resume()


def test_a_finished_run_is_not_trained_on(whole, videos: Path):
    first, rows, _ = whole
    watch = Recorder()
    trainer = tiny_trainer(videos, first.out)
    trainer.resume()
    assert figures(trainer.run(watch)) == figures(rows)
    assert watch.steps == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"lr": 1e-3}, "lr 0.002 -> 0.001"),
        ({"epochs": 4, "batch_size": 2}, "epochs 3 -> 4, batch_size 3 -> 2"),
        ({"seed": 1}, "seed 0 -> 1"),
        ({"precision": "bf16"}, "precision 'float32' -> 'bf16'"),
    ],
)
def test_other_settings_are_refused(whole, videos: Path, settings: dict, named: str):
    trainer = tiny_trainer(videos, whole[0].out, **settings)
    before = weights(trainer)
    with pytest.raises(WeightsError) as error:
        trainer.resume()
    assert named in str(error.value)
    assert same(weights(trainer), before)


def test_settings_that_may_change(whole, videos: Path):
    tiny_trainer(videos, whole[0].out, workers=1, keep_epochs=9).resume()


def test_other_clips_are_refused(whole, videos: Path):
    rows = rows_of(videos)
    for other in (rows[1:], [*rows[1:8], rows[0], *rows[8:]], [replace(rows[0], label="wave"), *rows[1:]]):
        with pytest.raises(WeightsError, match="train_clips '8 clips"):
            tiny_trainer(videos, whole[0].out, rows=other).resume()


def test_other_augmentation_preprocessing_and_model_are_refused(whole, videos: Path):
    def refusal(change) -> str:
        trainer = tiny_trainer(videos, whole[0].out)
        change(trainer)
        with pytest.raises(WeightsError) as error:
            trainer.resume()
        return str(error.value)

    def augment(trainer):
        trainer.train_clips.augment = replace(AUGMENT, crop_scale=(0.5, 1.0))

    def preprocessing(trainer):
        trainer.classifier.preprocessing = replace(trainer.classifier.preprocessing, clip_len=8)

    def model(trainer):
        trainer.model.config = trainer.model.config.replace(drop_path=0.0)

    assert "augment" in refusal(augment)
    assert "preprocessing.clip_len 4 -> 8" in refusal(preprocessing)
    assert "model.drop_path 0.3 -> 0.0" in refusal(model)


def test_data_may_move(whole, videos: Path, tmp_path: Path):
    """The folder's name has no say: a run can go on after its videos were moved."""
    (tmp_path / "elsewhere").symlink_to(videos)
    tiny_trainer(tmp_path / "elsewhere", whole[0].out).resume()


class Killed(BaseException):
    """As a ``kill -9``, here between two files."""


@pytest.mark.parametrize("name", ["_save_checkpoint", "_save_state"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_the_end_of_an_epoch(
    whole, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, after: bool
):
    trainer = tiny_trainer(videos, tmp_path / "run")
    save = getattr(trainer, name)

    def save_and_die(*arguments):
        if after or len(trainer.rows) < 2:
            save(*arguments)
        if len(trainer.rows) == 2:
            raise Killed

    monkeypatch.setattr(trainer, name, save_and_die)
    with pytest.raises(Killed):
        trainer.run(Recorder())
    second, rows = resumed(videos, tmp_path / "run")
    assert same(weights(whole[0]), weights(second))
    assert figures(rows) == figures(whole[1]) == figures(read_rows(tmp_path / "run" / "metrics.csv"))
    best = load(tmp_path / "run" / "best")
    assert same(best.model.state_dict(), load(whole[0].out / "best").model.state_dict())


def test_after_a_loss_that_is_no_number(whole, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer = tiny_trainer(videos, tmp_path / "run")
    poison(trainer, (3, 2), monkeypatch)
    with pytest.raises(TrainingError):
        trainer.run(Recorder())
    second, rows = resumed(videos, tmp_path / "run")
    assert same(weights(whole[0]), weights(second))
    assert figures(whole[1]) == figures(rows)
