"""What a model will be worth on clips of groups that it has not seen: held-out parts, one after the other.

Each part is a run of its own in ``OUT/folds/fold-N`` and is judged by its last epoch, never by its best: an epoch that was
chosen by the clips it is judged by looks better than it is. All clips that were held out somewhere are then pooled:

    OUT/folds/fold-N/metrics.csv, scores.json
    OUT/folds/summary.json       accuracy with its interval, per fold and pooled; what was chosen for the model that is kept
    OUT/folds/predictions.csv    one line per clip
    OUT/folds/confusion.png
"""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.data.dataset import ClipDataset, ClipLoader
from videoswin.data.preprocessing import Views
from videoswin.errors import WeightsError
from videoswin.interface.video_model import VideoModel
from videoswin.predict.calibration import accuracy_interval, calibration_error, fit_temperature, none_threshold
from videoswin.predict.evaluation import Evaluation, RowResult
from videoswin.predict.results import LabelScore
from videoswin.storage.atomic import replace_file, settled_folder
from videoswin.train.loop import Trainer
from videoswin.train.metrics import EpochRow
from videoswin.train.plan import Plan
from videoswin.train.watching import Watch

__all__ = ["FoldResult", "Measured", "cool", "evaluation_of", "keep", "logits_of", "measure"]

_TOP = 5
_FEW = 50  # held-out clips; fewer say nothing on how sure to be
_SMOOTH = 3  # epochs over which the loss is averaged before its lowest point is looked for
_WORTH = 0.02  # a lower loss than this share is worth more epochs


@dataclass(frozen=True)
class FoldResult:
    """One part: its held-out rows, their logits (N, K), its epochs."""

    rows: tuple[Clip, ...]
    logits: Tensor
    epochs: tuple[EpochRow, ...]

    def correct(self, labels: Sequence[str]) -> list[bool]:
        """For each held-out clip."""
        answers = self.logits.argmax(1).tolist()
        return [labels[answer] == row.label for answer, row in zip(answers, self.rows, strict=True)]


