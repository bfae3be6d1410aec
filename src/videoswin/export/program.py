"""The model as a traced program: one graph for batches of any length."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from videoswin.data.preprocessing import Preprocessing
from videoswin.export.graph import BiasLookup, FixedAttention, inference_graph
from videoswin.export.libraries import quiet
from videoswin.interface.video_model import VideoModel

__all__ = ["INPUT", "OUTPUT", "Program", "trace"]

INPUT, OUTPUT = "clips", "logits"
_MAX_BATCH = 1024


@dataclass(frozen=True)
class Program:
    """A traced model."""

    exported: ExportedProgram
    """The graph with its weights, float32."""
    example: Tensor
    """A batch of clips of the size that it takes, (2, 3, T, H, W)."""
    lookups: Mapping[str, BiasLookup]
    """Where the constant attention biases come from, by their names in the graph."""


class _Named(nn.Module):
    """The argument's name becomes the input's name in the file."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Tensor) -> Tensor:
        return self.model(clips)


def trace(model: VideoModel, preprocessing: Preprocessing) -> Program:
    """The model for the clips that the preprocessing makes, and for any number of them."""
    size = preprocessing.clip_len, *preprocessing.size
    example = torch.zeros(2, 3, *size)  # two: a batch of one would be taken for a constant
    named = _Named(inference_graph(model, *size))
    with quiet(), torch.no_grad():
        batch = Dim("batch", min=1, max=_MAX_BATCH)
        exported = torch.export.export(named, (example,), dynamic_shapes=({0: batch},))
    lookups = {
        f"{name}.bias_{i}": lookup
        for name, module in named.named_modules()
        if isinstance(module, FixedAttention)
        for i, lookup in enumerate(module.lookups)
    }
    return Program(exported, example, lookups)
