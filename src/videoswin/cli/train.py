"""``videoswin train``: a model from a folder of labelled videos."""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from videoswin.cli.output import DONE, counted, quiet, say, steps, waiting
from videoswin.cli.train_command import Command, continued, keep_command
from videoswin.cli.train_figures import conclude, show_fold, show_measured, show_plan
from videoswin.cli.train_options import TrainOptions, read_options
from videoswin.cli.weights_argument import told_of
from videoswin.errors import ConfigError, OutOfMemoryError, VideoError

if TYPE_CHECKING:
    import torch

    from videoswin.data.containers import Limits
    from videoswin.data.dataset import ClipDataset
    from videoswin.train.loop import Trainer
    from videoswin.train.plan import Plan
    from videoswin.train.preferences import Preferences
    from videoswin.train.processes import Processes
    from videoswin.train.way_of_looking import Way

__all__ = ["train"]

_NO_NEGATIVE = {"negative": "", "show_default": False}
_NOTHING_GIVEN = TrainOptions()


def train(
    data: Annotated[Path | None, Parameter(name="DATA")] = None,
    /,
    *,
    out: Path,
    options: TrainOptions = _NOTHING_GIVEN,
    config: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    plan_only: Annotated[bool, Parameter(name="--plan", **_NO_NEGATIVE)] = False,
    limits: str | None = None,
    device: str | None = None,
    keep_adapter: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    skip_bad: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
    resume: Annotated[bool, Parameter(**_NO_NEGATIVE)] = False,
) -> int:
    """Train a model on labelled videos.

    With nothing but DATA and --out, the start, the frames of a clip and the settings are chosen by what the clips are like,
    and said. A fifth of the clips is held out first, whole groups at a time, to measure; then a model learns from all of
    them. --folds holds every clip out once. Clips of a "test" split are never touched.

    Every row of the list is checked and every clip is opened before the first step. Checkpoints, metrics.csv, curves.png and
    settings.toml go to the --out folder; Ctrl-C saves, and --resume goes on.

    For example:

        videoswin train videos/ --out runs/mine
        videoswin train videos.csv --out runs/mine --folds 5
        videoswin train videos/ --out runs/mine --plan
        videoswin train videos/ --weights swin3d_t_k400 --adapt lora --out runs/mine
        videoswin train --resume --out runs/mine
        videoswin train videos/ --out runs/next --config runs/mine/settings.toml --lr 1e-4

    Parameters
    ----------
    data
        A folder of class folders, or a CSV file with the columns path,label[,split,group,start,end]. With --resume it may be left
        out.
    out
        The folder of the run.
    config
        Take settings from this file, such as the settings.toml of another run; options given beside it win.
    plan_only
        Say what would happen (clips, steps, rates, and how long it takes by the first steps), and stop.
    limits
        What one file may cost: none, or limits such as seconds=50000,frames=100000,bytes=8e9,timeout=600 (docs/video.md).
    device
        auto (a GPU if there is one, the default), cpu, cuda, cuda:1 and so on.
    keep_adapter
        With --adapt lora, also write the matrices alone, as peft reads them, into the folder adapter.
    skip_bad
        Leave out clips that cannot be decoded, and list them, instead of stopping.
    resume
        Go on with the run in --out, by the options that it was begun with.
    """
    if config is not None:
        options = options.over(read_options(config))
    command = Command(
        data=data,
        options=_head_alone(options),
        limits=limits,
        device=device,
        keep_adapter=keep_adapter,
        skip_bad=skip_bad,
    )
    if resume:
        command = _going_on(command, out)
    data, options = command.require_data(), command.options
    if options.weights is not None:
        from videoswin.classifier.resolve import resolve

        resolve(options.weights)  # before the other imports: a misspelt name is answered at once
    from videoswin.classifier.device import choose_device
    from videoswin.train.processes import joined

    _require_apart(data, out)
    where = choose_device(_own_device(command.device or "auto"))
    with joined(options.strategy or "ddp", where) as processes, _speaking(processes.first):
        return _train(command, out, plan_only, where, resume, processes)


def _going_on(command: Command, out: Path) -> Command:
    """As the run in ``out`` was begun; what is given must not differ."""
    from videoswin.train.place import require_place

    require_place(out, resume=True)  # that there is none is said first
    found = continued(command, out)
    if found.data is None:
        raise ConfigError(
            f"{out}: the run does not say where its clips are: it was begun by an older version. Name DATA."
        )
    return found


