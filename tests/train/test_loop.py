"""A run: what it writes, and how it stops when something is wrong."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from traceback import clear_frames
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.tiny import write_video
from tests.train.helpers import LABELS, Recorder, figures, poison, rows_of, same, tiny_trainer, weights
from videoswin.classifier.loading import load
from videoswin.errors import OutputError, TrainingError, VideoError, WeightsError
from videoswin.storage.interrupt import Interruption
from videoswin.train.metrics import read_rows
from videoswin.train.targets import Judge

pytestmark = pytest.mark.usefixtures("without_pictures")


def test_steps_and_rates(whole):
    trainer, rows, watch = whole
    assert watch.steps == [(epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3)]
    lr = trainer.settings.lr
    # One warm-up epoch of three steps was asked for; a quarter of the run, two steps, is the most there is.
    assert watch.rates[:3] == pytest.approx([lr / 2, lr, lr])
    assert watch.rates[1:] == sorted(watch.rates[1:], reverse=True)
    assert [row.lr for row in rows] == [watch.rates[i] for i in (2, 5, 8)]


def test_files(whole):
    trainer, rows, _ = whole
    assert sorted(path.name for path in trainer.out.iterdir()) == [
        *(".lock", "best", "clips.json", "curves.png", "epoch-001", "epoch-002", "epoch-003", "last", "metrics.csv")
    ]
    assert figures(read_rows(trainer.out / "metrics.csv")) == figures(rows)
    lines = list(csv.reader((trainer.out / "metrics.csv").read_text().splitlines()))
    assert [line[0] for line in lines] == ["epoch", "1", "2", "3"]
    with Image.open(trainer.out / "curves.png") as picture:
        picture.load()


def test_checkpoints_can_be_loaded(whole):
    trainer, rows, _ = whole
    for name in ("best", "last", "epoch-001", "epoch-002", "epoch-003"):
        classifier = load(trainer.out / name)
        assert classifier.labels == LABELS
        assert classifier.preprocessing == trainer.classifier.preprocessing
    assert same(weights(trainer), load(trainer.out / "last").model.state_dict())
    assert load(trainer.out / "epoch-002").metrics["val_top1"] == rows[1].val_top1
    assert load(trainer.out / "epoch-002").metrics["epoch"] == 2


def test_best_is_the_best(whole):
    trainer, rows, watch = whole
    best = max(rows, key=lambda row: (row.val_top1, row.epoch))
    assert trainer.progress.best_epoch == best.epoch == watch.best[-1]
    at_best = load(trainer.out / "best").model.state_dict()
    assert same(at_best, load(trainer.out / f"epoch-{best.epoch:03d}").model.state_dict())


def test_best_follows_the_validation_accuracy(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer = tiny_trainer(videos, tmp_path / "run", epochs=5, keep_epochs=5)
    scores = iter([0.25, 0.75, 0.5, 0.75, 0.5])
    monkeypatch.setattr(trainer, "_validate", lambda _: (_Validation(next(scores)), Judge()))
    watch = Recorder()
    trainer.run(watch)
    assert watch.best == [1, 2, 4]  # of equals the later
    assert load(trainer.out / "best").metrics == load(trainer.out / "epoch-004").metrics
    assert trainer.progress.best == 0.75


class _Validation:
    loss = 1.0

    def __init__(self, top1: float) -> None:
        self.top1 = top1


def test_validation_is_deterministic_and_does_not_train(whole, videos: Path):
    trainer, rows, _ = whole
    before = weights(trainer)
    validated = trainer._validate(Interruption())
    assert validated is not None
    tally, _ = validated
    assert (tally.loss, tally.top1) == (rows[-1].val_loss, rows[-1].val_top1)
    assert tally.clips == 4
    assert same(weights(trainer), before)


def test_same_seed_same_run_and_another_seed_another(whole, videos: Path, tmp_path: Path):
    first, rows, _ = whole
    again = tiny_trainer(videos, tmp_path / "again")
    torch.manual_seed(999)
    again_rows = again.run(Recorder())
    assert same(weights(first), weights(again))
    assert figures(rows) == figures(again_rows)
    other = tiny_trainer(videos, tmp_path / "other", seed=1)
    other.run(Recorder())
    assert not same(weights(first), weights(other))


def test_without_validation_the_best_is_the_latest(videos: Path, tmp_path: Path):
    trainer = tiny_trainer(videos, tmp_path / "run", validate=False, epochs=2)
    watch = Recorder()
    rows = trainer.run(watch)
    assert watch.best == [1, 2]
    assert [(row.val_loss, row.val_top1) for row in rows] == [(None, None)] * 2
    assert figures(read_rows(trainer.out / "metrics.csv")) == figures(rows)
    assert same(load(trainer.out / "best").model.state_dict(), weights(trainer))
    assert "val_top1" not in load(trainer.out / "best").metrics


@pytest.mark.parametrize(("keep", "left"), [(0, []), (1, [4]), (2, [3, 4])])
def test_old_epochs_are_pruned(videos: Path, tmp_path: Path, keep: int, left: list[int]):
    out = tmp_path / "run"
    tiny_trainer(videos, out, validate=False, epochs=4, batch_size=8, keep_epochs=keep).run(Recorder())
    assert sorted(path.name for path in out.glob("epoch-*")) == [f"epoch-{number:03d}" for number in left]
    assert load(out / "best").metrics["epoch"] == 4


def test_bf16(videos: Path, tmp_path: Path):
    trainer = tiny_trainer(videos, tmp_path / "run", epochs=2, precision="bf16")
    rows = trainer.run(Recorder())
    assert all(math.isfinite(row.train_loss) and math.isfinite(row.val_loss or 0) for row in rows)
    assert all(value.dtype == torch.float32 for value in trainer.model.parameters())
    exact = tiny_trainer(videos, tmp_path / "exact", epochs=2)
    assert figures(exact.run(Recorder())) != figures(rows)


def test_a_causal_model_learns_from_all_late_steps(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer = tiny_trainer(videos, tmp_path / "run", epochs=1)
    trainer.model = trainer.classifier.model = trainer.answers.model = trainer.model.as_causal()
    asked: list[tuple[int, ...]] = []
    cross_entropy = torch.nn.functional.cross_entropy

    def noted(logits: Tensor, labels: Tensor, **options: Any) -> Tensor:
        asked.append(tuple(logits.shape))
        return cross_entropy(logits, labels, **options)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", noted)
    trainer.run(Recorder())
    # Clips of 4 frames are 2 time steps, of which the later one is asked; validation asks at the end only.
    assert asked == [(3, 2, 1), (3, 2, 1), (2, 2, 1), (3, 2), (1, 2)]
    assert load(tmp_path / "run" / "best").model.config.causal


def test_a_model_can_learn_the_clips(videos: Path, tmp_path: Path):
    trainer = tiny_trainer(
        videos, tmp_path / "run", validate=False, epochs=15, batch_size=8, lr=5e-3, label_smoothing=0.0
    )
    trainer.train_clips = without_augment(trainer.train_clips)
    rows = trainer.run(Recorder())
    assert rows[-1].train_loss < 0.6 * rows[0].train_loss


def without_augment(clips):
    return type(clips)(clips.rows, clips.labels, clips.preprocessing, None, clips.cache, clips.seed)


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_before_the_step(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer = tiny_trainer(videos, tmp_path / "run")
    poison(trainer, (2, 2), monkeypatch)
    seen = {}
    watch = Recorder((2, 1), lambda: seen.update(weights(trainer)))
    with pytest.raises(TrainingError) as error:
        trainer.run(watch)
    assert watch.steps[-1] == (2, 1)
    assert same(weights(trainer), seen)
    text = str(error.value)
    assert "loss became nan in epoch 2, step 2" in text
    assert "\n" not in text
    trainer.progress.step = 1
    _, _, indices = next(iter(trainer.batches_of(trainer.steps_ahead())))
    assert all(str(trainer.train_clips.rows[i].path) in text for i in indices.tolist())
    assert sum(str(row.path) in text for row in trainer.train_clips.rows) == 3
    assert load(trainer.out / "last").metrics["epoch"] == 1
    assert load(trainer.out / "best").metrics["epoch"] == 1
    assert len(read_rows(trainer.out / "metrics.csv")) == 1


def test_a_gradient_that_is_no_number_stops_too(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer = tiny_trainer(videos, tmp_path / "run")
    before = weights(trainer)
    next(trainer.model.parameters()).register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(TrainingError, match=r"gradient became (nan|inf) in epoch 1, step 1"):
        trainer.run(Recorder())
    assert same(weights(trainer), before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_went_bad_is_named(videos: Path, tmp_path: Path, workers: int):
    rows = rows_of(videos)
    bad = write_video(tmp_path / "bad.mp4", frames=4, size=(32, 40))
    rows[3] = replace(rows[3], path=bad)
    trainer = tiny_trainer(videos, tmp_path / "run", rows=rows, workers=workers)
    bad.write_bytes(b"")
    with pytest.raises(VideoError, match=r"bad\.mp4") as error:
        trainer.run(Recorder())
    clear_frames(error.value.__traceback__)  # they hold on to the worker


def test_the_out_folder_cannot_be_written(whole, videos: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        tiny_trainer(videos, tmp_path / "file" / "run").run(Recorder())


def test_a_folder_of_other_things_is_not_replaced(videos: Path, tmp_path: Path):
    (tmp_path / "run" / "best").mkdir(parents=True)
    (tmp_path / "run" / "best" / "photo.jpg").write_text("precious")
    with pytest.raises(WeightsError, match="best"):
        tiny_trainer(videos, tmp_path / "run", epochs=1).run(Recorder())
    assert (tmp_path / "run" / "best" / "photo.jpg").read_text() == "precious"
