"""What ``videoswin evaluate`` and ``train`` show of a multi-label classifier."""

from typing import TYPE_CHECKING

from videoswin.cli.output import add_row, percent, show, table

if TYPE_CHECKING:
    from videoswin.predict.several import SeveralEvaluation

__all__ = ["show_labels", "show_several"]


def show_labels(evaluation: "SeveralEvaluation") -> None:
    """The table of the labels."""
    numbers = ["videos", "AP", "threshold", "precision", "recall"]
    labels = table("label", *numbers, right=numbers)
    for one in evaluation.per_label:
        add_row(
            labels,
            one.label,
            str(one.n),
            "-" if one.average_precision is None else percent(one.average_precision),
            f"{one.threshold:.3f}",
            percent(one.precision) if one.predicted else "-",
            percent(one.recall) if one.n else "-",
        )
    show(labels)


def show_several(evaluation: "SeveralEvaluation") -> None:
    """The table of the labels, and mAP."""
    show_labels(evaluation)
    show()
    summary = table("what", "figure", right=["figure"], header=False)
    mean = evaluation.mean_average_precision
    add_row(summary, "mAP", "-" if mean is None else percent(mean))
    add_row(summary, "F1 (micro)", percent(evaluation.f1))
    add_row(summary, "all labels right", percent(evaluation.exact))
    add_row(summary, "videos", f"{evaluation.n:,}")
    if evaluation.unreadable:
        add_row(summary, "unreadable", f"{len(evaluation.unreadable):,}")
    add_row(summary, "views", str(evaluation.views))
    show(summary)
