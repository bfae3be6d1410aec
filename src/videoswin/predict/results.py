"""What is said about a video: a prediction, or why there is none."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from videoswin.data.decode import Frames
from videoswin.data.preprocessing import Views
from videoswin.errors import TruncatedError, VideoError

__all__ = ["Failure", "LabelScore", "Prediction", "Span"]


class LabelScore(NamedTuple):
    """A label and the probability that the model gives it, 0 to 1."""

    label: str
    score: float


class Span(NamedTuple):
    """From the first to the last frame that a view shows, in seconds since the start of the video."""

    start: float
    end: float


@dataclass(frozen=True)
class Prediction:
    """What a classifier says about one video.

    ``label`` is the best label, or None for "none of these": the best score is below the checkpoint's threshold.
    ``predictions`` are the best labels with their scores, best first, whatever the threshold. ``spans`` tell what part
    of the video each view showed; ``repeated`` counts the frames of a view that repeat others because the video is
    shorter than the clip. ``film`` holds some of the frames that were looked at, for people, if they were asked for.
    ``complete``: True if the file reaches to the end that its container states; None if the container states none, so that
    a file that was cut off cannot be told from a whole one. ``labels``: of a multi-label classifier, those whose scores reach their
    thresholds, best first; ``label`` is then the first of them. None for other classifiers.
    """

    path: str
    duration_s: float
    views: Views
    label: str | None
    predictions: tuple[LabelScore, ...]
    spans: tuple[Span, ...]
    repeated: int
    film: Frames | None = None
    complete: bool | None = None
    labels: tuple[str, ...] | None = None

    @property
    def span(self) -> Span:
        """From the first to the last frame that any view shows, in seconds."""
        return Span(min(s.start for s in self.spans), max(s.end for s in self.spans))

    def to_dict(self) -> dict[str, Any]:
        """The line that ``videoswin predict --json`` prints."""
        predictions = [{"label": label, "score": round(score, 6)} for label, score in self.predictions]
        line = _line(self.path, round(self.duration_s, 3), self.views, self.complete, predictions, None)
        return line if self.labels is None else {**line, "labels": list(self.labels)}


@dataclass(frozen=True)
class Failure:
    """A video that could not be read, and why; one of the results of :func:`predict_many`."""

    path: str
    views: Views
    error: VideoError

    def to_dict(self) -> dict[str, Any]:
        """The line that ``videoswin predict --json`` prints."""
        complete = False if isinstance(self.error, TruncatedError) else None
        return _line(self.path, None, self.views, complete, [], " ".join(str(self.error).split()))


def _line(
    path: str,
    duration_s: float | None,
    views: Views,
    complete: bool | None,
    predictions: list[dict[str, Any]],
    error: str | None,
) -> dict[str, Any]:
    return {
        "path": path,
        "duration_s": duration_s,
        "views": str(views),
        "complete": complete,
        "predictions": predictions,
        "error": error,
    }
