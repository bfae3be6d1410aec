"""The figures of a run: counted, written as CSV, drawn."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from videoswin.errors import ConfigError
from videoswin.storage.atomic import replace_file

__all__ = ["EpochRow", "Tally", "draw_curves", "read_rows", "write_rows"]


_OF_SOME = ("val_map", "data_s", "step_s", "val_s", "write_s")


@dataclass
class Tally:
    """Running mean of the loss and of the top-1 accuracy over clips."""

    clips: int = 0
    loss_sum: float = 0.0
    right: int = 0

    def add(self, loss: float, logits: Tensor, labels: Tensor) -> None:
        """``loss``: mean over the batch; ``logits`` (B, num_classes); ``labels`` (B,)."""
        self.count(len(labels), loss * len(labels), int((logits.argmax(1) == labels).sum()))

    def count(self, clips: int, loss_sum: float, right: int) -> None:
        """So many clips, the sum of their losses, and how many of the answers are right."""
        self.clips += clips
        self.loss_sum += loss_sum
        self.right += right

    @property
    def loss(self) -> float:
        return self.loss_sum / max(self.clips, 1)

    @property
    def top1(self) -> float:
        """In [0, 1]."""
        return self.right / max(self.clips, 1)


@dataclass(frozen=True)
class EpochRow:
    """One line of metrics.csv. Accuracies in [0, 1]; validation fields are None where nothing is held out."""

    epoch: int
    train_loss: float
    train_top1: float
    val_loss: float | None
    val_top1: float | None
    lr: float
    seconds: float
    clips_per_s: float
    val_map: float | None = None
    """Of multi-label runs."""
    data_s: float | None = None
    """This and the next three: see :class:`~videoswin.train.spent.Spent`. None: not measured."""
    step_s: float | None = None
    val_s: float | None = None
    write_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name; those that only some runs have are left out where they are None."""
        values = asdict(self)
        for name in _OF_SOME:
            if values[name] is None:
                del values[name]
        return values


def write_rows(path: Path, rows: list[EpochRow]) -> None:
    """All rows, written whole."""
    with replace_file(path) as new, new.open("w", newline="", encoding="utf-8") as file:
        there = {name for row in rows for name in row.as_dict()}
        writer = csv.DictWriter(file, [f.name for f in fields(EpochRow) if f.name in there or f.name not in _OF_SOME])
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.as_dict().items()})


def read_rows(path: Path) -> list[EpochRow]:
    """What :func:`write_rows` wrote; none if there is no file.

    Raises:
        ConfigError: the file holds something else.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                EpochRow(**{k: int(v) if k == "epoch" else float(v) if v else None for k, v in line.items()})  # type: ignore[arg-type]
                for line in csv.DictReader(file)
            ]
    except (ValueError, TypeError, csv.Error):
        raise ConfigError(
            f"{path}: this is not the table that a run writes. Move it away; the run can go on without it."
        ) from None


def draw_curves(path: Path, rows: list[EpochRow]) -> None:
    """Loss and accuracy over the epochs, training beside validation."""
    from matplotlib.figure import Figure  # without pyplot: no window system, no global state

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    epochs = [row.epoch for row in rows]
    for axes, name, title in ((loss_axes, "loss", "loss"), (accuracy_axes, "top1", "top-1 accuracy")):
        for part, colour in (("train", "#8a8f98"), ("val", "#d9480f")):
            values = [getattr(row, f"{part}_{name}") for row in rows]
            if all(v is not None for v in values):
                axes.plot(
                    epochs, values, color=colour, marker="o" if len(rows) < 15 else None, markersize=3, label=part
                )
        ranks = [row.val_map for row in rows]
        if name == "top1" and all(v is not None for v in ranks):
            axes.plot(
                epochs, ranks, color="#1971c2", marker="o" if len(rows) < 15 else None, markersize=3, label="val mAP"
            )
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)  # there is no epoch 1.25
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    accuracy_axes.set_ylim(0, 1)
    accuracy_axes.legend(frameon=False)
    with replace_file(path) as new:
        figure.savefig(new, format="png", dpi=120)
