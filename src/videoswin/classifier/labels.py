"""Names of the classes of public data sets, in the order of the public weights' outputs."""

from pathlib import Path

__all__ = ["DATASETS", "guess_labels", "read_labels"]

DATASETS = {"kinetics400": 400, "kinetics600": 600, "something_something_v2": 174}
"""Data sets whose label lists come with the package, and how many classes each has."""

_FOLDER = Path(__file__).parents[1] / "assets" / "labels"


def read_labels(dataset: str) -> tuple[str, ...]:
    """The labels of a data set of :data:`DATASETS`. Order: MMAction2's, which for Kinetics is the alphabet's."""
    return tuple((_FOLDER / f"{dataset}.txt").read_text(encoding="utf-8").splitlines())


def guess_labels(num_classes: int) -> tuple[tuple[str, ...], str]:
    """Labels for weights that carry none, and where they are from.

    A public file says nothing about its classes. 400, 600 and 174 are those of the data sets that the public weights
    were trained on; for any other number the labels are "class 0", "class 1" ..., and the origin is empty.
    """
    for dataset, size in DATASETS.items():
        if size == num_classes:
            return read_labels(dataset), dataset
    return tuple(f"class {i}" for i in range(num_classes)), ""
