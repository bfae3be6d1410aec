"""How densely a checkpoint looks at a running video, and the stream that suits it.

Three kinds of checkpoints, three streams, one :class:`~videoswin.live.tracker.Tracker` around them:

* causal models answer every two frames, from the work of these two alone: :class:`videoswin.streams.causal.Stream`;
* models of fixed clips see the latest clip again and again: :class:`videoswin.streams.sliding.SlidingStream`;
* models of whole videos (``sampling="uniform"``) see the shot so far: :class:`videoswin.streams.elastic.ElasticStream`.

An exported file and the systems of the zoo take whole clips and nothing else: :class:`~videoswin.streams.clips.ClipsStream` in place of the first two.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.export.runtime.exported import ExportedClassifier
from videoswin.live.decisions import DecisionSettings
from videoswin.live.sampler import stream_fps
from videoswin.live.tracker import ClipStream, Tracker
from videoswin.model import VideoSwin
from videoswin.predict.answers import NONE, require_one_label
from videoswin.predict.scoring import VideoClassifier
from videoswin.streams.causal import Stream
from videoswin.streams.clips import ClipsStream
from videoswin.streams.elastic import ElasticStream
from videoswin.streams.sliding import SlidingStream

__all__ = ["Pace", "make_tracker"]

_ELASTIC_DENSITY = 3
"""How many times more frames than a clip has are kept for a clip that stretches: a third of the longest view fills it."""


@dataclass(frozen=True)
class Pace:
    """Seconds of a clip, and from answer to answer.

    Raises:
        ConfigError: a value that is not above 0.
    """

    clip_seconds: float | None = None
    """What one clip spans; for checkpoints of whole videos, the longest action. None: as the checkpoint says, or its training."""
    hop_seconds: float | None = None
    """From answer to answer. None: an eighth of a clip."""

    def __post_init__(self) -> None:
        for name, value in {"clip_seconds": self.clip_seconds, "hop_seconds": self.hop_seconds}.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value!r}. Use seconds above 0, such as 3.")

    def suited(self, classifier: VideoClassifier) -> "Pace":
        """This pace, and where it leaves open how long a clip of whole videos is, as long as those that the model learnt from."""
        training = classifier.training
        if self.clip_seconds is None and classifier.preprocessing.sampling == "uniform" and training is not None:
            return replace(self, clip_seconds=training.clip_seconds)
        return self

    def fps(self, preprocessing: Preprocessing, source_fps: float) -> float:
        """Frames of the video that are looked at each second; see :func:`videoswin.live.sampler.stream_fps`."""
        fps = stream_fps(preprocessing, source_fps, self.clip_seconds)
        return fps * _ELASTIC_DENSITY if preprocessing.sampling == "uniform" else fps

    def hop(self, preprocessing: Preprocessing, fps: float, frames_per_step: int) -> int:
        """Sampled frames from answer to answer, a multiple of ``frames_per_step``."""
        clip_s = view_frames(preprocessing) / fps
        frames = (self.hop_seconds or clip_s / 8) * fps
        return max(1, round(frames / frames_per_step)) * frames_per_step


def view_frames(preprocessing: Preprocessing) -> int:
    """Sampled frames that one answer is about."""
    return preprocessing.clip_len * (_ELASTIC_DENSITY if preprocessing.sampling == "uniform" else 1)


def _as_bytes(frames: Tensor) -> Tensor:
    """uint8 ``(T, H, W, 3)`` in a stream's order of axes, ``(3, T, H, W)``."""
    return frames.permute(3, 0, 1, 2)


def make_tracker(
    classifier: VideoClassifier,
    pace: Pace,
    fps: float,
    decisions: DecisionSettings,
    *,
    gate: bool = False,
    anchor: float = 1.0,
) -> Tracker:
    """The tracker for this checkpoint, or exported file, at ``fps`` sampled frames per second.

    Raises:
        ConfigError: an exported file of a causal model.
    """
    if isinstance(classifier, ExportedClassifier):
        classifier.require_whole_clips()
    require_one_label(classifier.answer, classifier.name, "a stream")
    preprocessing = classifier.preprocessing
    any_model = classifier.model if isinstance(classifier, Classifier) else None
    # Other systems than Video Swin see whole clips: nothing inside them could be used again.
    model = any_model if isinstance(any_model, VideoSwin) else None
    step = model.config.patch_size[0] if model else 2
    hop = pace.hop(preprocessing, fps, step)
    view, prepad = view_frames(preprocessing), 0
    to_clip: Callable[[Tensor], Tensor] = preprocessing.to_clip
    stream: ClipStream
    if model and model.config.causal:
        view = preprocessing.clip_len
        stream = Stream(model, pool=max(1, view // step))
    elif preprocessing.sampling == "uniform":

        def normalise(frames: Tensor) -> Tensor:
            return torch.stack([preprocessing.to_clip(row.permute(1, 2, 3, 0)) for row in frames])

        to_clip = _as_bytes
        score = any_model or classifier.logits
        stream = ElasticStream(score, preprocessing.clip_len, longest=view, hop=hop, normalise=normalise)
    else:
        hop = min(hop, preprocessing.clip_len)
        length = preprocessing.clip_len
        stream = SlidingStream(model, length, hop) if model else ClipsStream(classifier.logits, length, hop)
        prepad = -(-(length - hop) // hop) * hop
    return Tracker(
        stream,
        to_clip,
        decisions,
        view_frames=view,
        prepad=prepad,
        gate=gate,
        anchor=anchor,
        device=classifier.device,
        name=classifier.name,
        none=classifier.labels.index(NONE) if NONE in classifier.labels else None,
    )
