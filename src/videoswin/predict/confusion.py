"""The confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from videoswin.storage.atomic import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_confusion"]

_MAX_COUNTED_CLASSES = 40  # beyond that the numbers in the picture's cells cannot be read
_MAX_NAMED_CLASSES = 120


def write_confusion(
    path: str | Path,
    counts: Tensor,
    labels: Sequence[str],
    unreadable: Sequence[int],
    title: str = "",
    summary: str = "",
) -> None:
    """The confusion matrix as a PNG: colour is the part of the row's class, the number is the count of videos.

    Args:
        counts: int64 (K, K), videos of the row's class taken for the column's.
        unreadable: for each class, the videos that could not be read; a last column shows them if there are any.
        summary: a line below the title.
    """
    from matplotlib.figure import Figure  # takes half a second, and most callers want no picture

    counts, columns = _columns(counts, labels, unreadable)
    share = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
    named = len(columns) <= _MAX_NAMED_CLASSES
    side = max(4.2, 0.42 * len(columns) + 1.2) if len(columns) <= _MAX_COUNTED_CLASSES else 16.0 if named else 9.0
    figure = Figure(figsize=(side + 1.2, side), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted", fontsize=9.5)
    axes.set_ylabel("true", fontsize=9.5)
    axes.spines[:].set_visible(False)
    if named:
        _name_classes(axes, labels, columns)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    if len(columns) <= _MAX_COUNTED_CLASSES:
        _write_counts(axes, counts, share)
    axes.set_title(_plain(title) or "Confusion matrix", loc="left", fontsize=12, fontweight="bold", pad=22)
    axes.annotate(summary, (0, 1), (0, 7), "axes fraction", "offset points", fontsize=8.5, color="#555555")
    bar = figure.colorbar(
        image, ax=axes, shrink=0.6, aspect=28, pad=0.02, ticks=[0, 0.25, 0.5, 0.75, 1], format="{x:.0%}"
    )
    bar.set_label("part of the true class", fontsize=8.5)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)  # type: ignore[operator]  # matplotlib's stub calls it a spine dictionary
    with replace_file(path) as new:
        figure.savefig(new, format="png")


def _columns(counts: Tensor, labels: Sequence[str], unreadable: Sequence[int]) -> tuple[Tensor, list[str]]:
    """The counts, with a last column for unreadable videos if there are any, so that rows add up to their class."""
    lost = torch.tensor(unreadable)
    if not lost.any():
        return counts, list(labels)
    return torch.cat([counts, lost[:, None]], dim=1), [*labels, "(unreadable)"]


def _name_classes(axes: "Axes", rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_xticks(range(len(columns)), [_plain(c) for c in columns], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), [_plain(r) for r in rows])
    axes.tick_params(length=0, labelsize=8.5 if len(columns) <= _MAX_COUNTED_CLASSES else 5)
    axes.set_xticks([i - 0.5 for i in range(1, len(columns))], minor=True)
    axes.set_yticks([i - 0.5 for i in range(1, len(rows))], minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)


def _write_counts(axes: "Axes", counts: Tensor, share: Tensor) -> None:
    for (i, row), shares in zip(enumerate(counts.tolist()), share.tolist(), strict=True):
        for j, count in enumerate(row):
            if count:
                colour = "white" if shares[j] > 0.55 else "#1b2a41"
                axes.text(j, i, str(count), ha="center", va="center", fontsize=8.5, color=colour)


def _plain(text: str) -> str:
    """Shortened, and safe from matplotlib's formulas: a label may hold dollar signs."""
    short = text if len(text) <= 40 else text[:39] + "…"
    return short.replace("$", r"\$")
