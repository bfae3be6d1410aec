"""``videoswin teach``: new classes from a few clips, in minutes."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, counted, say, show, steps

if TYPE_CHECKING:
    from videoswin.train.teach import Taught

__all__ = ["teach"]


def teach(
    data: Annotated[Path, Parameter(name="DATA")],
    /,
    *,
    out: Annotated[Path, Parameter(metavar="FOLDER")],
    weights: Annotated[str | None, Parameter(metavar="CHECKPOINT")] = None,
    none: Annotated[str, Parameter(metavar="LABEL")] = "none of these",
    features: Annotated[str | None, Parameter(metavar="FOLDER|ADDRESS")] = None,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    device: str = "auto",
) -> int:
    """Teach new classes by a few clips of each, in minutes.

    A linear head is fitted on what a frozen checkpoint sees, and judged by clips that were held out, whole persons or scenes
    where a CSV names them in a column group. Clips of a "test" split are left alone. The same is on the page of videoswin serve.

    For example:

        videoswin teach videos/ --out runs/taught
        videoswin predict clip.mp4 --weights runs/taught

    Parameters
    ----------
    data
        A folder of class folders, 5 to 20 clips in each, or a CSV file with the columns path,label[,split,group].
    out
        The checkpoint folder to write.
    weights
        Whose features are used. By default the checkpoint that runs of train start from.
    none
        The label, or folder, of clips that show none of the classes.
    features
        What videoswin features wrote with the same checkpoint, a folder or an address such as s3://bucket/features: what is
        in it is not computed again. By default the cache.
    json_only
        Print one JSON object and nothing else.
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    """
    from videoswin.classifier.device import choose_device
    from videoswin.classifier.loading import load
    from videoswin.data.annotations import read_index
    from videoswin.errors import ConfigError, nearest
    from videoswin.features.folder import store_of_clips
    from videoswin.train.place import require_checkpoint_place
    from videoswin.train.start import DEFAULT_START
    from videoswin.train.teach import NONE
    from videoswin.train.teach import teach as fit

    require_checkpoint_place(out, weights)
    index = read_index(data)
    for line in index.notes:
        say(line)
    rows = [row for row in index.rows if row.split != "test"]
    labels = {row.label for row in rows}
    if none != NONE and none not in labels:
        unsplit = "; a row with an empty split counts for nothing" if index.splits else ""
        raise ConfigError(f'--none "{none}": no clip to learn from has this label{unsplit}. {nearest(none, labels)}')
    if left := len(index.rows) - len(rows):
        say(f'{counted(left, "clip")} of the split "test" left alone.')
    start = load(weights or DEFAULT_START)
    store = store_of_clips(features, start, notice=say) if features else None
    start.model.to(choose_device(device))
    with steps(len(rows), "Looking at clips") as step:
        taught = fit(start, rows, out.resolve().name, none=none, features=store, step=step)
    taught.classifier.save(out)
    if json_only:
        print(json.dumps(taught.to_dict()))
    else:
        _show(taught, none)
        say(f"wrote the checkpoint {out}")
    return DONE


def _show(taught: "Taught", none: str) -> None:
    show(taught.estimate)
    if taught.none_auroc is not None:
        by = "clips of other things" if taught.none_from == "clips" else "leaving each class out"
        show(f"{none}: told apart with an AUROC of {taught.none_auroc:.3f} (by {by})")
    for true, taken, count in taught.confused:
        show(f"  {true} was taken for {taken}: {count}")
    for note in taught.notes:
        say(note)
