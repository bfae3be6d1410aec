"""A long video in, segments with labels out: one pass, memory that does not grow with the length, resumable.

Frames are decoded in order, sampled, and pushed through the model's stream (:mod:`videoswin.live.tracker`); what is kept of
each answer is 17 bytes. Every so often the place in the file, the frames in the model's view and the state of every
decision go into one progress file. A pass that was stopped goes on from there and ends with the same bits.
"""

import logging
import time
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from videoswin.data.decode import Limits, Video, open_video
from videoswin.errors import ConfigError, Interrupted
from videoswin.live.decisions import DecisionSettings, Event, Segment, segments
from videoswin.live.frame_selector import FrameSelector
from videoswin.live.pace import Pace, make_tracker
from videoswin.live.progress import DamagedProgressError, ProgressFile, fingerprint
from videoswin.live.sources import Picture
from videoswin.live.threshold_scan import BestScore, ThresholdScan
from videoswin.live.tracker import Update
from videoswin.predict.scoring import VideoClassifier

__all__ = ["Curve", "Timeline", "TimelineSettings", "make_timeline"]

_SAVE_EVERY = 2000  # frames: a minute of video at 30 frames a second
_SAVE_EVERY_S = 60.0
_PROGRESS_VERSION = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TimelineSettings:
    """How a long video is looked at."""

    pace: Pace = field(default_factory=Pace)
    """How densely."""
    decisions: DecisionSettings = field(default_factory=DecisionSettings)
    """How scores become segments."""
    cuts: bool = True
    """Begin afresh at each cut."""
    gate: bool = True
    """Do not ask the model while nothing moves."""
    anchor: float | None = None
    """The place in the model's view, 0 oldest to 1 newest frame, whose time an answer gets. None: 0 for checkpoints of whole
    videos, whose answer is about the shot from its beginning, and 0.5 for the others."""


