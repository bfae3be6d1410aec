"""What ``videoswin train`` says of a run: before it, after each fold, at its end."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from videoswin.cli.evaluate_several import show_labels
from videoswin.cli.output import DONE, add_row, counted, duration, percent, say, show, table, waiting

if TYPE_CHECKING:
    from videoswin.data.clips import Clip
    from videoswin.predict.evaluation import Evaluation
    from videoswin.train.loop import Trainer
    from videoswin.train.measured import FoldResult, Measured
    from videoswin.train.metrics import EpochRow
    from videoswin.train.plan import Plan

__all__ = ["conclude", "show_fold", "show_measured", "show_plan"]


def show_plan(plan: "Plan", out: Path) -> int:
    """What a run would do, as a table, and how long it would take."""
    from videoswin.train.estimate import estimate

    settings, world = plan.settings, plan.processes.world
    per_step = settings.batch_size * settings.accumulate * world
    clips = len(plan.parts[0].kept) if plan.parts else len(plan.train_clips)
    runs = [len(part.kept) for part in plan.parts] + [len(plan.train_clips)]
    rows = table("what", "figure", header=False)
    add_row(rows, "clips to learn from", f"{clips:,}")
    add_row(
        rows,
        "clips in a step",
        f"{per_step} = {counted(world, 'device')} x batch {settings.batch_size} x accumulate {settings.accumulate}",
    )
    add_row(
        rows,
        "steps",
        f"{sum(-(-n * settings.repeat // per_step) * settings.epochs for n in runs):,} in {counted(len(runs), 'run')} of {counted(settings.epochs, 'epoch')}",
    )
    add_row(rows, "learning rate", f"{settings.lr:g}, backbone {settings.lr * settings.backbone_lr_ratio:g}")
    with waiting("Measuring"):
        measured = estimate(plan, out, say)
    total = sum(-(-n * settings.repeat // per_step) * settings.epochs for n in runs) * measured.step_s
    add_row(rows, "time", f"about {duration(total)}, by {measured.by}")
    show(rows)
    for name, value in plan.resolved.items():
        say(f"{name} = {value!r}")
    return DONE


def show_fold(plan: "Plan"):
    """A line for every fold, when it is done."""

    def line(number: int, result: "FoldResult") -> None:
        if len(plan.parts) > 1:
            from videoswin.train.measured import measured_of

            measured = measured_of(plan.classifier.labels, [result])
            groups = len({row.group for row in result.rows if row.group})
            of = f" of {counted(groups, 'group')}" if groups else ""
            noun = "" if measured.name == "top1" else f"{measured.noun} "
            show(
                f"fold {number}/{len(plan.parts)}   held out {noun}{_share(measured.figure):>7} of {len(result.rows)} clips"
                f"{of}   {counted(len(result.epochs), 'epoch')}"
            )

    return line


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)


def show_measured(measured: "Measured", plan: "Plan") -> None:
    """What held-out clips say."""
    from videoswin.predict.calibration import few_groups
    from videoswin.predict.evaluation import Evaluation
    from videoswin.train.advice import resolution

    what = f"pooled over {len(measured.folds)} folds" if len(measured.folds) > 1 else "held out"
    of = "too few groups for an interval"
    if measured.interval is not None:
        of = f"95 % interval {percent(measured.interval[0])} to {percent(measured.interval[1])}"
        if few_groups([row.group for row in measured.rows]):
            of += " for these groups alone (four or more say something of others)"
    clips = resolution(len(measured.rows)) if measured.name == "top1" else counted(len(measured.rows), "clip")
    show(f"{what}: {measured.noun} {_share(measured.figure)}, {of} ({clips})")
    evaluation = measured.evaluation()
    if not isinstance(evaluation, Evaluation):
        show_labels(evaluation)
        by = "the other folds" if len(measured.folds) > 1 else "these same clips, which flatters precision and recall"
        say(f"precision and recall are by thresholds chosen by {by}; the threshold shown is the one that is kept.")
        return
    if len(measured.folds) > 1:
        _show_classes(evaluation)
    if measured.none_threshold is not None:
        show(
            f"temperature {measured.temperature:.2f}: scores are off the share of right answers by "
            f"{percent(measured.calibration_error)} on average (ECE); below {measured.none_threshold:g} the answer is none"
        )


def _show_classes(evaluation: "Evaluation") -> None:
    rows = table("label", "clips", "recall", "most often taken for", right=["clips", "recall"])
    for i, one in enumerate(evaluation.per_class):
        wrong = evaluation.confusion[i].clone()
        wrong[i] = 0
        j = int(wrong.argmax())
        taken = f"{evaluation.labels[j]} ({int(wrong[j])})" if int(wrong[j]) else ""
        add_row(rows, one.label, str(one.n), percent(one.recall) if one.n else "-", taken)
    show(rows)


def conclude(
    plan: "Plan", trainer: "Trainer", measured: "Measured | None", data: Path, out: Path, epochs: "Sequence[EpochRow]"
) -> list[str]:
    """The end of a run in words; gives what limits its figures. ``epochs``: of all parts and of the model that is kept."""
    import torch

    from videoswin.predict.evaluation import Evaluation
    from videoswin.train.advice import about_sampling, about_threads, advise, resolution
    from videoswin.train.spent import about_waiting, spent_on

    progress, best = trainer.progress, out / "best"
    several = trainer.targets.kind == "several"
    worth = (lambda clips: counted(clips, "clip")) if several else resolution  # mAP has no steps of a clip
    held_out = ""
    if plan.val_clips is not None:
        noun, figure = (
            ("mAP", _share(progress.best if progress.best >= 0 else None))
            if several
            else ("accuracy", percent(progress.best))
        )
        held_out = f", held-out {noun} {figure} at best (the last *)"
    show(f"Trained {counted(progress.epoch, 'epoch')}{held_out}. The checkpoint: {best}")
    evaluation = measured.evaluation() if measured else None
    confusion = evaluation.confusion if isinstance(evaluation, Evaluation) else None
    if spent := spent_on(epochs, trainer.settings.workers):
        say(f"where the time went: {spent}.")
    lines = about_threads(trainer.rows, torch.get_num_threads(), os.getloadavg()[0], os.cpu_count() or 1)
    lines += about_waiting(epochs, trainer.settings.workers, os.cpu_count() or 1, plan.train_clips.in_memory)
    lines += about_sampling(plan.classifier.preprocessing, plan.footage.seconds, plan.footage.fps)
    lines += advise(trainer.rows, _by_class(plan.train_clips.rows), confusion, plan.classifier.labels)
    if plan.val_clips is not None and len(plan.val_clips) < 50:
        lines.append(f"the epoch was chosen by {worth(len(plan.val_clips))}. --folds 5 says more.")
    for line in lines:
        say(f"advice: {line}")
    if measured is None and plan.val_clips is None:
        thresholds = " Every threshold is 0.5." if several else ""
        show(f"How good it is was not measured: no clip was held out.{thresholds}")
    elif several:
        few = "Labels that fewer than five held-out clips have, or lack, keep the threshold 0.5."
        same = (
            ""
            if measured
            else " The epoch and the thresholds were chosen by the same clips: expect somewhat less on new ones."
        )
        say(few + same)
    if _is_poor(plan, trainer, measured):
        what = "drawing scores by chance" if several else "naming the commonest class every time"
        lines.insert(0, f"It is not better than {what}, as far as these clips can tell.")
        show(
            f"{lines[0]} Do not use it yet: look at the advice above, at --sampling and --size (is the action in the frames?), and "
            "at the labels."
        )
    else:
        show(f"Use it:  videoswin predict clip.mp4 --weights {best}")
    if tests := plan.index.splits.get("test"):
        show(f"Once, at the end ({worth(tests)}):  videoswin evaluate {data} --split test --weights {best}")
    return [line[:1].upper() + line[1:] for line in lines]


def _by_class(rows: "Sequence[Clip]") -> "list[Clip]":
    """A clip of several classes once for each of them."""
    return [dataclasses.replace(row, label=name, several=None) for row in rows for name in row.classes]


def _is_poor(plan: "Plan", trainer: "Trainer", measured: "Measured | None") -> bool:
    """As far as the held-out clips can tell; validation clips of several labels are not asked, as they chose the epoch by mAP."""
    from videoswin.train.advice import at_chance

    if measured is not None:
        return measured.poor
    if plan.val_clips is None or trainer.targets.kind == "several":
        return False
    n = len(plan.val_clips)
    return at_chance([i < round(trainer.progress.best * n) for i in range(n)], plan.val_clips.rows)