def _head_alone(options: TrainOptions) -> TrainOptions:
    """``--backbone-lr-ratio 0`` is the usual way elsewhere to say that only the head learns."""
    if options.backbone_lr_ratio != 0:
        return options
    say("--backbone-lr-ratio 0: the head alone learns, as with --adapt head.")
    return dataclasses.replace(options, adapt="head", backbone_lr_ratio=None)


def _own_device(device: str) -> str:
    """With torchrun, each process has the GPU of its number on this machine."""
    local = os.environ.get("LOCAL_RANK")
    if local is None or device not in ("auto", "cuda"):
        return device
    import torch

    return f"cuda:{local}" if torch.cuda.is_available() else "cpu"


@contextmanager
def _speaking(first: bool) -> Iterator[None]:
    """Of several processes one speaks."""
    if first:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), quiet():
        yield


def _train(
    command: Command, out: Path, plan_only: bool, device: "torch.device", resume: bool, processes: "Processes"
) -> int:
    from videoswin.audit.quick import quick_look
    from videoswin.data.containers import Limits
    from videoswin.predict.provenance import sums_of
    from videoswin.storage.atomic import settled_folder
    from videoswin.train.adapt import describe, save_adapter
    from videoswin.train.folds import keep, measure
    from videoswin.train.lock import locked_run
    from videoswin.train.place import require_place
    from videoswin.train.plan import make_plan
    from videoswin.train.run_page import write_run_page
    from videoswin.train.spent import about_precision, seconds_by_name
    from videoswin.train.watching import TensorBoard, Watches

    data, options, skip_bad = command.require_data(), command.options, command.skip_bad
    board = TensorBoard(out / "tensorboard") if options.tensorboard else None  # first: it may have to be installed
    preferences, settings = _asked(options)
    if options.epochs is None and command.part_epochs is not None:
        settings["epochs"] = command.part_epochs
    allowed = Limits.parse(command.limits or "")

    def planned(preferences: "Preferences") -> "Plan":
        with waiting("Reading the list and the start"):
            return make_plan(
                data, out, options.model, options.weights, preferences, options.seed or 0, resume, allowed, settings,
                options.like, told_of(None, options.num_heads), processes,
            )  # fmt: skip

    plan = planned(preferences)
    plan.classifier.model.to(device)
    if options.weights is None and options.model is None:
        way = _way_of_looking(plan, preferences, processes, allowed)
        plan = planned(dataclasses.replace(preferences, **way.changes)) if way.changes else plan
        plan = dataclasses.replace(plan, notes=(*plan.notes, way.note)) if way.note else plan
        plan.classifier.model.to(device)
    for line in plan.notes:
        say(line)
    for line in about_precision(plan.settings.precision, device.type):
        say(f"advice: {line}")
    if plan_only:
        return show_plan(plan, out)
    with locked_run(out) if processes.first else nullcontext():
        require_place(out, resume)  # once more: another process may have begun meanwhile
        if resume:
            plan.check_resume(out, skip_bad)
        elif processes.first:
            keep_command(out, command, *_decided(plan, options))
        processes.wait()
        _prepare(plan, skip_bad)
        for line in quick_look(plan.index.rows):
            say(line)
        learnt = plan.train_clips.rows
        plan.classifier.training = dataclasses.replace(plan.training, clips=len(learnt), sums=sums_of(learnt))
        measured = None
        if plan.parts:
            measured = measure(
                plan, out, resume, lambda number, trainer: _watch(plan, number, trainer), show_fold(plan)
            )
            show_measured(measured, plan)
        chosen = measured.epochs(plan.settings.epochs) if measured and options.epochs is None else None
        trainer = plan.trainer(out, chosen)
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
        elif resume and not plan.parts:
            say("nothing was saved yet: the run begins again.")

        from videoswin.cli.watch import watch_run

        with watch_run(trainer.settings.epochs) as watch, board or nullcontext():
            trainer.run(Watches(watch, board) if board is not None else watch)
        if measured is not None:
            keep(trainer, measured, out)
        if command.keep_adapter and processes.first:
            save_adapter(trainer.model, plan.adaptation, out / "adapter")
        if processes.first:
            epochs = [row for part in (measured.folds if measured else ()) for row in part.epochs] + trainer.rows
            warnings = conclude(plan, trainer, measured, data, out, epochs)
            spent = seconds_by_name(epochs, trainer.settings.workers)
            say(f"wrote {write_run_page(out, trainer, measured, warnings, allowed, spent)}")
    return DONE


