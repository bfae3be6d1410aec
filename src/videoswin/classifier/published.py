"""What a public file of weights does not say of itself: its labels, its preprocessing, how well it does."""

from pathlib import Path

from videoswin.classifier.catalog import Published, get_file
from videoswin.classifier.labels import DATASETS, guess_labels, read_labels
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError
from videoswin.weights.load_report import LoadReport

__all__ = ["describe", "image_file", "video_file"]


def video_file(entry: Published) -> Path:
    """The file of a video model of the catalog, downloaded if need be."""
    if entry.kind == "image":
        raise ConfigError(
            f'"{entry.name}" is a model for images. Inflate it to a video model: videoswin.inflate("{entry.name}")'
        )
    return get_file(entry)


def image_file(entry: Published) -> Path:
    """The file of an image model of the catalog, downloaded if need be."""
    if entry.kind == "video":
        raise ConfigError(f'"{entry.name}" is a video model already. Load it: videoswin.load("{entry.name}")')
    return get_file(entry)


def describe(report: LoadReport, entry: Published | None) -> tuple[tuple[str, ...], Preprocessing, str]:
    """Labels, preprocessing and notes for weights that were just loaded.

    With an entry of the catalog they are its publisher's, and the file has to be of the architecture that was published.
    Without one, labels are guessed from the number of classes, and preprocessing is the test's of the public code. A head
    that was started anew names nothing yet.
    """
    num_classes = report.config.num_classes
    if not num_classes:
        raise WeightsError(report.path, "it has no head, so it names no classes", "Give num_classes, for a new head")
    unnamed = tuple(f"class {i}" for i in range(num_classes))
    notes = f"From {report.path.name} ({report.title})."
    if entry is None:
        labels, dataset = guess_labels(num_classes) if not report.fresh else (unnamed, "")
        notes += f" Labels: {dataset}, by the number of classes." if dataset else ""
        # Something-Something is looked at as a whole, Kinetics clip by clip.
        own = {"sampling": "uniform"} if dataset == "something_something_v2" else {}
    else:
        entry.check(report)
        labels = unnamed
        if entry.kind == "video" and not report.fresh:
            labels = read_labels(entry.data) if DATASETS.get(entry.data) == num_classes else unnamed
            notes += f" {entry.figures}"
        notes += f" Licence: {entry.licence}."
        own = dict(entry.preprocessing)
    side = 384 if report.config.window_size[1] == 12 else 224  # pixels; the paper's pairs of window and size
    # antialias: OpenCV's bilinear resizing, with which the public weights were trained
    settings = {"size": (side, side), "short_side": side, "antialias": False, **own}
    return labels, Preprocessing(**settings), notes
