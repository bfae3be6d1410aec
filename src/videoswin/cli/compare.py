"""``videoswin compare``: models on the same clips, folds and seeds."""

import json
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, FAILED, SOME_UNREADABLE, add_row, say, show, table

__all__ = ["compare"]


def compare(
    data: Annotated[Path | None, Parameter(name="DATA")] = None,
    /,
    *,
    models: Annotated[str | None, Parameter(metavar="LIST")] = None,
    out: Path,
    folds: int | None = None,
    seeds: int | None = None,
    recipe: Annotated[str | None, Parameter(metavar="RECIPE")] = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    clip_len: int | None = None,
    sampling: str | None = None,
    fps: float | None = None,
    size: int | None = None,
    augment: str | None = None,
    limits: str | None = None,
    device: str | None = None,
    resume: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Compare models on your clips: size, cost, training time and held-out accuracy.

    Every model is trained on the same folds (whole groups at a time) with the same seeds, and judged by the clips that it did
    not see, at its last epoch. Costs are measured on this machine, all models in turns. One table and one page; what fails is
    listed and does not stop the others. Clips of a "test" split are never touched. Stopped, it goes on with --resume and --out alone.

    For example:

        videoswin compare videos/ --models swin3d_micro,r2plus1d_micro --out runs/compared
        videoswin compare videos.csv --models swin3d_micro,r2plus1d_18:20 --size 56 --clip-len 16 --out runs/compared
        videoswin compare videos.csv --models swin3d_micro,swin3d_micro:window_size=1x7x7 --out runs/compared
        videoswin compare videos.csv --models swin3d_micro:size=56,r2plus1d_18:20:size=112 --out runs/compared
        videoswin compare --resume --out runs/compared

    Parameters
    ----------
    data
        A folder of class folders, or a CSV file with the columns path,label[,split,group,start,end]. With --resume it may be left
        out, and so may all options.
    models
        Names of architectures with commas; a width after a colon (r2plus1d_18:20), or fields of the configuration
        (swin3d_micro:window_size=1x7x7). Or checkpoints to start from. What differs for the clips of one stands at its end:
        size, clip_len, sampling, fps or frame_interval (r2plus1d_18:20:size=112). The others are set beside the first.
    out
        The folder of the comparison.
    folds
        Hold every clip out once, in so many parts; by default 5.
    seeds
        How many times, each with folds and fresh weights of its own; by default 3.
    recipe
        One table of settings for all (scratch, finetune, motion); own for what suits each start, the default; or some by
        name: swin3d_micro=scratch,r2plus1d_18:20=finetune. The table says which one each model got.
    epochs
        How often each clip is seen; by default so often that there are enough steps.
    batch_size
        Clips per step.
    lr
        Learning rate of the head, after the warm-up.
    clip_len
        Frames per clip; by default what each architecture was made for.
    sampling
        How frames are chosen: interval, uniform or time.
    fps
        Frames per second, with --sampling time.
    size
        Height and width of a clip in pixels; by default what each architecture was made for.
    augment
        How much the clips vary: strong, standard, gentle or none.
    limits
        What one file may cost: none, or limits such as seconds=50000,frames=100000,bytes=8e9,timeout=600 (docs/video.md).
    device
        auto (a GPU if there is one, the default), cpu, cuda, cuda:1 and so on.
    resume
        Go on with the comparison in --out, by the options that it was begun with; models may be added.
    json_only
        Print one JSON object and nothing else.
    """
    from videoswin.classifier.device import choose_device
    from videoswin.cli.watch import part_watch
    from videoswin.data.containers import Limits
    from videoswin.errors import ConfigError, Interrupted
    from videoswin.train.compare import Comparison, Terms, begun_with
    from videoswin.train.compare_page import COLUMNS, about_groups, table_rows, write_page
    from videoswin.train.contenders import parse_contenders, parse_recipes
    from videoswin.train.preferences import Preferences

    asked = {
        "data": None if data is None else os.path.abspath(data),
        "models": models,
        "folds": folds,
        "seeds": seeds,
        "recipe": recipe,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "clip_len": clip_len,
        "sampling": sampling,
        "fps": fps,
        "size": size,
        "augment": augment,
        "limits": limits,
        "device": device,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    if resume:
        asked = {**begun_with(out), **asked}
    if missing := [name for name in ("data", "models") if name not in asked]:
        what = "DATA, the clips" if missing == ["data"] else "--models, such as swin3d_micro,r2plus1d_micro"
        raise ConfigError(f"Name {what}. Only with --resume, for a comparison that says it, may it be left out.")
    contenders = parse_contenders(asked["models"])
    recipes = parse_recipes(asked.get("recipe"), contenders)
    looks = ("clip_len", "sampling", "fps", "size", "augment")
    wanted = Preferences(folds=asked.get("folds", 5), **{name: asked[name] for name in looks if name in asked})
    settings = {name: asked[name] for name in ("epochs", "batch_size", "lr") if name in asked}
    limited = Limits.parse(asked.get("limits", ""))
    terms = Terms(
        Path(asked["data"]),
        wanted,
        asked.get("seeds", 3),
        settings,
        limited,
        choose_device(asked.get("device", "auto")),
    )
    comparison = Comparison(
        contenders,
        recipes,
        terms,
        out,
        asked=asked,
        resume=resume,
        say=say,
        watch=lambda what, trainer: part_watch(what, trainer.settings.epochs),
    )
    order = [one.text for one in contenders]
    try:
        results = comparison.run()
    except (Interrupted, KeyboardInterrupt):
        if any(entry["runs"] for entry in comparison.results["models"].values()):
            say(f"what is known so far: {write_page(comparison.results, order, out)}")
        raise
    page = write_page(results, order, out)
    if json_only:
        print(json.dumps(results))
    else:
        listing = table(*COLUMNS, right=COLUMNS[3:])
        rows = table_rows(results, order)
        for row in rows:
            add_row(listing, *row.cells)
        show(listing)
        for row in rows:
            if row.error:
                show(f"{row.cells[0]} failed: {row.error}")
            elif row.verdict == "no difference seen":
                show(f"{row.cells[0]} and {order[0]}: these clips do not tell them apart.")
        if note := about_groups(results):
            show(note)
        show(f"The page: {page}")
    failed = sum("error" in results["models"][name] for name in order)
    return FAILED if failed == len(order) else SOME_UNREADABLE if failed else DONE
