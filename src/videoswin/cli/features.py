"""``videoswin features``: what a checkpoint sees in videos, as files for other tools."""

import time
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from videoswin.cli.annotation_options import AnnotationFormat, require_annotations
from videoswin.cli.output import DONE, FAILED, SOME_UNREADABLE, counted, say, say_error, show, steps

__all__ = ["features"]


def features(
    data: Annotated[tuple[str, ...], Parameter(name="DATA")],
    /,
    *,
    weights: Annotated[str, Parameter(metavar="CHECKPOINT")],
    out: Annotated[str, Parameter(metavar="FOLDER|ADDRESS")],
    stages: str = "last",
    pool: Literal["mean", "spatial", "none"] = "mean",
    stride: int | None = None,
    clip_seconds: float | None = None,
    parquet: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    annotations: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    format: AnnotationFormat | None = None,
    limits: str | None = None,
    device: str = "auto",
) -> int:
    """Write what a checkpoint sees in videos: a vector for each clip, or a row of them along each long video.

    OUT/stageN/NAME.npy holds the features of a video, (rows, C) float32; OUT/features.json and OUT/activitynet.json hold what
    localisation tools ask for. What was computed is kept in OUT/store under the contents of the files, and is not computed
    again. A file that cannot be read is reported and does not stop the others; the exit code is then 1.

    For example:

        videoswin features clips/ --weights runs/mine/best --out features/
        videoswin features day.mp4 --weights runs/mine/best --stride 4 --out features/
        videoswin features clips/ --weights runs/mine/best --out s3://bucket/features

    Parameters
    ----------
    data
        A CSV file with the columns path,label[,split,group,start,end], a folder of class folders, or videos and folders of them.
    weights
        A checkpoint: a folder, or a name that videoswin models lists.
    out
        The folder to fill, which is made if need be; or its address in a store, such as s3://bucket/features.
    stages
        Whose features: last, or numbers from 1, such as 4, 3,4 or 1-4.
    pool
        mean: one vector; spatial: one for each time step; none: the whole map.
    stride
        Sampled frames from one row to the next along the whole video. Without it, each video gives one clip, from its middle.
    clip_seconds
        With --stride: what one clip spans, for checkpoints that do not say it.
    parquet
        Also write all vectors as one table, OUT/features.parquet (pip install 'videoswin[batch]').
    annotations
        Also write the list's segments as this file, for annotation tools; OUT/activitynet.json is written in any case.
    format
        What annotations are written as; by default what the ending says: .json activitynet, .eaf elan, .vtt webvtt.
    limits
        What one file may cost: none, or limits such as seconds=50000,timeout=600 (docs/video.md).
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    """
    from videoswin.classifier.device import choose_device
    from videoswin.classifier.loading import load
    from videoswin.classifier.resolve import resolve
    from videoswin.data.containers import Limits
    from videoswin.data.segments.write import write_tracks
    from videoswin.errors import ConfigError, OutputError
    from videoswin.features.extract import Job, extract_features, rows_of, tracks_of
    from videoswin.features.look import chosen_stages, num_stages
    from videoswin.features.mirror import local_folder
    from videoswin.storage.addresses import shown
    from videoswin.storage.extras import require_pyarrow

    resolve(weights)  # a misspelt name is answered at once
    if parquet:
        require_pyarrow()
        if pool != "mean":
            raise ConfigError(f"--parquet holds one vector a row: use --pool mean, not {pool}.")
    if clip_seconds is not None and stride is None:
        raise ConfigError("--clip-seconds is about rows along a video; give --stride as well.")
    rows = rows_of(data)
    form = require_annotations(annotations, format, len({row.path for row in rows}))
    folder = local_folder(out)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise OutputError(folder, "this is a file, and a folder is to be filled", "Give another name")
    allowed = Limits.parse(limits or "")
    classifier = load(weights)
    classifier.model.to(choose_device(device))
    job = Job(chosen_stages(stages, num_stages(classifier.model)), pool, stride, clip_seconds)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with steps(len(rows), "Looking at videos") as step:
        found = extract_features(
            classifier, rows, job, out, parquet=parquet, limits=allowed, failed=say_error, step=step
        )
    seconds = time.perf_counter() - began
    say(f"features of {counted(len(found.entries), 'video')}, {found.computed} of them computed, {seconds:.1f} s")
    if found.removed:
        say(f"removed {counted(len(found.removed), 'file')} of an earlier run with other stages or settings.")
    if annotations is not None and form is not None and found.entries:
        write_tracks(annotations, form, tracks_of(found.entries, allowed))
        say(f"wrote {annotations}")
    show(shown(out) if folder is None else str(folder))
    if not found.failures:
        return DONE
    say(f"{len(found.failures)} of {counted(len(found.failures) + len(found.entries), 'video')} could not be read.")
    return SOME_UNREADABLE if found.entries else FAILED