def _way_of_looking(plan: "Plan", preferences: "Preferences", processes: "Processes", allowed: "Limits") -> "Way":
    """What the clips themselves say about how to look at them."""
    from videoswin.train.way_of_looking import Way, choose_way, clips_to_ask, ways_to_try

    ways = ways_to_try(preferences, plan.classifier.preprocessing, plan.footage)
    rows = clips_to_ask(plan.train_clips.rows)
    if len(ways) < 2 or not rows:
        return Way({}, "")
    if not processes.first:
        processes.wait()  # what the first process sees is kept, and read by the others
    say(f"trying {len(ways)} ways to look at the clips, by what the start sees of {counted(len(rows), 'clip')} each.")
    with steps(len(ways) * len(rows), "Trying two ways to look at the clips") as step:
        way = choose_way(plan.classifier, ways, rows, [part.kept for part in plan.parts], step, allowed)
    if processes.first:
        processes.wait()
    return way


def _asked(options: TrainOptions) -> tuple["Preferences", dict[str, Any]]:
    """What the options say about the data and the start, and what about the optimisation."""
    from videoswin.train.preferences import Preferences
    from videoswin.train.settings import TrainSettings

    preferences = Preferences(
        clip_len=options.clip_len,
        sampling=options.sampling,
        frame_interval=options.frame_interval,
        fps=options.fps,
        size=options.size,
        whole_frame=options.whole_frame,
        augment=options.augment,
        flip=options.flip,
        drop_path=options.drop_path,
        val_share=options.val_share,
        folds=options.folds or 0,
        causal=options.causal,
        channels=options.channels,
        recipe=options.recipe,
        adapt=options.adapt or "full",
        name=options.name,
        multi_label=options.multi_label,
    )
    fields = [field.name for field in dataclasses.fields(TrainSettings)]
    settings = options.only(*(name for name in fields if hasattr(options, name) and name != "seed"))
    if not options.checkpointing:
        settings.pop("checkpointing", None)
    return preferences, settings


def _decided(plan: "Plan", options: TrainOptions) -> tuple[dict[str, Any], int | None]:
    """All options as they were decided, and the epochs of the parts where these choose those of the model that is kept."""
    values = dict(plan.resolved)
    if values["optimizer"] != "sgd":
        del values["momentum"]
    if not plan.parts or options.epochs is not None:
        return values, None
    return values, values.pop("epochs")


def _prepare(plan: "Plan", skip_bad: bool) -> None:
    """Open every clip once; bad ones surface here, before the first step, and so does a machine that has no room for them."""
    from videoswin.train.mishaps import as_one_line

    with as_one_line(lambda: "while clips were read"):
        _prepare_part("training", plan.train_clips, "skip" if skip_bad else "error", own_validation=False)
        if plan.val_clips is not None:
            # A list's own validation is never made easier by leaving out what cannot be read.
            own = any(name in plan.index.splits for name in ("val", "valid", "validation"))
            _prepare_part("validation", plan.val_clips, "skip" if skip_bad and not own else "error", own_validation=own)


def _about_bad(own_validation: bool) -> str:
    if own_validation:
        return "Or take it out of the list: --skip-bad leaves out no clip of a list's own validation, which would become easier"
    return "Or add --skip-bad, which leaves such clips out and lists them"


def _prepare_part(name: str, clips: "ClipDataset", on_bad: str, own_validation: bool) -> None:
    try:
        with steps(len(clips), f"Reading {name} clips") as step:
            done = clips.prepare(on_bad, lambda *_: step())
    except OutOfMemoryError:
        raise
    except VideoError as error:
        hint = f"{error.hint}. " if error.hint else ""
        raise VideoError(error.path, error.reason, f"{hint}{_about_bad(own_validation)}") from error
    left_out = f"; {counted(len(done.skipped), 'unreadable clip')} left out, listed above" if done.skipped else ""
    say(f"{counted(done.clips, name + ' clip')}, {done.cached} of them kept in memory{left_out}")


def _watch(plan: "Plan", number: int, trainer: "Trainer"):
    from videoswin.cli.watch import part_watch

    what = f"fold {number}/{len(plan.parts)}" if len(plan.parts) > 1 else "held out"
    return part_watch(what, trainer.settings.epochs)


def _require_apart(data: Path, out: Path) -> None:
    """The next run would read what this one writes."""
    folder = (data if data.is_dir() else data.parent).resolve()
    if out.resolve() == folder:
        raise ConfigError(f"--out {out} is the folder of the clips. Give another one, such as runs/mine.")
