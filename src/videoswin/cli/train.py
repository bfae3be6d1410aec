"""``videoswin train``: a model from a folder of labelled videos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, counted, percent, say, show, steps

if TYPE_CHECKING:
    from videoswin.data.dataset import ClipDataset
    from videoswin.train.start import Plan

__all__ = ["train"]

_NO_NEGATIVE = {"negative": "", "show_default": False}


def train(
    data: Annotated[Path, Parameter(name="DATA")],
    /,
    *,
    out: Path,
    model: str | None = None,
    weights: Annotated[str | None, Parameter(metavar="CHECKPOINT")] = None,
    epochs: int = 30,
    batch_size: int = 8,
    lr: float = 5e-4,
    backbone_lr_ratio: float | None = None,
    weight_decay: float = 0.05,
    warmup_epochs: float = 2.5,
    drop_path: float | None = None,
    causal: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    label_smoothing: float = 0.1,
    clip_len: int | None = None,
    sampling: str | None = None,
    frame_interval: int | None = None,
    fps: float | None = None,
    size: int | None = None,
    whole_frame: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    augment: str = "standard",
    flip: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    val_share: float = 0.2,
    precision: str = "float32",
    seed: int = 0,
    workers: int = 0,
    limits: str | None = None,
    device: str = "auto",
    skip_bad: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    resume: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
) -> int:
    """Train a model on labelled videos.

    Every row of the list is checked and every clip is opened before the first step. Clips of a "test" split are never
    touched. Validation uses the "val" split, or else holds out a share of the training clips, whole groups at a time.
    Checkpoints, metrics.csv and curves.png go to the --out folder; Ctrl-C saves, and --resume goes on.

    For example:

        videoswin train videos/ --model swin3d_micro --out runs/mine
        videoswin train videos.csv --weights swin3d_micro_gestures --backbone-lr-ratio 0.2 --out runs/mine
        videoswin train videos/ --model swin3d_micro --out runs/mine --resume

    Parameters
    ----------
    data
        A folder of class folders, or a CSV file with the columns path,label[,split,group,start,end].
    out
        The folder of the run.
    model
        Start from fresh weights of this architecture, such as swin3d_micro.
    weights
        Start from this checkpoint: a folder, or the name of one that comes with videoswin. Its preprocessing is kept; the
        head keeps the rows of labels it knows, and the others start afresh.
    epochs
        How often each clip is seen.
    batch_size
        Clips per step.
    lr
        Learning rate of the head, after the warm-up.
    backbone_lr_ratio
        Learning rate of the backbone as a share of --lr. By default 1 with --model, 0.1 with --weights.
    weight_decay
        Decay of weight matrices; norms, biases and relative position tables have none.
    warmup_epochs
        Epochs over which the learning rate rises, at most a quarter of the run; a cosine then takes it to 0.
    drop_path
        Stochastic depth of the last block; by default the model's own.
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
        How much the clips vary: standard (crops and colours), strong (also scale, position, speed, noise), gentle
        (nearly whole frames), or none.
    flip
        Mirror half of the clips. Classes that name a side, such as left, swap labels.
    val_share
        Share of the training clips to validate on if there is no "val" split; 0 for none.
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
    skip_bad
        Leave out clips that cannot be decoded, and list them, instead of stopping.
    resume
        Continue the run in --out.
    """
    if weights is not None:
        from videoswin.classifier.resolve import resolve

        resolve(weights)  # before the other imports: a misspelt name is answered at once
    from videoswin.classifier.device import choose_device
    from videoswin.data.containers import Limits
    from videoswin.train.loop import Trainer
    from videoswin.train.settings import TrainSettings
    from videoswin.train.start import Preferences, make_plan

    ratio = backbone_lr_ratio if backbone_lr_ratio is not None else (0.1 if weights else 1.0)
    settings = TrainSettings(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        backbone_lr_ratio=ratio,
        weight_decay=weight_decay,
        warmup_epochs=warmup_epochs,
        label_smoothing=label_smoothing,
        precision=precision,  # type: ignore[arg-type]  # checked by TrainSettings
        seed=seed,
        workers=workers,
    )
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
        causal=causal,
    )
    plan = make_plan(data, out, model, weights, preferences, seed, resume, Limits.parse(limits or ""))
    for line in plan.notes:
        say(line)
    plan.classifier.model.to(choose_device(device))
    _prepare(plan, skip_bad)
    trainer = Trainer(plan.classifier, plan.train_clips, plan.val_clips, settings, out)
    if resume:
        trainer.resume()
        progress = trainer.progress
        done = progress.epoch >= settings.epochs
        say("all epochs were done" if done else f"going on in epoch {progress.epoch + 1}, after step {progress.step}")

    from videoswin.cli.watch import watch_run

    with watch_run(settings.epochs) as watch:
        trainer.run(watch)
    progress = trainer.progress
    held_out = f", held-out accuracy {percent(progress.best)} at best" if plan.val_clips is not None else ""
    show(f"Trained {counted(progress.epoch, 'epoch')}{held_out}. The checkpoint: {out / 'best'}")
    show(f"Use it:  videoswin predict clip.mp4 --weights {out / 'best'}")
    return DONE


def _prepare(plan: "Plan", skip_bad: bool) -> None:
    """Open every clip once; bad ones surface here, before the first step."""
    _prepare_part("training", plan.train_clips, "skip" if skip_bad else "error")
    if plan.val_clips is not None:
        # Validation is never made easier by leaving out what cannot be read.
        _prepare_part("validation", plan.val_clips, "error")


def _prepare_part(name: str, clips: "ClipDataset", on_bad: str) -> None:
    with steps(len(clips), f"Reading {name} clips") as step:
        done = clips.prepare(on_bad, lambda *_: step())
    left_out = f"; {counted(len(done.skipped), 'unreadable clip')} left out, listed above" if done.skipped else ""
    say(f"{counted(done.clips, name + ' clip')}, {done.cached} of them kept in memory{left_out}")
