"""``videoswin batch``: labels for any number of videos, through kills and restarts."""

import math
import sys
import time
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from videoswin.cli.output import DONE, SOME_UNREADABLE, counted, say, show, steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from videoswin.batch.orders import PartDone
    from videoswin.batch.run import Engine, Plan

__all__ = ["batch"]

_REPORT_EVERY_S = 30.0


def batch(
    files: Annotated[tuple[str, ...], Parameter(name="MANIFEST")],
    /,
    *,
    weights: Annotated[str, Parameter(metavar="CHECKPOINT")],
    out: Annotated[str, Parameter(metavar="FOLDER|ADDRESS")],
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
    part_rows: int = 128,
    views: Annotated[str, Parameter(metavar="CLIPSxCROPS")] = "1x1",
    top_k: int = 5,
    keep_features: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    keep_timeline: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    clip_seconds: float | None = None,
    limits: str | None = None,
    device: str = "cpu",
) -> int:
    """Put labels on any number of videos, and write one table of parquet files.

    The same command goes on where it was stopped, by Ctrl-C, a kill or a power cut: no file is lost, none is done twice, and
    the table is the same to the last byte. A file that cannot be read has its reason in the column error; the exit code is
    then 1.

    For example:

        videoswin batch videos.csv --weights runs/mine/best --out results/
        videoswin batch "clips/*.mp4" --weights runs/mine/best --out results/ --workers 8 --keep-features
        videoswin batch s3://bucket/list.csv --weights runs/mine/best --out s3://bucket/results --engine ray

    Parameters
    ----------
    files
        A .csv with a column path, a .txt with a path a line, or videos, folders and patterns. Each may be an address such as
        s3://bucket/key, which is read through fsspec.
    weights
        A checkpoint: a folder, a name that videoswin models lists, or an exported file.
    out
        A new folder, or that of the same batch, which goes on. It may be an address in a store, such as s3://bucket/results.
    engine
        local: processes of this machine. ray: those of a Ray cluster, the one that RAY_ADDRESS names or that runs here.
    workers
        How many processes; by default one for each core of the machine or of the cluster.
    part_rows
        Files of one part of the table. A kill costs the parts that were being worked on.
    views
        Clips x crops whose scores are averaged.
    top_k
        How many labels to keep for each video.
    keep_features
        Also keep the vector that the last layer reads.
    keep_timeline
        Also keep what each video shows and when, as videoswin timeline finds it: a second pass.
    clip_seconds
        With --keep-timeline: what one clip spans, for checkpoints that do not say it.
    limits
        What one file may cost: none, or limits such as seconds=50000,timeout=600 (docs/video.md).
    device
        cpu, cuda, cuda:1 and so on; all workers share it.
    """
    from videoswin.batch.manifest import read_manifest
    from videoswin.batch.run import plan_batch, run_batch, weights_digest
    from videoswin.batch.work import Label
    from videoswin.errors import ConfigError
    from videoswin.storage.extras import require_pyarrow

    require_pyarrow()
    run_parts = _engine(engine)
    for name, value in (("workers", workers), ("top_k", top_k)):
        if value is not None and value < 1:
            raise ConfigError(f"{name}={value} must be 1 or more.")
    if clip_seconds is not None and not keep_timeline:
        raise ConfigError("--clip-seconds is for --keep-timeline. Give both, or leave it out.")
    if clip_seconds is not None and not (math.isfinite(clip_seconds) and clip_seconds > 0):
        raise ConfigError(f"clip_seconds={clip_seconds} must be above 0.")
    digest = weights_digest(weights)
    work = Label(weights, views, top_k, limits or "", device, keep_features, keep_timeline, clip_seconds)
    _check(work)
    manifest = read_manifest(files)
    if manifest.repeated:
        say(f"{counted(manifest.repeated, 'row')} of the list name a file again; each file is done once.")
    with plan_batch(out, manifest, work, digest, part_rows) as plan:
        if plan.done:
            say(f"{counted(plan.files_done, 'file')} of {len(manifest.paths):,} are done already.")
        with _Progress(plan) as progress:
            outcome = run_batch(plan, work, workers, progress.each, say, run_parts)
    show(plan.place.table)
    if outcome.failed:
        say(f"{outcome.failed:,} of {counted(outcome.files, 'file')} could not be read; the column error says why.")
        return SOME_UNREADABLE
    return DONE


def _engine(name: str) -> "Engine":
    if name == "ray":
        from videoswin.batch.on_ray import require_ray, run_parts_on_ray

        require_ray()
        return run_parts_on_ray
    from videoswin.batch.pool import run_parts

    return run_parts


def _check(work: object) -> None:
    """What would stop every worker is said before any is started."""
    from videoswin.data.containers import Limits
    from videoswin.data.preprocessing import Views

    Limits.parse(getattr(work, "limits", ""))
    Views.of(getattr(work, "views", "1x1"))


class _Progress:
    """A bar at a terminal, a line now and then elsewhere; and a line for each file that failed."""

    def __init__(self, plan: "Plan") -> None:
        self._total, self._done, self._began_with = len(plan.manifest.paths), plan.files_done, plan.files_done
        self._failed = sum(plan.done.values())
        self._began = self._said = time.monotonic()
        self._bar = steps(self._total - self._done, "Files") if sys.stderr.isatty() else None
        self._step: Callable[[], None] = lambda: None

    def __enter__(self) -> "_Progress":
        if self._bar:
            self._step = self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.__exit__(None, None, None)

    def each(self, part: "PartDone") -> None:
        for line in part.errors:
            say(line)
        self._failed += len(part.errors)
        self._done += part.files
        for _ in range(part.files):
            self._step()
        now = time.monotonic()
        if self._bar is None and (now - self._said >= _REPORT_EVERY_S or self._done == self._total):
            self._said = now
            rate = (self._done - self._began_with) / max(1e-9, now - self._began)
            left = (self._total - self._done) / rate
            say(
                f"{self._done:,} of {self._total:,} files, {self._failed:,} failed, {rate:.1f} files/s, "
                f"about {_duration(left)} left"
            )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
