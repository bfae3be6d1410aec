"""``pipeline("video-classification")`` with views over the whole video.

The library's own looks at the first clip of a video and no more. For a checkpoint of ours this one predicts as
``videoswin predict`` does; for all others it is the library's.
"""

from typing import Any

from transformers import Pipeline, VideoClassificationPipeline
from transformers.pipelines import PIPELINE_REGISTRY

from videoswin.hf.modeling import VideoSwinForVideoClassification
from videoswin.predict.scoring import predict

__all__ = ["VideoSwinPipeline", "take_the_task"]

_TASK = "video-classification"


class VideoSwinPipeline(VideoClassificationPipeline):
    """``pipe("clip.mp4", views="4x3", top_k=5)`` gives ``[{"score", "label"}, ...]``, best first.

    Raises:
        VideoError: the video cannot be opened or decoded.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        model = kwargs.get("model", args[0] if args else None)
        if isinstance(model, VideoSwinForVideoClassification):
            Pipeline.__init__(self, *args, **kwargs)  # which asks for no processor: ours is in the checkpoint
        else:
            super().__init__(*args, **kwargs)

    def _sanitize_parameters(self, top_k: int | None = None, views: str | None = None, **kwargs: Any) -> Any:
        if not isinstance(self.model, VideoSwinForVideoClassification):
            return super()._sanitize_parameters(top_k=top_k, **kwargs)
        return {}, {} if views is None else {"views": views}, {} if top_k is None else {"top_k": top_k}

    def preprocess(self, video: Any, **kwargs: Any) -> Any:
        if not isinstance(self.model, VideoSwinForVideoClassification):
            return super().preprocess(video, **kwargs)
        if isinstance(video, str) and "://" in video:
            raise ValueError(f"{video} is an address; download the video first, and give the file or its bytes.")
        return {"video": video}

    def _forward(self, model_inputs: Any, views: str = "1x1") -> Any:
        model = self.model
        if not isinstance(model, VideoSwinForVideoClassification):
            return super()._forward(model_inputs)
        classifier = model.classifier()
        return {"predictions": predict(classifier, model_inputs["video"], views, len(classifier.labels)).predictions}

    def postprocess(self, model_outputs: Any, top_k: int = 5, **kwargs: Any) -> Any:
        if not isinstance(self.model, VideoSwinForVideoClassification):
            return super().postprocess(model_outputs, top_k=top_k, **kwargs)
        return [{"score": score, "label": label} for label, score in model_outputs["predictions"][:top_k]]


def take_the_task() -> None:
    """Puts this pipeline in the place of the library's, which it is for all models but ours."""
    PIPELINE_REGISTRY.supported_tasks[_TASK]["impl"] = VideoSwinPipeline
