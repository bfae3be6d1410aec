"""Predictions as one HTML page that stands alone: frames, times and scores, no script, nothing loaded from elsewhere.

File names and labels come from outside and are escaped; a content security policy forbids whatever escaping might miss.
Frames are kept as JPEG from the moment a result is added, so a report on a thousand videos fits in memory.
"""

import base64
import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from PIL import Image
from torch import Tensor

from videoswin.errors import ConfigError
from videoswin.predict.answers import require_one_label
from videoswin.predict.pages import render_page
from videoswin.predict.results import Failure, LabelScore, Prediction, Span
from videoswin.predict.scoring import VideoClassifier
from videoswin.storage.atomic import replace_file

__all__ = ["FILM_FRAMES", "Report"]

FILM_FRAMES = 8
"""Frames of a video to show: enough to follow a gesture, few enough to look at."""
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class _Picture:
    time_s: float
    data_uri: str
    width: int
    height: int


@dataclass(frozen=True)
class _Card:
    """One video on the page; ``error`` is set if it could not be read, and then the rest is empty."""

    name: str
    folder: str
    error: str | None = None
    duration_s: float = 0.0
    label: str | None = None
    scores: tuple[LabelScore, ...] = ()
    span: Span | None = None
    repeated: int = 0
    film: tuple[_Picture, ...] = ()


class Report:
    """Collects results (of :func:`videoswin.predict.scoring.predict_many`, with ``film=FILM_FRAMES``) and writes the page."""

    def __init__(self, classifier: VideoClassifier, path: str | Path, title: str = "What the model saw") -> None:
        """``path``: where the page goes; a :class:`ConfigError` now if there is no such folder, not after the work."""
        require_one_label(classifier.answer, classifier.name, "a report")
        self.path = Path(path)
        if self.path.is_dir() or not self.path.absolute().parent.is_dir():
            raise ConfigError(f"{path}: a report cannot be written there. Give a file name in an existing folder.")
        self._classifier = classifier
        self._title = title
        self._views = ""
        self._cards: list[_Card] = []

    def add(self, result: Prediction | Failure) -> None:
        """Put one more video on the page, below the others."""
        self._views = str(result.views)
        self._cards.append(_failure_card(result) if isinstance(result, Failure) else _card(result))

    def render(self, made: datetime | None = None) -> str:
        """The page as text. ``made``: its date, by default now."""
        preprocessing = self._classifier.preprocessing
        return render_page(
            "report.html",
            title=self._title,
            classifier=self._classifier,
            clip=f"{preprocessing.clip_len} frames of {preprocessing.size[1]} × {preprocessing.size[0]} px",
            views=self._views,
            made=made or datetime.now().astimezone(),
            cards=self._cards,
            unreadable=sum(card.error is not None for card in self._cards),
        )

    def write(self) -> None:
        """Write the page; an older one of the same name is replaced only when the new one is complete."""
        with replace_file(self.path) as new:
            # A file name that is no valid Unicode must not cost the report.
            new.write_text(self.render(), encoding="utf-8", errors="backslashreplace")


def _card(prediction: Prediction) -> _Card:
    film = prediction.film
    pictures = () if film is None else tuple(map(_picture, film.times.tolist(), film.data))
    path = Path(prediction.path)
    return _Card(
        name=path.name,
        folder=_folder(path),
        duration_s=prediction.duration_s,
        label=prediction.label,
        scores=prediction.predictions,
        span=prediction.span,
        repeated=prediction.repeated,
        film=pictures,
    )


def _failure_card(failure: Failure) -> _Card:
    path = Path(failure.path)
    error = failure.error
    return _Card(name=path.name or str(path), folder=_folder(path), error=f"{error.reason}. {error.hint}".strip())


def _folder(path: Path) -> str:
    return "" if path.parent == Path(".") else f"{path.parent}/"


def _picture(time_s: float, frame: Tensor) -> _Picture:
    """A frame, uint8 (H, W, 3), as a JPEG inside the page."""
    file = io.BytesIO()
    Image.fromarray(frame.numpy()).save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    return _Picture(time_s, f"data:image/jpeg;base64,{encoded}", frame.shape[1], frame.shape[0])
