"""``videoswin predict``: labels for videos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from videoswin.cli.output import (
    DONE,
    FAILED,
    SOME_UNREADABLE,
    add_row,
    bar,
    percent,
    progress,
    say,
    say_error,
    show,
    table,
)
from videoswin.cli.profile import show_profile
from videoswin.cli.weights_argument import RuntimeChoice, open_weights

if TYPE_CHECKING:
    from videoswin.predict.results import Prediction

__all__ = ["predict"]


def predict(
    files: Annotated[tuple[str, ...], Parameter(name="FILE")],
    /,
    *,
    weights: Annotated[str, Parameter(metavar="CHECKPOINT")],
    like: Annotated[str | None, Parameter(metavar="MODEL")] = None,
    num_heads: int | None = None,
    views: Annotated[str, Parameter(metavar="CLIPSxCROPS")] = "1x1",
    top_k: int = 5,
    json_lines: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    report: Path | None = None,
    profile: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    limits: str | None = None,
    device: str = "auto",
    runtime: RuntimeChoice = "auto",
) -> int:
    """Put labels on videos.

    A folder stands for the videos in it and below it. A file that cannot be read is reported and does not stop the
    others; the exit code is then 1, or 2 if none could be read.

    For example:

        videoswin predict clip.mp4 --weights runs/mine/best
        videoswin predict clips/ --weights runs/mine/best --report labels.html
        videoswin predict *.mp4 --weights runs/mine/best --json > labels.jsonl

    Parameters
    ----------
    files
        Videos, or folders of videos.
    weights
        A checkpoint: the folder of a training run, or a name that videoswin models lists. Or an exported file: .onnx, .xml
        or .pt2 (see videoswin export).
    like
        For files of weights alone, whose tensors do not tell everything: the name of a model that answers the rest, such as
        timesformer_b_divided.
    num_heads
        The same, for the heads of attention alone.
    views
        Clips x crops whose scores are averaged: 1x1 is quick, 4x3 looks at all of the video and takes the model 12 times as
        long, 4xwide shows it the same in 4 wide views.
    top_k
        How many labels to show for each video.
    json_lines
        Print one JSON object a line and nothing else: path, duration_s, views, complete, predictions, error; of a multi-label
        checkpoint also labels, those whose scores reach their thresholds.
    report
        Also write this web page, with frames beside the scores.
    profile
        Show where the time went: a table after the results, or with --json one JSON object as the last line of stderr.
    limits
        What one file may cost: none, or limits such as seconds=50000,frames=100000,bytes=8e9,timeout=600 (docs/video.md).
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    runtime
        What runs an exported file: onnxruntime, openvino (also for .onnx files) or torch. auto goes by the suffix.
    """
    classifier = open_weights(
        weights, runtime, device, like, num_heads
    )  # before the imports: a misspelt name is answered at once
    from videoswin.data.containers import Limits
    from videoswin.predict.plain_text import json_text
    from videoswin.predict.profile import Profile
    from videoswin.predict.results import Failure
    from videoswin.predict.scoring import find_videos, predict_many

    allowed = Limits.parse(limits or "")
    page = None
    paths = find_videos(files)
    if report is not None:
        from videoswin.predict.report_page import FILM_FRAMES, Report
        from videoswin.storage.outputs import PAGE, require_writable_output

        page = Report(classifier, require_writable_output(report, PAGE, inputs=[*paths, weights]))
    times = Profile() if profile else None
    results = predict_many(
        classifier, paths, views, top_k, film=FILM_FRAMES if page else 0, limits=allowed, profile=times
    )
    failed = 0
    for result in progress(results, len(paths), "Looking at videos"):
        if json_lines:
            print(json_text(result.to_dict()), flush=True)
        if isinstance(result, Failure):
            failed += 1
            say_error(result.error)
        elif not json_lines:
            _show(result)
        if page:
            page.add(result)
    if page:
        page.write()
        say(f"report written to {page.path}")
    if times:
        show_profile(times, json_lines)
    return _exit_code(failed, len(paths))


def _show(prediction: "Prediction") -> None:
    span = prediction.span
    looped = "; too short, frames repeat" if prediction.repeated else ""
    unknown = "; nothing in the file says where it ends" if prediction.complete is None else ""
    seconds = f"{prediction.duration_s:.2f} s, looked at {span.start:.2f} to {span.end:.2f} s"
    show(f"{prediction.path}  ({seconds}{looped}{unknown})")
    if prediction.labels is not None:
        show(f"  {', '.join(prediction.labels) or 'none of its labels: no score reaches its threshold'}")
    elif prediction.label is None:
        show("  none of these: the best score is below the checkpoint's threshold")
    scores = table("", "label", "score", "bar", right=["score"], header=False)
    for label, score in prediction.predictions:
        add_row(scores, "", label, percent(score), bar(score))
    show(scores)


def _exit_code(failed: int, total: int) -> int:
    if failed == total:
        return FAILED
    return SOME_UNREADABLE if failed else DONE
