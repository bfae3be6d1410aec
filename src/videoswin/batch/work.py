"""What is done with the files of a part: labels and scores, on request features and segments.

Files are read ahead and scored in groups as :mod:`videoswin.predict` does. Which files share a group depends on the part alone,
so the bits of a score do, too: not on how many processes there are or how often they were killed.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from videoswin.storage.addresses import is_address, shown, without_secrets

__all__ = ["Label", "Reader", "Work", "error_text"]

Rows = list[dict[str, Any]]
Files = Sequence[tuple[int, str]]
"""(row of the manifest, path) of each file."""


class Reader(Protocol):
    """What a worker holds while it lives."""

    def rows(self, files: Files) -> Rows:
        """A row for each file, ``error`` among its fields; None there for a file that went well."""
        ...

    def try_one(self, path: str) -> None:
        """Read a file and forget it: to find the one that kills the process."""
        ...


class Work(Protocol):
    """A description of the work that can be sent to another process."""

    @property
    def features(self) -> bool: ...
    @property
    def timeline(self) -> bool: ...
    def open(self) -> Reader: ...


@dataclass(frozen=True)
class Label:
    """Labels and scores of one checkpoint."""

    weights: str
    views: str = "1x1"
    top_k: int = 5
    limits: str = ""
    device: str = "cpu"
    features: bool = False
    timeline: bool = False
    clip_seconds: float | None = None
    threads: int = 1
    """Of PyTorch in each worker; the number changes the last bits of a score, so it belongs to the batch."""

    def open(self) -> Reader:
        """Load the checkpoint."""
        import torch

        torch.set_num_threads(self.threads)
        return _Labeller(self)


class _Labeller:
    def __init__(self, work: Label) -> None:
        from videoswin.classifier.classifier import Classifier
        from videoswin.data.containers import Limits
        from videoswin.data.preprocessing import Views
        from videoswin.errors import ConfigError
        from videoswin.export.runtime import open_classifier
        from videoswin.predict.answers import require_one_label
        from videoswin.predict.batches import VideoReader

        self.work = work
        self.classifier = open_classifier(work.weights, "auto", work.device)
        require_one_label(self.classifier.answer, self.classifier.name, "a batch")
        if isinstance(self.classifier, Classifier):
            self.classifier.require_classes()
        elif work.features:
            raise ConfigError(f"{work.weights}: an exported file gives no features. Give the checkpoint.")
        if work.timeline:
            self._require_timeline()
        self.limits = Limits.parse(work.limits)
        self.read = VideoReader(self.classifier.preprocessing, Views.of(work.views), 0, self.limits)

    def _require_timeline(self) -> None:
        """ConfigError where no video could have one: it is said once, and not of every file."""
        from videoswin.live.decisions import DecisionSettings
        from videoswin.live.pace import Pace, make_tracker

        pace = Pace(self.work.clip_seconds).suited(self.classifier)
        make_tracker(self.classifier, pace, pace.fps(self.classifier.preprocessing, 25.0), DecisionSettings())

    def rows(self, files: Files) -> Rows:
        from videoswin.predict.batches import read_ahead, score_in_groups, views_at_once

        at_once = views_at_once(self.read.clip_shape, self.classifier.device)
        looks = read_ahead(
            self._read, [path for _, path in files], self.read.bytes_each, at_once // len(self.read.views)
        )
        with closing(looks):
            results = list(score_in_groups(looks, self._score, at_once))
        return [self._row(row, path, result) for (row, path), result in zip(files, results, strict=True)]

    def try_one(self, path: str) -> None:
        self._read(path, None)

    def _read(self, path: str, stop: Any) -> Any:
        from videoswin.errors import VideoError

        try:
            return self.read(_content(path), stop)
        except VideoError as error:
            return error

    def _score(self, clips: Any) -> Any:
        """The views' probabilities, and behind them their features: (V, num_classes + C)."""
        import torch

        from videoswin.predict.scoring import score_each_view

        if not self.work.features:
            return score_each_view(self.classifier, clips)
        kept: list[torch.Tensor] = []
        model: Any = self.classifier.model  # type: ignore[union-attr]
        handle = model.head.register_forward_pre_hook(lambda module, inputs: kept.append(model.pool(inputs[0])))
        try:
            scores = score_each_view(self.classifier, clips)
        finally:
            handle.remove()
        return torch.cat([scores, torch.cat(kept).float().cpu()], dim=1)

    def _row(self, row: int, path: str, result: Any) -> dict[str, Any]:
        from videoswin.errors import VideoError, VideoSwinError
        from videoswin.predict.results import LabelScore

        if isinstance(result, VideoError):
            return {"row": row, "path": path, "error": error_text(result, path)}
        looked, scores = result
        labels = self.classifier.labels
        mean = scores.mean(dim=0)
        best = mean[: len(labels)].topk(min(self.work.top_k, len(labels)))
        pairs = [
            LabelScore(labels[i], round(s, 6)) for i, s in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        found: dict[str, Any] = {
            "row": row,
            "path": path,
            "label": self.classifier.decide(LabelScore(pairs[0].label, float(best.values[0]))),
            "score": pairs[0].score,
            "predictions": [pair._asdict() for pair in pairs],
            "duration_s": round(looked.duration_s, 6),
            "complete": looked.complete,
            "features": mean[len(labels) :].tolist() if self.work.features else None,
            "error": None,
        }
        if self.work.timeline:
            try:
                found["segments"] = self._segments(path)
            except VideoSwinError as error:
                return {"row": row, "path": path, "error": error_text(error, path)}
        return found

    def _segments(self, path: str) -> list[dict[str, Any]]:
        from videoswin.live.pace import Pace
        from videoswin.live.timeline import TimelineSettings, make_timeline

        settings = TimelineSettings(Pace(self.work.clip_seconds))
        source: Any = _content(path)
        return make_timeline(self.classifier, source, settings, limits=self.limits).to_dict()["segments"]


def _content(path: str) -> str | bytes:
    """A local path as it is; what stands at an address, through fsspec."""
    if not is_address(path):
        return path
    import fsspec

    from videoswin.errors import VideoError

    try:
        with fsspec.open(path, "rb") as file:
            return file.read()  # type: ignore[union-attr]
    except Exception as error:  # noqa: BLE001 - each store has errors of its own, and one file must not end the batch
        reason = f"it cannot be fetched ({without_secrets(error, path)})"
        raise VideoError(shown(path), reason, "Check the address") from None


def error_text(error: Exception, path: str) -> str:
    """The error as one line about ``path``, the same in every run."""
    return " ".join(str(error).replace("video in memory", shown(path)).split())
