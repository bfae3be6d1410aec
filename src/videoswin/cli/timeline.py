"""``videoswin timeline``: what a long video shows, and when."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from videoswin.cli.annotation_options import AnnotationFormat, require_annotations
from videoswin.cli.live_options import (
    ClipSeconds,
    Cuts,
    Device,
    Enter,
    Gate,
    HopSeconds,
    Leave,
    MinDuration,
    Smoothing,
    Weights,
)
from videoswin.cli.output import DONE, add_row, counted, percent, say, show, steps, table
from videoswin.cli.weights_argument import RuntimeChoice, open_weights

if TYPE_CHECKING:
    from videoswin.data.containers import Limits
    from videoswin.data.segments.tracks import Track
    from videoswin.live.timeline import Timeline

__all__ = ["timeline"]


def timeline(
    file: Annotated[str, Parameter(name="FILE")],
    /,
    *,
    weights: Weights,
    out: Annotated[Path | None, Parameter(metavar="FOLDER")] = None,
    annotations: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    format: AnnotationFormat | None = None,
    clip_seconds: ClipSeconds = None,
    hop_seconds: HopSeconds = None,
    enter: Enter = 0.8,
    leave: Leave = 0.3,
    min_duration: MinDuration = 0.5,
    smoothing: Smoothing = 0.0,
    cuts: Cuts = True,
    gate: Gate = True,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    limits: str | None = None,
    device: Device = "auto",
    runtime: RuntimeChoice = "auto",
) -> int:
    """Find out what a long video shows, and when.

    One pass over the file, with memory that does not grow with its length. The result is a list of segments: start, end,
    label, score. Where nothing is sure enough, there is none.

    With --out the pass can be stopped by Ctrl-C, or by a power cut, and the same command goes on where it stood.

    For example:

        videoswin timeline lecture.mp4 --weights runs/mine/best
        videoswin timeline lecture.mp4 --weights runs/mine/best --out lecture/
        videoswin timeline lecture.mp4 --weights runs/mine/best --annotations lecture.eaf
        videoswin timeline clip.mp4 --weights swin3d_micro_gestures --clip-seconds 8 --json

    Parameters
    ----------
    file
        A video file.
    out
        Write timeline.csv, .json, .vtt (subtitles), .png and .html (the video beside its timeline) into this folder.
    annotations
        Also write the segments as this file, for annotation tools.
    format
        What annotations are written as; by default what the ending says: .json activitynet, .eaf elan, .vtt webvtt.
    json_only
        Print one JSON object and nothing else: path, duration_s, checkpoint, cuts, samples, skipped, best, segments_at, segments.
    limits
        What one file may cost: none, or limits such as seconds=50000,frames=100000,bytes=8e9,timeout=600 (docs/video.md).
    runtime
        What runs an exported file: onnxruntime, openvino or torch. By default what suits the file.
    """
    from videoswin.data.containers import Limits
    from videoswin.data.segments.write import write_tracks
    from videoswin.live.decisions import DecisionSettings
    from videoswin.live.pace import Pace
    from videoswin.live.timeline import TimelineSettings, make_timeline
    from videoswin.live.timeline_files import check_timeline_outputs, write_timeline
    from videoswin.predict.plain_text import json_text
    from videoswin.storage.interrupt import Interruption

    allowed = Limits.parse(limits or "")
    settings = TimelineSettings(
        Pace(clip_seconds, hop_seconds), DecisionSettings(smoothing, enter, leave, min_duration), cuts, gate
    )
    if out is not None:
        _make_folder(out)
        check_timeline_outputs(out, file)
    form = require_annotations(annotations, format)
    classifier = open_weights(weights, runtime, device)

    def keep(found: "Timeline") -> None:
        if out is not None:
            write_timeline(found, out)
        if annotations is not None and form is not None:
            write_tracks(annotations, form, [_track(found, file, allowed)])

    with Interruption() as interruption, _Bar() as bar:
        found = make_timeline(
            classifier,
            file,
            settings,
            progress=out / ".progress" if out else None,
            keep=keep,
            each=lambda done, total: bar.move(done, total) and not interruption.asked,
            notice=say,
            limits=allowed,
        )
    if json_only:
        print(json_text(found.to_dict()))
    else:
        _show(found)
    if out is not None:
        say(f"wrote timeline.csv, .json, .vtt, .html and .png to {out}")
    if annotations is not None:
        say(f"wrote {annotations}")
    if not found.segments:
        say(_why_nothing(found))
    return DONE


def _track(found: "Timeline", file: str, limits: "Limits") -> "Track":
    """The segments, and when each frame is shown: formats with frame numbers are exact at a varying rate as well."""
    from videoswin.data.decode import open_video
    from videoswin.data.segments.tracks import Mark, Track

    with open_video(file, limits=limits) as video:
        fps, times = video.info.fps, video.times.tolist()
    marks = tuple(Mark(s.start_s, s.end_s, s.label, s.score) for s in found.segments)
    return Track(file, marks, found.duration_s, fps, times)


def _make_folder(folder: Path) -> None:
    from videoswin.errors import OutputError

    if folder.exists() and not folder.is_dir():
        raise OutputError(folder, "this is a file, and five are to be written", "Give a folder, or a new name")
    folder.mkdir(parents=True, exist_ok=True)


def _why_nothing(found: "Timeline") -> str:
    """Why there are no segments, and which thresholds would give some."""
    from videoswin.live.timeline_files import clock_time

    needed = f"a label needs {percent(found.decisions.enter)} for {found.decisions.min_duration_s:g} s"
    if found.best is None:
        return f"no segments: the model gave no answer, the video ({found.duration_s:.2f} s) is shorter than one step of it."
    best = f"{percent(found.best.score)} ({found.labels[found.best.label]}, at {clock_time(found.best.time_s)})"
    if not found.segments_at:
        return f"no segments: the best score was {best}; {needed}. No lower threshold gives any; try a shorter --min-duration."
    steps = list(found.segments_at.items())
    shown = ", ".join(f"--enter {enter:g} would give {counted(n, 'segment')}" for enter, n in steps[:2])
    lower = f" (with a --leave no higher than that; it is {found.decisions.leave:g})" * (
        steps[0][0] < found.decisions.leave
    )
    return f"no segments: the best score was {best}; {needed}. {shown}{lower}."


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

    saved = f", {percent(found.skipped / found.samples)} of model runs skipped (nothing moved)" if found.skipped else ""
    show(
        f"{found.path}  ({clock_time(found.duration_s)}, {counted(len(found.segments), 'segment')}, "
        f"{counted(found.cuts, 'cut')}{saved})"
    )
    rows = table("start", "end", "label", "score", right=["start", "end", "score"])
    for segment in found.segments:
        add_row(rows, clock_time(segment.start_s), clock_time(segment.end_s), segment.label, percent(segment.score))
    if found.segments:
        show(rows)
