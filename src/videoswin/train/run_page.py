"""``report.html`` of a run: what was measured, where it errs, how it learnt, and where the time went."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.data.containers import Limits
from videoswin.data.dataset import ClipDataset
from videoswin.predict.answers import SeveralLabels
from videoswin.predict.evaluation import Evaluation
from videoswin.predict.evaluation_page import Epochs, write_evaluation_page
from videoswin.predict.several import SeveralEvaluation
from videoswin.train.folds import logits_of
from videoswin.train.loop import Trainer
from videoswin.train.measured import Measured, evaluation_of, several_evaluation_of
from videoswin.train.metrics import EpochRow

__all__ = ["write_run_page"]


def write_run_page(
    out: Path,
    trainer: Trainer,
    measured: Measured | None,
    warnings: Sequence[str],
    limits: Limits,
    spent: Mapping[str, float] | None = None,
) -> Path:
    """Writes ``OUT/report.html`` about ``OUT/best``, and gives its path.

    The clips are those that were held out: all parts pooled, or the validation clips of the run. ``spent``: seconds by what they
    went to, for people.
    """
    classifier = load(out / "best")
    rows = trainer.rows
    evaluation: Evaluation | SeveralEvaluation | None
    if measured is not None:
        evaluation = measured.evaluation()
        what = (
            f"{len(measured.folds)} folds, each judged by its last epoch"
            if len(measured.folds) > 1
            else "held-out clips"
        )
        title = f"Training run: {what}"
        if isinstance(evaluation, SeveralEvaluation):
            by = "the other folds" if len(measured.folds) > 1 else "these same clips, which flatters F1 and the like"
            warnings = [*warnings, f"Labels were given by thresholds chosen by {by}; mAP needs none."]
    elif trainer.val_clips is not None:
        classifier.model.to(trainer.device)
        evaluation = _of_validation(classifier, trainer.val_clips)
        title = "Training run: validation clips, which chose the epoch"
        what = "epoch that is kept" if isinstance(evaluation, Evaluation) else "epoch and the thresholds that are kept"
        warnings = [*warnings, f"These clips chose the {what}: expect somewhat less on new ones."]
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
        spent=spent,
        limits=limits,
    )
    return out / "report.html"


def _of_validation(classifier: Classifier, held: ClipDataset) -> Evaluation | SeveralEvaluation:
    logits, answer = logits_of(classifier, held), classifier.answer
    if isinstance(answer, SeveralLabels):
        return several_evaluation_of(classifier.labels, held.rows, logits, answer.thresholds)
    return evaluation_of(classifier.labels, held.rows, logits)


def _epochs(rows: Sequence[EpochRow], measured: Measured | None, chosen: int) -> Epochs:
    parts = measured.folds if measured else ()
    ranked = any(row.val_map is not None for part in [rows, *(part.epochs for part in parts)] for row in part)
    return Epochs(
        train_loss=[row.train_loss for row in rows],
        train_top1=[row.train_top1 for row in rows],
        val_loss=[row.val_loss for row in rows if row.val_loss is not None],
        val_top1=[row.val_top1 for row in rows if row.val_top1 is not None],
        chosen=chosen,
        part_losses=[[row.val_loss or 0.0 for row in part.epochs] for part in parts],
        part_top1=[[row.val_top1 or 0.0 for row in part.epochs] for part in parts],
        val_map=[row.val_map for row in rows if row.val_map is not None],
        part_map=[[row.val_map or 0.0 for row in part.epochs] for part in parts] if ranked else (),
    )
