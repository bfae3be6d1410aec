"""``videoswin train``: a model from a folder of labelled videos."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from videoswin.cli.output import DONE, add_row, counted, percent, say, show, steps, table
from videoswin.cli.weights_argument import told_of

if TYPE_CHECKING:
    from videoswin.data.dataset import ClipDataset
    from videoswin.train.folds import FoldResult, Measured
    from videoswin.train.loop import Trainer
    from videoswin.train.plan import Plan

__all__ = ["train"]

_NO_NEGATIVE = {"negative": "", "show_default": False}


def train(
    data: Annotated[Path, Parameter(name="DATA")],
    /,
    *,
    out: Path,
    model: str | None = None,
    weights: Annotated[str | None, Parameter(metavar="CHECKPOINT")] = None,
    like: Annotated[str | None, Parameter(metavar="MODEL")] = None,
    num_heads: int | None = None,
    folds: int = 0,
    adapt: str = "full",
    recipe: str | None = None,
    name: str | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    backbone_lr_ratio: float | None = None,
    weight_decay: float | None = None,
    warmup_epochs: float | None = None,
    drop_path: float | None = None,
    causal: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    label_smoothing: float | None = None,
    clip_len: int | None = None,
    sampling: str | None = None,
    frame_interval: int | None = None,
    fps: float | None = None,
    size: int | None = None,
    whole_frame: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    augment: str | None = None,
    flip: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    val_share: float | None = None,
    precision: str = "float32",
    seed: int = 0,
    workers: int = 0,
    limits: str | None = None,
    device: str = "auto",
    keep_adapter: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    skip_bad: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    resume: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
) -> int:
    """Train a model on labelled videos.

    With nothing but DATA and --out, the start, the frames of a clip and the settings are chosen by what the clips are like,
    and said. A fifth of the clips is held out first, whole groups at a time, to measure; then a model learns from all of
    them. --folds holds every clip out once. Clips of a "test" split are never touched.

    Every row of the list is checked and every clip is opened before the first step. Checkpoints, metrics.csv and curves.png
    go to the --out folder; Ctrl-C saves, and --resume goes on.

    For example:

        videoswin train videos/ --out runs/mine
        videoswin train videos.csv --out runs/mine --folds 5
        videoswin train videos/ --weights swin3d_t_k400 --adapt lora --out runs/mine
        videoswin train videos/ --out runs/mine --resume

    Parameters
    ----------
    data
        A folder of class folders, or a CSV file with the columns path,label[,split,group,start,end].
    out
        The folder of the run.
    model
        Start from fresh weights of this architecture, such as swin3d_micro, or of any system in docs/zoo.md, such as
        r2plus1d_micro. It takes thousands of clips.
    weights
        Start from this checkpoint: a folder, or a name that videoswin models lists. Its preprocessing is kept; the head keeps
        the rows of labels it knows, and the others start afresh.
    like
        For files of weights alone, whose tensors do not tell everything: the name of a model that answers the rest, such as
        timesformer_b_divided.
    num_heads
        The same, for the heads of attention alone.
    folds
        Hold every clip out once, in so many parts, whole groups at a time; then train on all clips.
    adapt
        What learns: full (everything), head, last:K (the last K blocks and the head), bitfit (biases and the head), or
        lora[:RANK] (thin matrices beside the attention's layers, added to the weights when saved).
    recipe
        The table of settings to start from: motion, finetune or scratch; by default the one that suits the start.
    name
        What the checkpoint calls itself; by default the name of the run's folder.
    epochs
        How often each clip is seen; by default so often that there are enough steps.
    patience
        Stop after so many epochs without a lower held-out loss; by default never.
    batch_size
        Clips per step.
    lr
        Learning rate of the head, after the warm-up.
    backbone_lr_ratio
        Learning rate of the backbone as a share of --lr.
    weight_decay
        Decay of weight matrices; norms, biases and relative position tables have none.
    warmup_epochs
        Epochs over which the learning rate rises, at most a quarter of the run; a cosine then takes it to 0.
    drop_path
        Stochastic depth of the last block.
    causal
        Let the model look back in time only, so that it can follow a live video step by step. With --weights, those of an
        ordinary model are a start; the checkpoint stays causal.
    label_smoothing
        Share of the target spread over all classes.
    clip_len
        Frames per clip.
    sampling
        How frames are chosen: interval (every n-th), uniform (spread over the whole video), or time.
    frame_interval
        Every n-th frame, with --sampling interval.
    fps
        Frames per second, with --sampling time.
    size
        Height and width of a clip in pixels.
    whole_frame
        Stretch the whole frame to the size, where the action fills the frame; else the short side is resized and the
        centre cut out.
    augment
        How much the clips vary: strong (scale, position, speed, colours, noise), standard (crops and colours), gentle
        (nearly whole frames), or none.
    flip
        Mirror half of the clips. Classes that name a side, such as left, swap labels.
    val_share
        Hold out this share of the training clips for good and let it choose the epoch; 0 for none. Without it few clips are
        only lent for measuring.
    precision
        float32 or bf16.
    seed
        Same seed, same run.
    workers
        Processes that prepare clips; 0 is best when all clips fit in memory.
    limits
        What one file may cost: none, or limits such as seconds=50000,frames=100000,bytes=8e9,timeout=600 (docs/video.md).
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    keep_adapter
        With --adapt lora, also write the matrices alone, as peft reads them, into the folder adapter.
    skip_bad
        Leave out clips that cannot be decoded, and list them, instead of stopping.
    resume
        Continue the run in --out.
    """
    if weights is not None:
        from videoswin.classifier.resolve import resolve

        resolve(weights)  # before the other imports: a misspelt name is answered at once
    from dataclasses import replace

    from videoswin.audit.quick import quick_look
    from videoswin.classifier.device import choose_device
    from videoswin.data.containers import Limits
    from videoswin.predict.provenance import sums_of
    from videoswin.storage.atomic import settled_folder
    from videoswin.train.adapt import describe, save_adapter
    from videoswin.train.folds import keep, measure
    from videoswin.train.plan import Preferences, make_plan
    from videoswin.train.run_page import write_run_page

    _require_apart(data, out)
    if backbone_lr_ratio == 0:  # the usual way elsewhere to say that only the head learns
        say("--backbone-lr-ratio 0: the head alone learns, as with --adapt head.")
        adapt, backbone_lr_ratio = "head", None
    given: dict[str, Any] = {
        "epochs": epochs,
        "patience": patience,
        "batch_size": batch_size,
        "lr": lr,
        "backbone_lr_ratio": backbone_lr_ratio,
        "weight_decay": weight_decay,
        "warmup_epochs": warmup_epochs,
        "label_smoothing": label_smoothing,
        "precision": precision,
        "workers": workers,
    }
    preferences = Preferences(
        clip_len=clip_len,
        sampling=sampling,
        frame_interval=frame_interval,
        fps=fps,
        size=size,
        whole_frame=whole_frame,
        augment=augment,
        flip=flip,
        drop_path=drop_path,
        val_share=val_share,
        folds=folds,
        causal=causal,
        recipe=recipe,
        adapt=adapt,
        name=name,
    )
    settings = {key: value for key, value in given.items() if value is not None}
    told, allowed = told_of(None, num_heads), Limits.parse(limits or "")
    plan = make_plan(data, out, model, weights, preferences, seed, resume, allowed, settings, like, told)
    for line in plan.notes:
        say(line)
    plan.classifier.model.to(choose_device(device))
    if resume:
        plan.check_resume(out, skip_bad)
    _prepare(plan, skip_bad)
    learnt = plan.train_clips.rows
    for line in quick_look(plan.index.rows):
        say(line)
    plan.classifier.training = replace(plan.training, clips=len(learnt), sums=sums_of(learnt))

    measured = None
    if plan.parts:
        measured = measure(plan, out, resume, lambda number, trainer: _watch(plan, number, trainer), _show_fold(plan))
        _show_measured(measured, plan)
    trainer = plan.trainer(out, measured.epochs(plan.settings.epochs) if measured and epochs is None else None)
    if trainer.settings.epochs != plan.settings.epochs:
        say(
            f"the held-out loss was lowest earlier: the model that is kept learns for {trainer.settings.epochs} epochs."
        )
    if plan.adaptation.kind != "full":
        say(describe(trainer.model, plan.adaptation))
    if resume and settled_folder(out / "last").exists():
        trainer.resume()
        progress = trainer.progress
        say(
            "all epochs were done"
            if trainer.done
            else f"going on in epoch {progress.epoch + 1}, after step {progress.step}"
        )

    from videoswin.cli.watch import watch_run

    with watch_run(trainer.settings.epochs) as watch:
        trainer.run(watch)
    if measured is not None:
        keep(trainer, measured, out)
    if keep_adapter:
        save_adapter(trainer.model, plan.adaptation, out / "adapter")
    warnings = _conclude(plan, trainer, measured, data, out)
    say(f"wrote {write_run_page(out, trainer, measured, warnings, allowed)}")
    return DONE


def _prepare(plan: "Plan", skip_bad: bool) -> None:
    """Open every clip once; bad ones surface here, before the first step."""
    _prepare_part("training", plan.train_clips, "skip" if skip_bad else "error")
    if plan.val_clips is not None:
        # A list's own validation is never made easier by leaving out what cannot be read.
        lent = not any(name in plan.index.splits for name in ("val", "valid", "validation"))
        _prepare_part("validation", plan.val_clips, "skip" if skip_bad and lent else "error")


def _prepare_part(name: str, clips: "ClipDataset", on_bad: str) -> None:
    with steps(len(clips), f"Reading {name} clips") as step:
        done = clips.prepare(on_bad, lambda *_: step())
    left_out = f"; {counted(len(done.skipped), 'unreadable clip')} left out, listed above" if done.skipped else ""
    say(f"{counted(done.clips, name + ' clip')}, {done.cached} of them kept in memory{left_out}")


def _watch(plan: "Plan", number: int, trainer: "Trainer"):
    from videoswin.cli.watch import part_watch

    what = f"fold {number}/{len(plan.parts)}" if len(plan.parts) > 1 else "held out"
    return part_watch(what, trainer.settings.epochs)


def _show_fold(plan: "Plan"):
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


def _show_measured(measured: "Measured", plan: "Plan") -> None:
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


def _require_apart(data: Path, out: Path) -> None:
    """The next run would read what this one writes."""
    from videoswin.errors import ConfigError

    folder = (data if data.is_dir() else data.parent).resolve()
    if out.resolve() == folder:
        raise ConfigError(f"--out {out} is the folder of the clips. Give another one, such as runs/mine.")


def _conclude(plan: "Plan", trainer: "Trainer", measured: "Measured | None", data: Path, out: Path) -> list[str]:
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
