"""A job of milliseconds, and peers that need no library."""

import torch
from torch import Tensor, nn

from tests.tiny import CONFIG
from videoswin.bench.job import Job
from videoswin.bench.peers import Model, Ours, Peer
from videoswin.errors import MissingExtraError
from videoswin.model import VideoSwin
from videoswin.model.config import Grid


def tiny_job(clip: Grid = (4, 24, 24), batch: int = 1, precision: str = "fp32") -> Job:
    config = CONFIG.replace(drop_path=0.0, head_dropout=0.0, relative_bias="official")
    return Job("tiny", config, clip, batch, "cpu", precision)  # type: ignore[arg-type]


class Wrong(Ours):
    """Our model with one bias moved a little."""

    name = "wrong"

    def build(self, job: Job, ours: VideoSwin) -> VideoSwin:
        model = super().build(job, ours)
        with torch.no_grad():
            model.head.fc.bias[0] += 1e-3  # type: ignore[union-attr]
        return model


class WrongGradient(Ours):
    """Right outputs; one gradient is not."""

    name = "wrong gradient"

    def gradients(self, model: nn.Module) -> dict[str, Tensor]:
        found = super().gradients(model)
        return found | {"head.fc.bias": found["head.fc.bias"] * 1.001}


class Missing(Ours):
    name = "missing"

    def require(self) -> str:
        raise MissingExtraError("nobody has it: pip install nothing")


class Another(Peer):
    """Another model, which is no module: as something that runs a file would be."""

    name = "another"
    same_model = False
    trainable = False
    accuracy = "12.3 (1x1)"

    def build(self, job: Job, ours: VideoSwin) -> Model:
        return lambda video: video.mean(dim=(2, 3, 4))

    def clip(self, job: Job) -> Grid:
        return 2, 8, 8

    def gmacs(self, job: Job) -> float:
        return 0.0
