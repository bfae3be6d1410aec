"""What ``videoswin train`` says of a run: before it, after each fold, at its end."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from videoswin.cli.output import DONE, add_row, counted, duration, percent, say, show, table

if TYPE_CHECKING:
    from videoswin.train.folds import FoldResult, Measured
    from videoswin.train.loop import Trainer
    from videoswin.train.plan import Plan

__all__ = ["conclude", "conclude_several", "show_fold", "show_measured", "show_plan"]


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
        f"{sum(-(-n * settings.repeat // per_step) * settings.epochs for n in runs):,} in {counted(len(runs), 'run')} of {settings.epochs} epochs",
    )
    add_row(rows, "learning rate", f"{settings.lr:g}, backbone {settings.lr * settings.backbone_lr_ratio:g}")
    seconds, steps = estimate(plan, out)
    total = sum(-(-n * settings.repeat // per_step) * settings.epochs for n in runs) * seconds
    add_row(
        rows, "time", f"about {duration(total)}, by {counted(steps, 'step')} of {seconds:.2g} s (the first ones decode)"
    )
    show(rows)
    for name, value in plan.resolved.items():
        say(f"{name} = {value!r}")
    return DONE


def show_fold(plan: "Plan"):
    """A line for every fold, when it is done."""

    def line(number: int, result: "FoldResult") -> None:
        if len(plan.parts) > 1:
            correct = result.correct(plan.classifier.labels)
            groups = len({row.group for row in result.rows if row.group})
            of = f" of {counted(groups, 'group')}" if groups else ""
            show(
                f"fold {number}/{len(plan.parts)}   held out {percent(sum(correct) / len(correct)):>7} of {len(correct)} clips"
                f"{of}   {counted(len(result.epochs), 'epoch')}"
            )

    return line


def show_measured(measured: "Measured", plan: "Plan") -> None:
    """What held-out clips say."""
    from videoswin.train.advice import resolution

    low, high = measured.interval
    what = f"pooled over {len(measured.folds)} folds" if len(measured.folds) > 1 else "held out"
    show(
        f"{what}: accuracy {percent(measured.accuracy)}, 95 % interval {percent(low)} to {percent(high)} "
        f"({resolution(len(measured.rows))})"
    )
    if len(measured.folds) > 1:
        _show_classes(measured)
    if measured.none_threshold is not None:
        show(
            f"temperature {measured.temperature:.2f}: scores are off the share of right answers by "
            f"{percent(measured.calibration_error)} on average (ECE); below {measured.none_threshold:g} the answer is none"
        )


def _show_classes(measured: "Measured") -> None:
    evaluation = measured.evaluation()
    rows = table("label", "clips", "recall", "most often taken for", right=["clips", "recall"])
    for i, one in enumerate(evaluation.per_class):
        wrong = evaluation.confusion[i].clone()
        wrong[i] = 0
        j = int(wrong.argmax())
        taken = f"{measured.labels[j]} ({int(wrong[j])})" if int(wrong[j]) else ""
        add_row(rows, one.label, str(one.n), percent(one.recall) if one.n else "-", taken)
    show(rows)


def conclude(plan: "Plan", trainer: "Trainer", measured: "Measured | None", data: Path, out: Path) -> list[str]:
    """The end of a run in words; gives what limits its figures."""
    import torch

    from videoswin.train.advice import about_sampling, about_threads, advise, at_chance, resolution

    progress, best = trainer.progress, out / "best"
    held_out = f", held-out accuracy {percent(progress.best)} at best" if plan.val_clips is not None else ""
    show(f"Trained {counted(progress.epoch, 'epoch')}{held_out}. The checkpoint: {best}")
    confusion = measured.evaluation().confusion if measured else None
    lines = about_threads(trainer.rows, torch.get_num_threads(), os.getloadavg()[0], os.cpu_count() or 1)
    lines += about_sampling(plan.classifier.preprocessing, plan.footage.seconds, plan.footage.fps)
    lines += advise(trainer.rows, plan.train_clips.rows, confusion, plan.classifier.labels)
    if plan.val_clips is not None and len(plan.val_clips) < 50:
        lines.append(f"the epoch was chosen by {resolution(len(plan.val_clips))}. --folds 5 says more.")
    for line in lines:
        say(f"advice: {line}")
    if measured is not None:
        poor = at_chance(measured.correct, measured.rows)
    elif plan.val_clips is not None:
        n = len(plan.val_clips)
        poor = at_chance([i < round(progress.best * n) for i in range(n)], plan.val_clips.rows)
    else:
        poor = False
        show("How good it is was not measured: no clip was held out.")
    if poor:
        lines.insert(0, "It is not better than naming the commonest class every time, as far as these clips can tell.")
        show(
            "It is not better than naming the commonest class every time, as far as these clips can tell. Do not use it yet: "
            "look at the advice above, at --sampling and --size (is the action in the frames?), and at the labels."
        )
    else:
        show(f"Use it:  videoswin predict clip.mp4 --weights {best}")
    if tests := plan.index.splits.get("test"):
        show(f"Once, at the end ({resolution(tests)}):  videoswin evaluate {data} --split test --weights {best}")
    return [line[:1].upper() + line[1:] for line in lines]


def conclude_several(plan: "Plan", trainer: "Trainer", data: Path, out: Path) -> None:
    """The same of a multi-label run, whose figure is mAP; it has no page."""
    progress, best = trainer.progress, out / "best"
    if plan.val_clips is None:
        show(f"Trained {counted(progress.epoch, 'epoch')}. The checkpoint: {best}")
        show("How good it is was not measured: no clip was held out. Every threshold is 0.5.")
    else:
        measured = f"mAP {percent(progress.best)} at best" if progress.best >= 0 else "clips have none of the labels"
        show(f"Trained {counted(progress.epoch, 'epoch')}, held-out {measured}. The checkpoint: {best}")
        say(
            f"the epoch and the thresholds were chosen by the same {counted(len(plan.val_clips), 'clip')}: expect somewhat less on "
            "new ones. Labels of fewer than five of them have the threshold 0.5. There is no report.html."
        )
    show(f"Use it:  videoswin predict clip.mp4 --weights {best}")
    if plan.index.splits.get("test"):
        show(f"Once, at the end:  videoswin evaluate {data} --split test --weights {best}")
