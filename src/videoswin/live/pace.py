"""How densely a checkpoint looks at a running video, and the stream that suits it.

Three kinds of checkpoints, three streams, one :class:`~videoswin.live.tracker.Engine` around them:

* causal models answer every two frames, from the work of these two alone: :class:`videoswin.streams.causal.Stream`;
* models of fixed clips see the latest clip again and again: :class:`videoswin.streams.sliding.SlidingStream`;
* models of whole videos (``sampling="uniform"``) see the shot so far: :class:`videoswin.streams.elastic.ElasticStream`.

Exported files are clip models too: :func:`videoswin.export.runtime.stream.exported_stream`.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.export.runtime.exported import ExportedClassifier
from videoswin.export.runtime.stream import exported_stream
from videoswin.live.decisions import DecisionSettings
from videoswin.live.sampler import stream_fps
from videoswin.live.tracker import ClipStream, Engine
from videoswin.streams.causal import Stream
from videoswin.streams.clips import ClipsStream
from videoswin.streams.elastic import ElasticStream
from videoswin.streams.sliding import SlidingStream

if TYPE_CHECKING:
    from videoswin.classifier.classifier import Classifier

__all__ = ["Pace", "make_engine"]

_ELASTIC_DENSITY = 3
"""How many times more frames than a clip has are kept for a clip that stretches: a third of the longest view fills it."""


@dataclass(frozen=True)
class Pace:
    """``clip_seconds``: what one clip spans; for checkpoints of whole videos, the longest action. ``hop_seconds``: seconds
    from answer to answer. None: by the checkpoint, and an eighth of a clip.

    Raises:
        ConfigError: a value that is not above 0.
    """

    clip_seconds: float | None = None
    hop_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in {"clip_seconds": self.clip_seconds, "hop_seconds": self.hop_seconds}.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value!r}. Use seconds above 0, such as 3.")

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


def make_engine(
    classifier: "Classifier | ExportedClassifier",
    pace: Pace,
    fps: float,
    decisions: DecisionSettings,
    *,
    gate: bool = False,
    anchor: float = 1.0,
) -> Engine:
    """The engine for this checkpoint at ``fps`` sampled frames per second."""
    preprocessing = classifier.preprocessing
    model = None if isinstance(classifier, ExportedClassifier) else classifier.model
    step = 2 if model is None else model.config.patch_size[0]
    hop = pace.hop(preprocessing, fps, step)
    view = view_frames(preprocessing)
    fill = 0
    stream: ClipStream
    if model is None:
        stream = exported_stream(cast(ExportedClassifier, classifier), hop, view)
    elif model.config.causal:
        view = preprocessing.clip_len
        stream = Stream(model, pool=max(1, view // step))
    elif preprocessing.sampling == "uniform":
        stream = ElasticStream(model, preprocessing.clip_len, longest=view, hop=hop)
    else:
        stream = SlidingStream(model, preprocessing.clip_len, min(hop, preprocessing.clip_len))
    if isinstance(stream, SlidingStream | ClipsStream):
        fill = -(-(preprocessing.clip_len - stream.hop) // stream.hop) * stream.hop
    return Engine(
        stream,
        preprocessing.to_clip,
        decisions,
        view_frames=view,
        fill=fill,
        gate=gate,
        anchor=anchor,
        device=classifier.device,
    )
