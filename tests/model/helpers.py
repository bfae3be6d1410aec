"""Small models and small measures shared by the model tests."""

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from videoswin.kernels.boxes import Partition
from videoswin.model import SwinConfig, VideoSwin
from videoswin.model.config import Grid
from videoswin.model.windows import partition

CPU = torch.device("cpu")

TINY = SwinConfig(
    embed_dim=8,
    depths=(2, 2),
    num_heads=(1, 2),
    window_size=(2, 3, 3),
    num_classes=5,
    drop_path=0.0,
    head_dropout=0.0,
    init="local",
)
"""Two stages; on an 8x24x24 clip, grids of 4x6x6 and 4x3x3: regular and shifted windows, then clipped ones."""


def tiny_model(**changes: Any) -> VideoSwin:
    """A TINY model in eval mode, biases and tables random so that nothing hides behind a zero."""
    model = VideoSwin(TINY.replace(**changes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1 or not parameter.any():
                parameter.add_(torch.randn_like(parameter) * 0.3)
        for name, parameter in model.named_parameters():
            if name.endswith("relative_position_bias_table"):
                parameter.normal_()
    return model.eval()


def tiny_clip(batch: int = 2, frames: int = 8, height: int = 24, width: int = 24) -> Tensor:
    """Random normalised clips (B, 3, T, H, W)."""
    return torch.randn(batch, 3, frames, height, width)


def relative_error(ours: Tensor, expected: Tensor) -> float:
    """||ours - expected|| / ||expected||."""
    ours, expected = ours.detach(), expected.detach()
    return float(torch.linalg.vector_norm(ours - expected) / torch.linalg.vector_norm(expected))


def boxes(
    grid: Grid,
    window: Grid,
    shift: Grid = (0, 0, 0),
    relative_bias: str = "exact",
    padding: str = "attended",
    causal: bool = False,
):
    """``partition`` on the CPU, with the usual modes."""
    made: Partition = partition(grid, window, shift, relative_bias, padding, CPU, causal)  # type: ignore[arg-type]
    return made


@st.composite
def windowings(draw: st.DrawFn, longest: int = 7, widest: int = 4) -> tuple[Grid, Grid, Grid]:
    """(grid, window, shift) in tokens: any sizes, so mostly nothing divides, and windows larger than the grid occur."""
    window = draw(st.tuples(*[st.integers(1, widest)] * 3))
    grid = draw(st.tuples(*[st.integers(1, longest)] * 3))
    half = tuple(size // 2 for size in window)  # the model's own shift, most of the time
    shift = draw(st.one_of(st.just(half), st.tuples(*(st.integers(0, size - 1) for size in window))))
    return grid, window, shift