class Curve:
    """The best label of each answer, packed: ``times`` seconds, ``labels`` class numbers, ``scores`` 0 to 1."""

    def __init__(self) -> None:
        self.times, self.labels, self.scores = array("d"), array("i"), array("f")

    def __len__(self) -> int:
        return len(self.times)

    def add(self, time_s: float, scores: list[float]) -> None:
        best = max(range(len(scores)), key=scores.__getitem__)
        self.times.append(time_s)
        self.labels.append(best)
        self.scores.append(scores[best])

    def state(self) -> dict[str, Tensor]:
        """As tensors, for the progress file."""
        kinds = {"times": np.float64, "labels": np.int32, "scores": np.float32}
        return {f"curve.{name}": torch.from_numpy(np.array(getattr(self, name), kind)) for name, kind in kinds.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        for name in ("times", "labels", "scores"):
            getattr(self, name).extend(state[f"curve.{name}"].tolist())


@dataclass(frozen=True)
class Timeline:
    """What a video shows, and when."""

    path: str
    duration_s: float
    frames: int
    labels: tuple[str, ...]
    checkpoint: str
    decisions: DecisionSettings
    segments: tuple[Segment, ...]
    """In order, not overlapping; between them nothing holds."""
    curve: Curve
    cuts: int
    samples: int
    """Frames that were chosen for the model."""
    skipped: int
    """Those of them for which it was not run because nothing moved."""
    best: BestScore | None
    """The highest score of all answers; None if there was none."""
    segments_at: dict[float, int]
    """Lower ``enter`` thresholds -> how many segments each would have given."""

    def to_dict(self) -> dict[str, Any]:
        """What ``videoswin timeline --json`` prints."""
        return {
            "path": self.path,
            "duration_s": round(self.duration_s, 3),
            "checkpoint": self.checkpoint,
            "cuts": self.cuts,
            "samples": self.samples,
            "skipped": self.skipped,
            "best": self.best
            and {
                "label": self.labels[self.best.label],
                "score": round(self.best.score, 4),
                "time_s": round(self.best.time_s, 3),
            },
            "segments_at": {f"{enter:.2f}": count for enter, count in self.segments_at.items()},
            "segments": [
                {
                    "start_s": round(s.start_s, 3),
                    "end_s": round(s.end_s, 3),
                    "label": s.label,
                    "score": round(s.score, 4),
                }
                for s in self.segments
            ],
        }


def make_timeline(
    classifier: VideoClassifier,
    source: str | Path,
    settings: TimelineSettings | None = None,
    *,
    progress: Path | None = None,
    keep: Callable[[Timeline], object] = lambda timeline: None,
    each: Callable[[int, int], bool] = lambda done, total: True,
    answered: Callable[[float, list[float]], object] = lambda time_s, scores: None,
    notice: Callable[[str], object] = _log.warning,
    limits: Limits | None = None,
) -> Timeline:
    """Look at all of a video file.

    Args:
        progress: a file that keeps the place, so that a pass that was stopped goes on.
        keep: is given the result before ``progress`` is removed: what it writes is safe before the place is lost.
        each: called after each frame with (frames done, frames in all); False stops the pass, with the place kept.
        answered: called with each answer: its time in seconds and the scores of all classes.
        notice: is told, in one line, when the progress file is damaged and the pass begins anew.
        limits: what one untrusted file may cost.

    Raises:
        VideoError: the file cannot be opened or decoded.
        ConfigError: the settings do not fit the checkpoint, or ``progress`` belongs to another pass.
        WeightsError: the checkpoint's answers are no numbers.
        Interrupted: ``each`` said so.
    """
    settings = settings or TimelineSettings()
    with open_video(source, limits=limits or Limits()) as video:
        run = _Pass(classifier, video, settings, answered)
        place = _Place(progress, fingerprint(classifier, source, asdict(settings))) if progress else None
        if place:
            place.resume(run, notice)
        run.work(each, place)
        timeline = run.timeline()
    keep(timeline)
    if place:
        place.file.remove()
    return timeline


class _Pass:
    """One way through a video, with all that a resumed one needs."""

    def __init__(
        self,
        classifier: VideoClassifier,
        video: Video,
        settings: TimelineSettings,
        answered: Callable[[float, list[float]], object],
    ) -> None:
        self.classifier, self.video, self.settings = classifier, video, settings
        self.answered = answered
        fps = settings.pace.fps(classifier.preprocessing, video.info.fps)
        self.selector = FrameSelector(classifier.preprocessing, fps, cuts=settings.cuts)
        whole_videos = classifier.preprocessing.sampling == "uniform"
        anchor = settings.anchor if settings.anchor is not None else (0.0 if whole_videos else 0.5)
        self.tracker = make_tracker(
            classifier, settings.pace, fps, settings.decisions, gate=settings.gate, anchor=anchor
        )
        self.scan = ThresholdScan(settings.decisions)
        self.done = 0  # frames
        self.events: list[Event] = []
        self.curve = Curve()

    def work(self, each: Callable[[int, int], bool], place: "_Place | None") -> None:
        total = len(self.video)
        frames = self.video.frames_from(self.done) if self.done < total else iter(())
        for time_s, rgb in frames:
            self.look(Picture(time_s, rgb))
            if place and self.done < total:
                place.save_now_and_then(self)
            if not each(self.done, total):
                if place:
                    place.save(self)
                then = "The same command goes on from there." if place else "Nothing was kept."
                raise Interrupted(f"{self.video.info.path}: stopped at {time_s:.1f} s. {then}")
        if place:
            place.save(self)  # before the results are written, which can fail
        self.events += self.tracker.finish()
        self.scan.finish()

    def look(self, picture: Picture) -> None:
        for sample in self.selector.feed(picture):
            if sample.fresh:
                self.scan.finish(sample.time_s)
            for update in self.tracker.feed([sample]):
                self.take(update)
        self.done += 1

    def take(self, update: Update) -> None:
        self.events += update.events
        if update.scores:
            self.curve.add(update.answer_s, update.scores)
            self.scan.feed(update.answer_s, update.scores)
            self.answered(update.answer_s, update.scores)

    def timeline(self) -> Timeline:
        labels = self.classifier.labels
        info = self.video.info
        found = segments(self.events, labels)
        return Timeline(
            path=info.path,
            duration_s=info.duration_s,
            frames=self.done,
            labels=labels,
            checkpoint=self.classifier.name,
            decisions=self.settings.decisions,
            segments=tuple(segment._replace(end_s=min(segment.end_s, info.duration_s)) for segment in found),
            curve=self.curve,
            cuts=self.selector.cuts,
            samples=self.tracker.samples,
            skipped=self.tracker.skipped,
            best=self.scan.best,
            segments_at=self.scan.segments_at(),
        )

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Numbers and tensors for :meth:`restore`."""
        numbers, tensors = self.tracker.state()
        state = {
            "done": self.done,
            "selector": self.selector.state(),
            "tracker": numbers,
            "scan": self.scan.state(),
            "events": [list(event) for event in self.events],
        }
        return state, {**self.curve.state(), **tensors}

    def restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on from :meth:`state`."""
        done = int(state["done"])
        last = Picture(*next(iter(self.video.frames_from(done - 1))))
        self.selector.restore(state["selector"], last)
        self.tracker.restore(state["tracker"], tensors)
        self.scan.restore(state["scan"])
        self.events = [Event(*event) for event in state["events"]]
        self.curve.restore(tensors)
        self.done = done


class _Place:
    """The progress file of one pass: which pass it belongs to, and when it is written."""

    def __init__(self, path: Path, belongs_to: str) -> None:
        self.file = ProgressFile(path)
        self._belongs_to = belongs_to
        self._saved = (0, time.monotonic())  # frames, and when

    def save_now_and_then(self, run: _Pass) -> None:
        frames, moment = self._saved
        if run.done - frames >= _SAVE_EVERY or time.monotonic() - moment >= _SAVE_EVERY_S:
            self.save(run)

    def save(self, run: _Pass) -> None:
        state, tensors = run.state()
        self.file.write({**state, "version": _PROGRESS_VERSION, "belongs_to": self._belongs_to}, tensors)
        self._saved = run.done, time.monotonic()

    def resume(self, run: _Pass, notice: Callable[[str], object]) -> None:
        """Take up what the file holds, if there is one."""
        try:
            found = self.file.read()
        except DamagedProgressError as error:
            notice(f"{error} The pass begins anew.")
            return
        if found is None:
            return
        state, tensors = found
        if state.get("version") != _PROGRESS_VERSION:
            notice(f"{self.file.path} is of another version of videoswin. The pass begins anew.")
            return
        if state["belongs_to"] != self._belongs_to:
            raise ConfigError(
                f"{self.file.path} belongs to another video, checkpoint or settings. Repeat that command, or delete it."
            )
        run.restore(state, tensors)
        self._saved = run.done, time.monotonic()
