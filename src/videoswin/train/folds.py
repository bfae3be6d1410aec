"""What a model will be worth on clips of groups that it has not seen: held-out parts, one after the other.

Each part is a run of its own in ``OUT/folds/fold-N`` and is judged by its last epoch, never by its best: an epoch that was
chosen by the clips it is judged by looks better than it is. All clips that were held out somewhere are then pooled:

    OUT/folds/fold-N/metrics.csv, scores.json
    OUT/folds/summary.json       accuracy (of clips with several labels mAP) with its interval, per fold and pooled; what was chosen
                                 for the model that is kept
    OUT/folds/predictions.csv    one line per clip
    OUT/folds/confusion.png      of clips with one label
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.dataset import ClipDataset, ClipLoader
from videoswin.errors import WeightsError
from videoswin.storage.atomic import replace_file, settled_folder
from videoswin.train.loop import Trainer
from videoswin.train.measured import FoldResult, Measured, cool, measured_of
from videoswin.train.plan import Plan
from videoswin.train.watching import Watch

__all__ = ["cool", "keep", "logits_of", "measure", "of_clips"]


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
    measured = measured_of(plan.classifier.labels, results)
    measured.write(out / "folds")
    return measured


def keep(trainer: Trainer, measured: Measured, out: Path) -> None:
    """Writes ``OUT/best`` anew, with what was measured: the figures, and what was chosen by them."""
    classifier = trainer.plain()
    classifier.model = copy.deepcopy(classifier.model)  # the run could still go on with its own
    what = "cross_validation" if len(measured.folds) > 1 else "held_out"
    chosen = measured.settle(classifier)
    figures = {
        measured.name: None if measured.figure is None else round(measured.figure, 4),
        "clips": len(measured.rows),
        "interval": None if measured.interval is None else "{:.3f} to {:.3f}".format(*measured.interval),
    }
    classifier.metrics = {
        **{f"{what}_{name}": value for name, value in figures.items() if value is not None},
        **chosen,
        "epoch": trainer.progress.epoch,
        "train_top1": trainer.rows[-1].train_top1,
    }
    classifier.save(out / "best")


def logits_of(classifier: Classifier, clips: ClipDataset) -> Tensor:
    """float32 (N, K): one centre view of every clip."""
    return of_clips(classifier.logits, clips)


def of_clips(ask: Callable[[Tensor], Tensor], clips: ClipDataset, batch_size: int = 16) -> Tensor:
    """What ``ask`` says to one centre view (B, 3, T, H, W) of every clip, batch by batch: (N, ...)."""
    batches = [list(range(i, min(i + batch_size, len(clips)))) for i in range(0, len(clips), batch_size)]
    return torch.cat([ask(videos) for videos, _, _ in ClipLoader(clips, batches)])


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
