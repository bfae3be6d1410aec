"""Checkpoint folders of videoswin in the transformers library, without code from a hub.

``import videoswin.hf`` tells its Auto classes what the model type "videoswin" is. Then::

    from transformers import AutoModelForVideoClassification, pipeline

    model = AutoModelForVideoClassification.from_pretrained("runs/mine/best")
    pipe = pipeline("video-classification", model="runs/mine/best")

and what either library saves, the other loads.
"""

from videoswin.errors import MissingExtraError

try:
    import transformers as _transformers
except ImportError:
    raise MissingExtraError("videoswin.hf needs transformers. Install it: pip install 'videoswin[hf]'") from None

from videoswin.hf.configuration import VideoSwinConfig
from videoswin.hf.modeling import VideoSwinForVideoClassification
from videoswin.hf.pipeline import VideoSwinPipeline, take_the_task

__all__ = ["VideoSwinConfig", "VideoSwinForVideoClassification", "VideoSwinPipeline"]

_transformers.AutoConfig.register("videoswin", VideoSwinConfig, exist_ok=True)
_transformers.AutoModelForVideoClassification.register(VideoSwinConfig, VideoSwinForVideoClassification, exist_ok=True)
take_the_task()
