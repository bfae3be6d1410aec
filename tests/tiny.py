"""A classifier and videos so small that a test takes milliseconds."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.model import SwinConfig, create_model

LABELS = ("clap", "nod", "wave")
CONFIG = SwinConfig(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 3, 3), num_classes=3, drop_path=0.3)
PREPROCESSING = Preprocessing(clip_len=8, frame_interval=2, size=(32, 32), short_side=32)


def tiny_classifier(labels: tuple[str, ...] = LABELS, preprocessing: Preprocessing = PREPROCESSING) -> Classifier:
    """A classifier with random weights, the same ones each time."""
    torch.manual_seed(0)
    model = create_model(CONFIG, num_classes=len(labels))
    torch.nn.init.normal_(model.head.fc.weight, std=2.0)  # type: ignore[union-attr]  # scores worth comparing
    return Classifier(model.eval(), preprocessing, labels, name="tiny")


def write_video(path: Path, frames: int = 24, fps: int = 12, size: tuple[int, int] = (48, 64), seed: int = 0) -> Path:
    """An mp4 of coloured noise in blocks; ``size`` is height, width in pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    height, width = size
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, fps)
        for _ in range(frames):
            blocks = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
            picture = blocks.repeat(8, axis=0).repeat(8, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
