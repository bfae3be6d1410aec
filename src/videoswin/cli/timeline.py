"""``videoswin timeline``: what a long video shows, and when."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, add_row, counted, percent, say, show, steps, table

if TYPE_CHECKING:
    from videoswin.live.timeline import Timeline

__all__ = ["timeline"]


def timeline(
    file: Annotated[str, Parameter(name="FILE")],
    /,
    *,
    weights: Annotated[str, Parameter(metavar="CHECKPOINT")],
    out: Annotated[Path | None, Parameter(metavar="FOLDER")] = None,
    clip_seconds: float | None = None,
    hop_seconds: float | None = None,
    enter: float = 0.8,
    leave: float = 0.3,
    min_duration: float = 0.5,
    smoothing: float = 0.0,
    cuts: Annotated[bool, Parameter(negative="--no-cuts")] = True,
    gate: Annotated[bool, Parameter(negative="--no-gate")] = True,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    limits: str | None = None,
    device: str = "auto",
) -> int:
    """Find out what a long video shows, and when.

    One pass over the file, with memory that does not grow with its length. The result is a list of segments: start, end,
    label, score. Where nothing is sure enough, there is none.

    With --out the pass can be stopped by Ctrl-C, or by a power cut, and the same command goes on where it stood.

    For example:

        videoswin timeline lecture.mp4 --weights runs/mine/best
        videoswin timeline lecture.mp4 --weights runs/mine/best --out lecture/
        videoswin timeline clip.mp4 --weights swin3d_micro_gestures --clip-seconds 8 --json

    Parameters
    ----------
    file
        A video file.
    weights
        A checkpoint: the folder of a training run, or the name of one that comes with videoswin.
    out
        Write timeline.csv, .json, .vtt (subtitles), .png and .html (the video beside its timeline) into this folder.
    clip_seconds
        Seconds that one clip spans. For a checkpoint of whole videos it has to be given: the longest action.
    hop_seconds
        Seconds from one answer of the model to the next. By default an eighth of a clip.
    enter
        The score that a label needs to begin.
    leave
        The score below which a label ends.
    min_duration
        Seconds. Shorter segments are left out.
    smoothing
        Seconds over which scores are averaged (time constant of an exponential mean).
    cuts
        Begin afresh at each cut, so that nothing leaks from one scene into the next.
    gate
        Do not ask the model again while nothing moves.
    json_only
        Print one JSON object and nothing else: path, duration_s, checkpoint, cuts, samples, skipped, segments.
    limits
        What one file may cost: none, or limits such as seconds=50000,frames=100000,bytes=8e9,timeout=600 (docs/video.md).
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    """
    from videoswin.classifier.device import choose_device
    from videoswin.classifier.loading import load
    from videoswin.data.containers import Limits
    from videoswin.live.decisions import DecisionSettings
    from videoswin.live.pace import Pace
    from videoswin.live.timeline import TimelineSettings, make_timeline
    from videoswin.live.timeline_files import write_timeline
    from videoswin.storage.interrupt import Interruption

    allowed = Limits.parse(limits or "")
    classifier = load(weights)
    classifier.model.to(choose_device(device))
    settings = TimelineSettings(
        Pace(clip_seconds, hop_seconds), DecisionSettings(smoothing, enter, leave, min_duration), cuts, gate
    )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    with Interruption() as interruption, _Bar() as bar:
        found = make_timeline(
            classifier,
            file,
            settings,
            progress=out / ".progress.safetensors" if out else None,
            each=lambda done, total: bar.move(done, total) and not interruption.asked,
            limits=allowed,
        )
    if json_only:
        print(json.dumps(found.to_dict()))
    else:
        _show(found)
    if out is not None:
        write_timeline(found, out)
        say(f"wrote timeline.csv, .json, .vtt, .png and .html to {out}")
    return DONE


class _Bar:
    """A progress bar that learns its length with the first step, in hundreds of frames."""

    def __init__(self) -> None:
        self._context = None

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._context:
            self._context.__exit__(None, None, None)

    def move(self, done: int, total: int) -> bool:
        if self._context is None:
            self._context = steps(total, "Frames")
            self._step = self._context.__enter__()
            for _ in range(done - 1):  # of a pass that was stopped
                self._step()
        self._step()
        return True


def _show(found: "Timeline") -> None:
    from videoswin.live.timeline_files import clock_time

    saved = f", {percent(found.skipped / found.samples)} of the looks spared" if found.skipped else ""
    show(
        f"{found.path}  ({clock_time(found.duration_s)}, {counted(len(found.segments), 'segment')}, "
        f"{counted(found.cuts, 'cut')}{saved})"
    )
    rows = table("start", "end", "label", "score", right=["start", "end", "score"])
    for segment in found.segments:
        add_row(rows, clock_time(segment.start_s), clock_time(segment.end_s), segment.label, percent(segment.score))
    if found.segments:
        show(rows)
