"""``videoswin evaluate``: how good a checkpoint is on labelled videos."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from videoswin.cli.evaluate_several import show_several
from videoswin.cli.output import DONE, SOME_UNREADABLE, add_row, counted, percent, progress, say, show, table
from videoswin.cli.profile import show_profile
from videoswin.cli.weights_argument import RuntimeChoice, open_weights

if TYPE_CHECKING:
    from videoswin.data.annotations import ClipList
    from videoswin.predict.evaluation import Evaluation, RowResult
    from videoswin.predict.scoring import VideoClassifier
    from videoswin.predict.several import SeveralRow

__all__ = ["evaluate"]


def evaluate(
    data: Annotated[Path, Parameter(name="DATA")],
    /,
    *,
    weights: Annotated[str, Parameter(metavar="CHECKPOINT")],
    like: Annotated[str | None, Parameter(metavar="MODEL")] = None,
    num_heads: int | None = None,
    views: Annotated[str, Parameter(metavar="CLIPSxCROPS")] = "1x1",
    split: str | None = None,
    none: Annotated[str, Parameter(metavar="LABEL")] = "none of these",
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    out: Path | None = None,
    report: Annotated[Path | None, Parameter(metavar="PAGE.html")] = None,
    profile: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    limits: str | None = None,
    device: str = "auto",
    runtime: RuntimeChoice = "auto",
) -> int:
    """Measure how good a checkpoint is on labelled videos.

    Prints top-1, top-5 (of more than five classes) and mean class accuracy and a table of the classes; of a multi-label
    checkpoint mAP, and precision and recall by its thresholds. A video that cannot be read is listed and
    counted as wrong; the exit code is then 1. Of a checkpoint that may answer "none of these", how often it does is told as well.

    For example:

        videoswin evaluate videos.csv --split test --weights runs/mine/best
        videoswin evaluate folder/ --weights runs/mine/best --out figures/
        videoswin evaluate videos.csv --split test --weights runs/mine/best --report page.html

    Parameters
    ----------
    data
        A folder of class folders, or a CSV file with the columns path,label[,split,group,start,end].
    weights
        A checkpoint: the folder of a training run, or the name of one that comes with videoswin. Or an exported file:
        .onnx, .xml or .pt2 (see videoswin export).
    like
        For files of weights alone, whose tensors do not tell everything: the name of a model that answers the rest, such as
        timesformer_b_divided.
    num_heads
        The same, for the heads of attention alone.
    views
        Clips x crops whose scores are averaged: 1x1 is quick, 4x3 is the paper's protocol and takes the model 12 times as
        long, 4xwide shows it the same in 4 wide views.
    split
        Only the videos of this split, such as test; by default all of them.
    none
        The label, or folder, of videos that show none of the classes, for checkpoints that may answer "none of these".
    json_only
        Print one JSON object and nothing else: n, top1, top5, mean_class, unreadable, and none where that is an answer; multi-label:
        n, map, f1, exact, unreadable.
    out
        Also write confusion.png and predictions.csv into this folder.
    report
        Also write this page: the accuracy with its interval, the classes, what is taken for what, and the clips that it got most
        wrong, beside what the model saw of them. It needs no network and runs no script.
    profile
        Show where the time went: a table after the results, or with --json one JSON object as the last line of stderr.
    limits
        What one file may cost: none, or limits such as seconds=50000,frames=100000,bytes=8e9,timeout=600 (docs/video.md).
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    runtime
        What runs an exported file: onnxruntime, openvino (also for .onnx files) or torch. auto goes by the suffix.
    """
    from videoswin.data.containers import Limits
    from videoswin.data.preprocessing import Views
    from videoswin.predict.answers import SeveralLabels
    from videoswin.predict.evaluation import Evaluation, evaluate_rows, may_say_none
    from videoswin.predict.evaluation_page import require_page, write_evaluation_page
    from videoswin.predict.plain_text import json_text
    from videoswin.predict.profile import Profile
    from videoswin.predict.provenance import known_clips
    from videoswin.predict.several import SeveralEvaluation, evaluate_several_rows

    allowed = Limits.parse(limits or "")
    classifier = open_weights(weights, runtime, device, like, num_heads)
    chosen_views = Views.of(views)
    several = isinstance(classifier.answer, SeveralLabels)
    index = _read(data, split, classifier, none)
    _warn(index, split)
    if report is not None:
        require_page(report)
    known = known_clips(classifier.training, index.rows)
    if any(known):
        say(_learnt(known))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    times = Profile() if profile else None
    by_kind = evaluate_several_rows if several else evaluate_rows
    results = by_kind(classifier, index.rows, chosen_views, limits=allowed, profile=times)
    rows: list[Any] = []
    for result in progress(results, len(index), "Evaluating"):
        rows.append(result)
        if result.error:
            say(f"counted as wrong: {result.error}")
    if isinstance(classifier.answer, SeveralLabels):
        evaluation = SeveralEvaluation(classifier.labels, classifier.answer.thresholds, chosen_views, tuple(rows))
    else:
        evaluation = Evaluation(classifier.labels, chosen_views, tuple(rows), may_say_none(classifier), none)
    if json_only:
        print(json_text(evaluation.to_dict()))
    elif isinstance(evaluation, SeveralEvaluation):
        show_several(evaluation)
        if any(known):
            _show_new(evaluation.rows, known)
    else:
        _show(evaluation)
        if any(known):
            _show_new(evaluation.rows, known, evaluation.says_none)
    if out is not None and isinstance(evaluation, SeveralEvaluation):
        evaluation.write_csv(out / "predictions.csv")
        say(f"wrote {out / 'predictions.csv'}")
    elif out is not None and isinstance(evaluation, Evaluation):
        evaluation.write_confusion(out / "confusion.png", title=classifier.name)
        evaluation.write_csv(out / "predictions.csv")
        say(f"wrote {out / 'confusion.png'} and {out / 'predictions.csv'}")
    if report is not None:
        title = f"Evaluation of {data.name}" + (f", split {split}" if split else "")
        warnings = [_learnt(known)] if any(known) else []
        write_evaluation_page(report, classifier, evaluation, title, warnings=warnings, limits=allowed)
        say(f"wrote {report}")
    if times:
        show_profile(times, json_only)
    return SOME_UNREADABLE if evaluation.unreadable else DONE


def _read(data: Path, split: str | None, classifier: "VideoClassifier", none: str) -> "ClipList":
    """The list; videos with the label ``none`` have the label NONE then."""
    from dataclasses import replace

    from videoswin.data.annotations import read_index
    from videoswin.errors import ConfigError, nearest
    from videoswin.predict.answers import NONE
    from videoswin.predict.evaluation import may_say_none

    says_none, labels = may_say_none(classifier), classifier.labels
    if not none:
        raise ConfigError("--none is empty. Name the label of videos that show none of the classes, or leave it out.")
    if none != NONE and not says_none:
        raise ConfigError(
            f'--none "{none}": {classifier.name} never answers "{NONE}", it has no threshold and was taught no such label. '
            "Leave --none out."
        )
    if none != NONE and none in labels:
        raise ConfigError(
            f'--none "{none}" is one of the classes of {classifier.name}. Name the label of other things.'
        )
    others = (NONE, none) if says_none else ()
    index = read_index(data, split=split, labels=labels, others=others, cells=classifier.answer.cells)
    found = {row.label for row in index.rows}
    if none != NONE and none not in found:
        raise ConfigError(f'--none "{none}": no video here has this label. {nearest(none, sorted(found))}')
    rows = tuple(replace(row, label=NONE) if row.label == none else row for row in index.rows)
    return replace(index, rows=rows)


def _warn(index: "ClipList", split: str | None) -> None:
    """What the list was read with. Figures that look too good have two common reasons, and both can be seen in it."""
    for note in index.notes:
        say(note)
    named = {name: count for name, count in index.splits.items() if name}
    if split is None and len(named) > 1:
        parts = ", ".join(f"{name} {count}" for name, count in named.items())
        say(f"all splits are evaluated together ({parts}); use --split to choose one.")
    if split is not None and index.shared_groups:
        say(f"{counted(len(index.shared_groups), 'group')} in more than one split: the figures may look too good.")


def _learnt(known: list[bool]) -> str:
    """What figures on clips that were learnt from are worth."""
    count = sum(known)
    which = "all of these clips" if count == len(known) else f"{counted(count, 'clip')} of these {len(known):,}"
    return f"the model has learnt from {which} (the files' bytes are the same): figures on them say nothing about new ones."


def _show_new(rows: "Sequence[RowResult | SeveralRow]", known: list[bool], says_none: bool = False) -> None:
    from videoswin.predict.answers import NONE

    new = [
        r
        for r, learnt in zip(rows, known, strict=True)
        if not learnt and not (says_none and r.row.label == NONE)  # other things have their own line
    ]
    if new:
        right = sum(r.correct for r in new) / len(new)
        show(f"of the {counted(len(new), 'clip')} that it has not learnt from, {percent(right)} are right")


def _show(evaluation: "Evaluation") -> None:
    from videoswin.predict.answers import NONE

    none = evaluation.none
    columns = ("videos", "correct", "recall", "precision", *(["said none"] if none else []))
    classes = table("label", *columns, right=list(columns))
    for c in evaluation.per_class:
        if none and c.label == NONE:
            continue  # no class: it has lines below
        recall = percent(c.recall) if c.n else "-"
        precision = percent(c.precision) if c.predicted else "-"
        add_row(classes, c.label, str(c.n), str(c.correct), recall, precision, *([str(c.none)] if none else []))
    show(classes)
    show()
    summary = table("what", "figure", right=["figure"], header=False)
    add_row(summary, "top-1", percent(evaluation.top1))
    if len(evaluation.labels) > 5:  # else it is always 100 %
        add_row(summary, "top-5", percent(evaluation.top5))
    add_row(summary, "mean class", percent(evaluation.mean_class))
    add_row(summary, "videos", f"{evaluation.n:,}")
    if none:
        add_row(summary, "said none", f"{none.answered:,}")
        add_row(summary, "right, and not none", percent(none.top1))
    if none and none.others:
        named = f" ({evaluation.others_label})" if evaluation.others_label != NONE else ""
        add_row(summary, f"other things{named}", f"{none.others:,}")
        add_row(summary, "of them said none", f"{none.others_refused:,}")
    if none and none.auroc is not None:
        add_row(summary, "told apart (AUROC)", f"{none.auroc:.3f}")
    if evaluation.unreadable:
        add_row(summary, "unreadable", f"{len(evaluation.unreadable):,}")
    add_row(summary, "views", str(evaluation.views))
    show(summary)
