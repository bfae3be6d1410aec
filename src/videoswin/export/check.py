"""Is the exported file the model? Compared on real videos, one clip alone and several together."""

import torch
from torch import Tensor

from videoswin.classifier.bundled import sample_videos
from videoswin.data.decode import open_video
from videoswin.data.preprocessing import Preprocessing, Views
from videoswin.predict.scoring import VideoClassifier

__all__ = ["compare", "real_clips"]


def real_clips(preprocessing: Preprocessing) -> Tensor:
    """The middle clip of each bundled sample video, (B, 3, T, H, W), as the preprocessing makes it."""
    clips = []
    for path in sample_videos():
        with open_video(path) as video:
            clips.append(preprocessing.views(video, Views(1, 1)).clips)
    return torch.cat(clips)


def compare(model: VideoClassifier, exported: VideoClassifier, clips: Tensor) -> float:
    """The largest difference of their logits, as a part of the model's largest logit; NaN if one of them gives NaN.

    The clips go in one by one and all together: the batch has to be free, and clips must not influence each other.

    Raises:
        WeightsError: the exported file gives logits that are not finite.
    """
    expected = torch.cat([model.logits(clip) for clip in clips.split(1)])
    alone = torch.cat([exported.logits(clip) for clip in clips.split(1)])
    together = exported.logits(clips)
    difference = torch.stack([alone - expected, together - expected]).abs().max()
    return float(difference / expected.abs().max().clamp(min=1e-12))
