"""``videoswin compare``: models on the same clips, folds and seeds."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, FAILED, SOME_UNREADABLE, add_row, say, show, table

__all__ = ["compare"]


def compare(
    data: Annotated[Path, Parameter(name="DATA")],
    /,
    *,
    models: Annotated[str, Parameter(metavar="LIST")],
    out: Path,
    folds: int = 5,
    seeds: int = 3,
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
    device: str = "auto",
    resume: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Compare models on your clips: size, cost, training time and held-out accuracy.

    Every model is trained on the same folds (whole groups at a time) with the same seeds, and judged by the clips that it did
    not see, at its last epoch. Costs are measured on this machine, all models in turns. One table and one page; what fails is
    listed and does not stop the others. Clips of a "test" split are never touched. Stopped, it goes on with --resume.

    For example:

        videoswin compare videos/ --models swin3d_micro,r2plus1d_micro --out runs/compared
        videoswin compare videos.csv --models swin3d_micro,r2plus1d_18:20 --size 56 --clip-len 16 --out runs/compared
        videoswin compare videos.csv --models swin3d_micro,swin3d_micro:window_size=1x7x7 --out runs/compared
        videoswin compare videos.csv --models swin3d_micro:size=56,r2plus1d_18:20:size=112 --out runs/compared

    Parameters
    ----------
    data
        A folder of class folders, or a CSV file with the columns path,label[,split,group,start,end].
    models
        Names of architectures with commas; a width after a colon (r2plus1d_18:20), or fields of the configuration
        (swin3d_micro:window_size=1x7x7). Or checkpoints to start from. What differs for the clips of one stands at its end:
        size, clip_len, sampling, fps or frame_interval (r2plus1d_18:20:size=112). The others are set beside the first.
    out
        The folder of the comparison.
    folds
        Hold every clip out once, in so many parts.
    seeds
        How many times, each with folds and fresh weights of its own.
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
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    resume
        Go on with the comparison in --out; models may be added.
    json_only
        Print one JSON object and nothing else.
    """
    from videoswin.classifier.device import choose_device
    from videoswin.cli.watch import part_watch
    from videoswin.data.containers import Limits
    from videoswin.train.compare import Comparison, Terms
    from videoswin.train.compare_page import COLUMNS, table_rows, write_page
    from videoswin.train.contenders import parse_contenders, parse_recipes
    from videoswin.train.preferences import Preferences

    contenders = parse_contenders(models)
    recipes = parse_recipes(recipe, contenders)
    wanted = Preferences(clip_len=clip_len, sampling=sampling, fps=fps, size=size, augment=augment, folds=folds)
    given = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    settings = {name: value for name, value in given.items() if value is not None}
    terms = Terms(data, wanted, seeds, settings, Limits.parse(limits or ""), choose_device(device))
    comparison = Comparison(
        contenders,
        recipes,
        terms,
        out,
        resume=resume,
        say=say,
        watch=lambda what, trainer: part_watch(what, trainer.settings.epochs),
    )
    results = comparison.run()
    order = [one.text for one in contenders]
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
        show(f"The page: {page}")
    failed = sum("error" in results["models"][name] for name in order)
    return FAILED if failed == len(order) else SOME_UNREADABLE if failed else DONE
