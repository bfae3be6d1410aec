"""A long video in, segments with labels out: one pass, memory that does not grow with the length, resumable.

Frames are decoded in order, sampled, and pushed through the model's stream (:mod:`videoswin.live.tracker`); what is kept of
each answer is 17 bytes. Every so often the place in the file, the frames in the model's view and the state of every
decision go into one progress file. A pass that was stopped goes on from there and ends with the same bits.
"""

import hashlib
import json
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from videoswin.data.decode import Limits, Video, open_video
from videoswin.errors import ConfigError, Interrupted
from videoswin.export.runtime.exported import ExportedClassifier
from videoswin.live.decisions import DecisionSettings, Event, Segment, segments
from videoswin.live.pace import Pace, make_engine
from videoswin.live.tracker import Engine, FrontEnd, Update
from videoswin.weights.safetensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from videoswin.classifier.classifier import Classifier

__all__ = ["Curve", "LabelledSegment", "Timeline", "TimelineSettings", "make_timeline"]

_SAVE_EVERY = 2000  # frames: a minute of video at 30 frames a second
_PROGRESS_VERSION = 1


@dataclass(frozen=True)
class TimelineSettings:
    """How a long video is looked at.

    ``pace``: how densely, see :class:`videoswin.live.pace.Pace`. ``decisions``: how scores become segments. ``cuts``: begin
    afresh at each cut. ``gate``: do not ask the model while nothing moves. ``anchor``: the place in the model's view, 0
    oldest to 1 newest frame, whose time an answer gets. None: 0 for checkpoints of whole videos, whose answer is about the
    shot from its beginning, and 0.5 for the others.
    """

    pace: Pace = field(default_factory=Pace)
    decisions: DecisionSettings = field(default_factory=DecisionSettings)
    cuts: bool = True
    gate: bool = True
    anchor: float | None = None


class LabelledSegment(NamedTuple):
    """From ``start_s`` to ``end_s`` seconds the video shows ``label``, with this mean score."""

    start_s: float
    end_s: float
    label: str
    score: float


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
    """What a video shows, and when.

    ``segments``: in order, not overlapping; between them nothing holds. ``samples``: frames that were chosen for the model;
    ``skipped``: those of them that it was spared because nothing moved.
    """

    path: str
    duration_s: float
    frames: int
    labels: tuple[str, ...]
    checkpoint: str
    segments: tuple[LabelledSegment, ...]
    curve: Curve
    cuts: int
    samples: int
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """What ``videoswin timeline --json`` prints."""
        return {
            "path": self.path,
            "duration_s": round(self.duration_s, 3),
            "checkpoint": self.checkpoint,
            "cuts": self.cuts,
            "samples": self.samples,
            "skipped": self.skipped,
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
    classifier: "Classifier | ExportedClassifier",
    source: str | Path,
    settings: TimelineSettings | None = None,
    *,
    progress: Path | None = None,
    each: Callable[[int, int], bool] = lambda done, total: True,
    limits: Limits | None = None,
) -> Timeline:
    """Look at all of a video file.

    Args:
        progress: a file that keeps the place, so that a pass that was stopped goes on; removed at the end.
        each: called after each frame with (frames done, frames in all); False stops the pass, with the place kept.
        limits: what one untrusted file may cost.

    Raises:
        VideoError: the file cannot be opened or decoded.
        ConfigError: the settings do not fit the checkpoint, or ``progress`` belongs to another pass.
        Interrupted: ``each`` said so.
    """
    settings = settings or TimelineSettings()
    with open_video(source, limits=limits or Limits()) as video:
        run = _Pass(classifier, video, settings, progress)
        run.resume()
        run.work(each)
        return run.timeline()


