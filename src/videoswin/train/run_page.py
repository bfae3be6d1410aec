"""``report.html`` of a run: what was measured, where it errs, and how it learnt."""

from collections.abc import Sequence
from pathlib import Path

from videoswin.classifier.loading import load
from videoswin.data.containers import Limits
from videoswin.predict.evaluation import Evaluation
from videoswin.predict.evaluation_page import Epochs, write_evaluation_page
from videoswin.train.folds import Measured, evaluation_of, logits_of
from videoswin.train.loop import Trainer
from videoswin.train.metrics import EpochRow

__all__ = ["write_run_page"]


def write_run_page(
    out: Path, trainer: Trainer, measured: Measured | None, warnings: Sequence[str], limits: Limits
) -> Path:
    """Writes ``OUT/report.html`` about ``OUT/best``, and gives its path.

    The clips are those that were held out: all parts pooled, or the validation clips of the run.
    """
    classifier = load(out / "best")
    rows = trainer.rows
    if measured is not None:
        evaluation: Evaluation | None = measured.evaluation()
        what = (
            f"{len(measured.folds)} folds, each judged by its last epoch"
            if len(measured.folds) > 1
            else "held-out clips"
        )
        title = f"Training run: {what}"
    elif trainer.val_clips is not None:
        classifier.model.to(trainer.device)
        held = trainer.val_clips
        evaluation = evaluation_of(classifier.labels, held.rows, logits_of(classifier, held))
        title = "Training run: validation clips, which chose the epoch"
        warnings = [*warnings, "These clips chose the epoch that is kept: expect somewhat less on new ones."]
    else:
        evaluation, title = None, "Training run: nothing was held out"
    chosen = trainer.progress.best_epoch if trainer.val_clips is not None else len(rows)
    write_evaluation_page(
        out / "report.html",
        classifier,
        evaluation,
        title,
        warnings=warnings,
        epochs=_epochs(rows, measured, chosen),
        limits=limits,
    )
    return out / "report.html"


def _epochs(rows: Sequence[EpochRow], measured: Measured | None, chosen: int) -> Epochs:
    parts = measured.folds if measured else ()
    return Epochs(
        train_loss=[row.train_loss for row in rows],
        train_top1=[row.train_top1 for row in rows],
        val_loss=[row.val_loss for row in rows if row.val_loss is not None],
        val_top1=[row.val_top1 for row in rows if row.val_top1 is not None],
        chosen=chosen,
        part_losses=[[row.val_loss or 0.0 for row in part.epochs] for part in parts],
        part_top1=[[row.val_top1 or 0.0 for row in part.epochs] for part in parts],
    )
