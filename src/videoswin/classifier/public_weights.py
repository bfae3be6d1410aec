"""Files of weights alone, as classifiers: what such a file does not say of itself, its labels and its preprocessing."""

from pathlib import Path
from typing import Any

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.labels import DATASETS, guess_labels, read_labels
from videoswin.classifier.published import PublishedModel
from videoswin.classifier.published_zoo import PublishedZooModel
from videoswin.classifier.zoo_preprocessing import prepared_as_published
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import WeightsError
from videoswin.interface.video_model import VideoModel
from videoswin.model import SwinConfig
from videoswin.storage.download import fetch, shown
from videoswin.weights.any_file import inspect_file
from videoswin.weights.checkpoint import inspect_checkpoint
from videoswin.weights.load_report import LoadReport

__all__ = ["classifier_of", "describe", "published_file", "published_zoo_file"]


def published_file(published: PublishedModel) -> Path:
    """The file of a published model: from the cache, or downloaded; a person at a terminal sees how far it is.

    Raises:
        WeightsError: it cannot be downloaded, or is not the file it should be.
    """
    # A sum in the file's name says more than anything in the file. Without one, the file itself has to be what is wanted.
    check = None if published.sha256 else lambda file: published.require_file(inspect_checkpoint(file))
    with shown(published.name) as progress:
        return fetch(
            published.url,
            published.file,
            published.sha256,
            progress,
            max_bytes=published.max_bytes,
            check=check,
        )


def published_zoo_file(published: PublishedZooModel) -> Path:
    """The same of a system of the zoo.

    Raises:
        WeightsError: it cannot be downloaded, its address is not known, or it is not the file it should be.
    """
    check = None
    if not published.sha256:
        check = lambda file: published.require_file(  # noqa: E731
            inspect_file(file, like=published.model, settings=published.told)
        )
    url = published.require_url()
    with shown(published.name) as progress:
        return fetch(url, published.file, published.sha256, progress, max_bytes=published.max_bytes, check=check)


def classifier_of(
    model: VideoModel, report: LoadReport, published: PublishedModel | PublishedZooModel | None = None
) -> Classifier:
    """A classifier around the model of a public file; ``published``: what is known of it beside the file."""
    labels, preprocessing, notes = describe(
        report.config, published, new_head=bool(report.fresh), path=report.path, family=report.family
    )
    return Classifier(
        model,
        preprocessing,
        labels,
        name=published.name if published else report.path.stem,
        notes=f"From {report.path.name} ({report.title}). {notes}".strip(),
        card={"license": published.licence.lower()} if published and " " not in published.licence else {},
        report=report,
    )


def describe(
    config: Any,
    published: PublishedModel | PublishedZooModel | None,
    *,
    new_head: bool = False,
    path: str | Path = "the file",
    family: str = "",
) -> tuple[tuple[str, ...], Preprocessing, str]:
    """Labels, preprocessing and notes for public weights.

    Of a published model they are its publisher's. Otherwise labels are guessed from the number of classes, and
    preprocessing is the test's of the public code. A head that starts anew names nothing yet.

    Args:
        config: of the model.
        path: for the error.
        family: of the file, for systems of the zoo.

    Raises:
        WeightsError: there is no head.
    """
    if not config.num_classes:
        hint = "Train one: videoswin train DATA --weights FILE; in Python, num_classes=N gives a new head"
        raise WeightsError(path, "it is a backbone without a head, so it names no classes", hint)
    labels = tuple(f"class {i}" for i in range(config.num_classes))
    notes: list[str] = []
    own: dict[str, object] = {}
    if published is not None:
        own = dict(published.preprocessing)
        if published.kind == "video" and not new_head:
            if DATASETS.get(published.data) == config.num_classes:
                labels = read_labels(published.data)
            notes.append(published.figures)
        notes.append(f"Licence: {published.licence}.")
    elif not new_head:
        labels, dataset = guess_labels(config.num_classes)
        if dataset:
            notes.append(f"Labels: {dataset}, by the number of classes.")
        if dataset == "something_something_v2":  # looked at as a whole; Kinetics clip by clip
            own = {"sampling": "uniform"}
    if not isinstance(config, SwinConfig):
        preprocessing, told = prepared_as_published(family, config)
        return labels, preprocessing, " ".join(filter(None, [*notes, told]))
    side = 384 if config.window_size[1] == 12 else 224  # pixels; the paper's pairs of window and size
    # antialias: OpenCV's bilinear resizing, with which the public weights were trained
    settings = {"size": (side, side), "short_side": side, "antialias": False, **own}
    return labels, Preprocessing.from_dict(settings), " ".join(filter(None, notes))