class _Pass:
    """One way through a video, with all that a resumed one needs."""

    def __init__(
        self,
        classifier: "Classifier | ExportedClassifier",
        video: Video,
        settings: TimelineSettings,
        progress: Path | None,
    ) -> None:
        self.classifier, self.video, self.settings, self.progress = classifier, video, settings, progress
        fps = settings.pace.fps(classifier.preprocessing, video.info.fps)
        self.front = FrontEnd(classifier.preprocessing, fps, cuts=settings.cuts)
        whole_videos = classifier.preprocessing.sampling == "uniform"
        anchor = settings.anchor if settings.anchor is not None else (0.0 if whole_videos else 0.5)
        self.engine: Engine = make_engine(
            classifier, settings.pace, fps, settings.decisions, gate=settings.gate, anchor=anchor
        )
        self.done = 0  # frames
        self.events: list[Event] = []
        self.curve = Curve()

    def work(self, each: Callable[[int, int], bool]) -> None:
        total, saved = len(self.video), self.done
        frames = self.video.frames_from(self.done) if self.done < total else iter(())
        for time_s, rgb in frames:
            self.look(time_s, rgb)
            if self.progress and self.done - saved >= _SAVE_EVERY:
                self.save()
                saved = self.done
            if not each(self.done, total):
                if self.progress:
                    self.save()
                then = "The same command goes on from there." if self.progress else "Nothing was kept."
                raise Interrupted(f"{self.video.info.path}: stopped at {time_s:.1f} s. {then}")
        self.events += self.engine.finish()
        if self.progress:
            self.progress.unlink(missing_ok=True)

    def look(self, time_s: float, rgb: Tensor) -> None:
        for sample in self.front.feed(time_s, rgb):
            for update in self.engine.feed([sample]):
                self.take(update)
        self.done += 1

    def take(self, update: Update) -> None:
        self.events += update.events
        if update.scores:
            self.curve.add(update.answer_s, update.scores)

    def timeline(self) -> Timeline:
        labels = self.classifier.labels
        info = self.video.info
        return Timeline(
            path=info.path,
            duration_s=info.duration_s,
            frames=self.done,
            labels=labels,
            checkpoint=self.classifier.name,
            segments=tuple(_labelled(s, labels, info.duration_s) for s in segments(self.events)),
            curve=self.curve,
            cuts=self.front.cuts,
            samples=self.engine.samples,
            skipped=self.engine.skipped,
        )

    # The progress file ------------------------------------------------------------------------------------------------

    def save(self) -> None:
        assert self.progress is not None
        numbers, tensors = self.engine.state()
        state = {
            "version": _PROGRESS_VERSION,
            "belongs_to": self.fingerprint(),
            "done": self.done,
            "front": self.front.state(),
            "engine": numbers,
            "events": [list(event) for event in self.events],
        }
        text = torch.frombuffer(bytearray(json.dumps(state).encode()), dtype=torch.uint8)
        write_tensors(self.progress, {"state": text, **self.curve.state(), **tensors})

    def resume(self) -> None:
        """Take up what the progress file holds, if there is one."""
        if self.progress is None or not self.progress.is_file():
            return
        tensors = {name: tensor.clone() for name, tensor in read_tensors(self.progress).items()}
        try:
            state = json.loads(tensors["state"].numpy().tobytes())
            belongs_to = state["belongs_to"]
            if belongs_to == self.fingerprint():
                self._restore(state, tensors)
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ConfigError(
                f"{self.progress} is damaged, so the pass cannot go on ({error}). Delete it to begin again."
            ) from None
        if belongs_to != self.fingerprint():
            raise ConfigError(
                f"{self.progress} belongs to another video, checkpoint or settings. Repeat that command, or delete it."
            )

    def _restore(self, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        done = int(state["done"])
        if not 0 < done <= len(self.video):
            raise ValueError("a place outside the video")
        before_s, before = next(iter(self.video.frames_from(done - 1)))
        self.front.restore(state["front"], before_s, before)
        self.engine.restore(state["engine"], tensors)
        self.events = [Event(*event) for event in state["events"]]
        self.curve.restore(tensors)
        self.done = done

    def fingerprint(self) -> str:
        """What a progress file belongs to: this video, these weights, these settings."""
        info = self.video.info
        weights = hashlib.sha256()
        if isinstance(self.classifier, ExportedClassifier):
            weights.update(self.classifier.fingerprint().encode())
        else:
            for name, tensor in self.classifier.model.state_dict().items():
                weights.update(f"{name} {tuple(tensor.shape)} {float(tensor.double().sum())!r}".encode())
        facts = [
            Path(info.path).name, info.num_frames, info.duration_s, info.width, info.height, info.codec,
            self.classifier.preprocessing.to_dict(), self.classifier.labels, asdict(self.settings), weights.hexdigest(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _labelled(segment: Segment, labels: tuple[str, ...], duration_s: float) -> LabelledSegment:
    return LabelledSegment(segment.start_s, min(segment.end_s, duration_s), labels[segment.label], segment.score)