@dataclass(frozen=True)
class Measured:
    """All parts together. Accuracies are shares of 1."""

    labels: tuple[str, ...]
    folds: tuple[FoldResult, ...]

    @property
    def rows(self) -> list[Clip]:
        return [row for fold in self.folds for row in fold.rows]

    @property
    def logits(self) -> Tensor:
        return torch.cat([fold.logits for fold in self.folds])

    @property
    def targets(self) -> Tensor:
        return torch.tensor([self.labels.index(row.label) for row in self.rows])

    @property
    def correct(self) -> list[bool]:
        return [right for fold in self.folds for right in fold.correct(self.labels)]

    @property
    def accuracy(self) -> float:
        return sum(self.correct) / len(self.correct)

    @property
    def interval(self) -> tuple[float, float]:
        """See :func:`~videoswin.predict.calibration.accuracy_interval`."""
        return accuracy_interval(self.correct, [row.unit for row in self.rows])

    @property
    def temperature(self) -> float:
        """1 if too few clips were held out to tell."""
        return fit_temperature(self.logits, self.targets) if len(self.rows) >= _FEW else 1.0

    @property
    def none_threshold(self) -> float | None:
        """None if too few clips were held out to tell, or one part only was."""
        if len(self.rows) < _FEW or len(self.folds) < 2:
            return None
        return none_threshold((self.logits / self.temperature).softmax(1))

    @property
    def calibration_error(self) -> float:
        """After the temperature; in [0, 1]."""
        return calibration_error((self.logits / self.temperature).softmax(1), self.targets)

    def epochs(self, planned: int) -> int:
        """How many epochs suit these clips: the planned ones, unless the held-out loss says clearly that fewer do."""
        shortest = min(len(fold.epochs) for fold in self.folds)
        losses = torch.tensor([[row.val_loss or 0.0 for row in fold.epochs[:shortest]] for fold in self.folds])
        sizes = torch.tensor([float(len(fold.rows)) for fold in self.folds])
        curve = (losses * sizes[:, None]).sum(0) / sizes.sum()
        if shortest < planned:  # all had stopped by then
            return int(curve.argmin()) + 1
        if shortest <= _SMOOTH:
            return planned
        smooth = curve.unfold(0, _SMOOTH, 1).mean(1)
        near = (smooth <= smooth.min() * (1 + _WORTH)).nonzero().flatten()
        latest = int(near[-1]) + _SMOOTH  # of epochs that are as good, the later one has learnt more
        return planned if latest >= 0.9 * planned else latest

    def evaluation(self) -> Evaluation:
        """The pooled answers as the outcome of an evaluation, for tables and pictures."""
        return evaluation_of(self.labels, self.rows, self.logits / self.temperature)

    def to_dict(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        low, high = self.interval
        per_fold = [{"n": len(f.rows), "top1": sum(c) / len(c)} for f in self.folds for c in [f.correct(self.labels)]]
        return {
            "n": len(self.rows),
            "top1": self.accuracy,
            "interval": [low, high],
            "folds": per_fold,
            "temperature": self.temperature,
            "none_threshold": self.none_threshold,
            "calibration_error": self.calibration_error,
        }

    def write(self, folder: Path) -> None:
        """summary.json, predictions.csv and confusion.png."""
        evaluation = self.evaluation()
        evaluation.write_csv(folder / "predictions.csv")
        evaluation.write_confusion(folder / "confusion.png", title="held-out clips of all folds")
        with replace_file(folder / "summary.json") as new:
            new.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")


def evaluation_of(labels: Sequence[str], rows: Sequence[Clip], logits: Tensor) -> Evaluation:
    """Answers, logits (N, K), as the outcome of an evaluation."""
    best, which = logits.softmax(1).topk(min(_TOP, len(labels)), dim=1)
    results = []
    for row, values, places in zip(rows, best.tolist(), which.tolist(), strict=True):
        results.append(
            RowResult(row, tuple(LabelScore(labels[int(i)], v) for i, v in zip(places, values, strict=True)))
        )
    return Evaluation(tuple(labels), Views(1, 1), tuple(results))


def measure(
    plan: Plan, out: Path, resume: bool, watch: Callable[[int, Trainer], Watch], done: Callable[[int, FoldResult], None]
) -> Measured:
    """Runs every part of the plan. ``watch(number, trainer)`` looks on; ``done`` hears of each part, from 1.

    Raises:
        Interrupted, TrainingError, WeightsError: as :class:`~videoswin.train.loop.Trainer` does.
    """
    results = []
    for number, part in enumerate(plan.parts, 1):
        folder = out / "folds" / f"fold-{number}"
        trainer = plan.part_trainer(part, folder)
        if resume and settled_folder(folder / "last").exists():
            trainer.resume()
        result = _kept_result(folder, trainer) if trainer.done else None
        if result is None:
            trainer.run(watch(number, trainer))
            assert trainer.val_clips is not None
            logits = logits_of(trainer.plain(), trainer.val_clips)
            result = FoldResult(tuple(trainer.val_clips.rows), logits, tuple(trainer.rows))
            _keep(folder, result)
        results.append(result)
        done(number, result)
    measured = Measured(plan.classifier.labels, tuple(results))
    measured.write(out / "folds")
    return measured


def keep(trainer: Trainer, measured: Measured, out: Path) -> None:
    """Writes ``OUT/best`` anew, with what was measured: the figures, how sure to be, and when to say "none of these"."""
    classifier = trainer.plain()
    classifier.model = copy.deepcopy(classifier.model)  # the run could still go on with its own
    cool(classifier.model, measured.temperature)
    classifier.none_threshold = measured.none_threshold
    what = "cross_validation" if len(measured.folds) > 1 else "held_out"
    low, high = measured.interval
    classifier.metrics = {
        f"{what}_top1": round(measured.accuracy, 4),
        f"{what}_clips": len(measured.rows),
        f"{what}_interval": f"{low:.3f} to {high:.3f}",
        **({"calibration_error": round(measured.calibration_error, 4)} if measured.none_threshold is not None else {}),
        "epoch": trainer.progress.epoch,
        "train_top1": trainer.rows[-1].train_top1,
    }
    classifier.save(out / "best")


def cool(model: VideoModel, temperature: float) -> None:
    """Divides the logits of ``model`` by ``temperature`` from now on, in place: the last layer of every head is linear, and takes
    it in."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if model.is_of_head(name) and ".fc." in name:
                parameter.div_(temperature)


def logits_of(classifier: Classifier, clips: ClipDataset, batch_size: int = 16) -> Tensor:
    """float32 (N, K): one centre view of every clip."""
    batches = [list(range(i, min(i + batch_size, len(clips)))) for i in range(0, len(clips), batch_size)]
    return torch.cat([classifier.logits(videos) for videos, _, _ in ClipLoader(clips, batches)])


def _keep(folder: Path, result: FoldResult) -> None:
    values = {"paths": [str(row.path) for row in result.rows], "logits": result.logits.tolist()}
    with replace_file(folder / "scores.json") as new:
        new.write_text(json.dumps(values) + "\n", encoding="utf-8")


def _kept_result(folder: Path, trainer: Trainer) -> FoldResult | None:
    """What a finished part said, if that was written down."""
    path = folder / "scores.json"
    if not path.is_file():
        return None
    assert trainer.val_clips is not None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        logits = torch.tensor(values["logits"], dtype=torch.float32)
        names = [Path(name).name for name in values["paths"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise WeightsError(path, "the file is damaged, so the run cannot be resumed", "Use another --out") from None
    if names != [row.path.name for row in trainer.val_clips.rows]:
        raise WeightsError(path, "it is about other clips", "Use the same data, or another --out")
    return FoldResult(tuple(trainer.val_clips.rows), logits, tuple(trainer.rows))
