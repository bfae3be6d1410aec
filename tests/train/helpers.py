"""A run so small that an epoch takes a fraction of a second: a model of two blocks, clips of 4 frames of 16x16 pixels."""

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny import CONFIG, write_video
from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.data.dataset import Augment, ClipDataset, FrameCache
from videoswin.data.photometric import ColourJitter
from videoswin.data.preprocessing import Preprocessing
from videoswin.model import create_model
from videoswin.train.loop import Trainer
from videoswin.train.metrics import EpochRow, Tally
from videoswin.train.processes import Processes
from videoswin.train.settings import TrainSettings

LABELS = ("nod", "wave")
PREPROCESSING = Preprocessing(clip_len=4, sampling="uniform", size=(16, 16), short_side=16)
AUGMENT = Augment(crop_scale=(0.6, 1.0), colour=ColourJitter(0.3, 0.3, 0.3))
STEPS = 3  # an epoch: 8 training clips in batches of 3


def make_videos(root: Path, each: int = 6) -> Path:
    """``root``/nod and ``root``/wave with ``each`` videos."""
    for number, label in enumerate(LABELS * each):
        write_video(root / label / f"{number}.mp4", frames=10, size=(32, 40), seed=number)
    return root


def rows_of(videos: Path) -> list[Clip]:
    """All videos below a folder of class folders, the classes mixed."""
    paths = sorted(videos.glob("*/*.mp4"), key=lambda path: int(path.stem))
    return [Clip(path, path.parent.name, "", "", 0) for path in paths]


def tiny_classifier(seed: int = 0) -> Classifier:
    """With dropout and stochastic depth, so that a run depends on the global generator if anything does."""
    torch.manual_seed(seed)
    return Classifier(create_model(CONFIG, num_classes=len(LABELS)), PREPROCESSING, LABELS, name="tiny")


def tiny_trainer(
    videos: Path,
    out: Path,
    *,
    validate: bool = True,
    rows: list[Clip] | None = None,
    processes: Processes | None = None,
    **settings: Any,
):
    """A trainer on 8 of the videos, with 4 held out."""
    rows = rows_of(videos) if rows is None else rows
    chosen = {"epochs": 3, "batch_size": 3, "lr": 2e-3, "warmup_epochs": 1, **settings}
    cache, classifier = FrameCache(), tiny_classifier()
    seed = chosen.get("seed", 0)
    train = ClipDataset(rows[:8], LABELS, PREPROCESSING, AUGMENT, cache, seed)
    val = ClipDataset(rows[8:], LABELS, PREPROCESSING, None, cache, seed) if validate else None
    return Trainer(classifier, train, val, TrainSettings(**chosen), out, processes=processes)


class Recorder:
    """A watch that notes everything, and can act at a step."""

    def __init__(self, at: tuple[int, int] | None = None, act: Callable[[], object] | None = None) -> None:
        self.at, self.act = at, act
        self.steps: list[tuple[int, int]] = []
        self.rates: list[float] = []
        self.best: list[int] = []

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        self.steps.append((epoch, step))
        self.rates.append(lr)
        if (epoch, step) == self.at and self.act is not None:
            self.act()

    def epoch(self, row: EpochRow, best: bool) -> None:
        if best:
            self.best.append(row.epoch)


def interrupter(epoch: int, step: int, number: int = signal.SIGINT, times: int = 1) -> Recorder:
    """A watch that sends this process a signal after a step."""
    return Recorder((epoch, step), lambda: [os.kill(os.getpid(), number) for _ in range(times)])


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def figures(rows: list[EpochRow]) -> list[tuple[Any, ...]]:
    """What of the rows does not depend on the clock; six digits, as in the CSV."""
    names = ("epoch", "train_loss", "train_top1", "val_loss", "val_top1", "lr")
    values = [[getattr(row, name) for name in names] for row in rows]
    return [tuple(None if v is None else f"{v:.6g}" for v in line) for line in values]


def poison(trainer, at: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's answers are NaN at one step."""
    forward = trainer.model.forward

    def forward_with_nan(clips):
        logits = forward(clips)
        here = (trainer.progress.epoch + 1, trainer.progress.step + 1)
        return logits * math.nan if here == at and trainer.model.training else logits

    monkeypatch.setattr(trainer.model, "forward", forward_with_nan)
