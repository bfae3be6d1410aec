"""How long a clip is where neither the client nor the checkpoint says it."""

from dataclasses import replace

from videoswin.data.preprocessing import Preprocessing
from videoswin.live.pace import Pace

__all__ = ["with_clip_seconds"]

_ONE_ACTION_S = 8.0
_USUAL_S = 3.0


def with_clip_seconds(pace: Pace, preprocessing: Preprocessing, duration_s: float | None = None) -> Pace:
    """A checkpoint of whole videos knows no length of its own. A short video, of ``duration_s`` seconds, is taken to be one
    action, as those that the checkpoint learnt from; else a clip spans what an action of a person usually takes."""
    if pace.clip_seconds is not None or preprocessing.sampling != "uniform":
        return pace
    short = duration_s is not None and 0 < duration_s <= _ONE_ACTION_S
    return replace(pace, clip_seconds=duration_s if short else _USUAL_S)
