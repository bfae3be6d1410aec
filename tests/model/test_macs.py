"""The paper's tables of sizes and costs, and the engine's own count of what it multiplies."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.model.helpers import TINY, tiny_clip, tiny_model
from videoswin.errors import ConfigError
from videoswin.kernels.choose import use_engine
from videoswin.model import SwinConfig, create_model, get_config
from videoswin.zoo.swin_macs import count_macs


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("swin3d_t", 28_158_070),
        ("swin3d_s", 49_816_678),
        ("swin3d_b", 88_048_984),
        ("swin3d_l", 196_953_916),
        ("swin3d_b_ssv2", 88_834_038),
        ("swin3d_l_384", 199_999_516),
    ],
)
def test_parameters_of_the_paper(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create_model(name)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "frames", "side", "giga"),
    [
        ("swin3d_t", 32, 224, 87.8),
        ("swin3d_s", 32, 224, 165.7),
        ("swin3d_b", 32, 224, 281.3),
        ("swin3d_l", 32, 224, 603.3),
        ("swin3d_b_ssv2", 32, 224, 320.4),
        ("swin3d_l_384", 32, 384, 2106.4),
        ("swin3d_t", 16, 224, 43.9),
        ("swin3d_s", 16, 224, 82.8),
        ("swin3d_b", 16, 224, 140.7),
        ("swin3d_l", 16, 224, 301.6),
    ],
)
def test_multiply_adds_of_the_paper(name: str, frames: int, side: int, giga: float) -> None:
    macs = count_macs(get_config(name), frames, side, side)
    assert round(macs.paper / 1e9, 1) == giga
    assert macs.executed < macs.paper  # these sizes need no padding


sizes = st.tuples(st.integers(2, 24), st.integers(4, 100), st.integers(4, 100))


@given(sizes, st.sampled_from([(1, 1, 1), (2, 3, 3), (4, 2, 3), (8, 7, 7)]))
def test_real_tokens_alone_never_cost_more_than_the_paper(
    size: tuple[int, int, int], window: tuple[int, int, int]
) -> None:
    macs = count_macs(TINY.replace(window_size=window, padding="masked"), *size)
    assert macs.executed <= macs.paper


@given(st.tuples(*[st.integers(1, 3)] * 3), st.sampled_from([(1, 1, 1), (2, 3, 3), (4, 2, 3)]))
def test_undivided_windows_never_cost_more_than_the_paper(
    multiple: tuple[int, ...], window: tuple[int, int, int]
) -> None:
    """Every grid is a whole number of windows here, so that nothing is padded."""
    t, h, w = (m * size for m, size in zip(multiple, window, strict=True))
    for padding in ("attended", "masked"):
        macs = count_macs(TINY.replace(window_size=window, padding=padding), 2 * t, 8 * h, 8 * w)
        assert macs.executed <= macs.paper


def test_without_shifts_both_counts_are_equal() -> None:
    config = TINY.replace(depths=(1, 1), window_size=(2, 3, 3))
    macs = count_macs(config, 8, 24, 24)
    assert macs.executed == macs.paper


def test_padding_tokens_are_counted() -> None:
    config = TINY.replace(depths=(1, 1))
    padded, masked = (count_macs(config.replace(padding=p), 6, 28, 28).executed for p in ("attended", "masked"))
    assert padded > masked


@pytest.mark.parametrize("padding", ["attended", "masked"])
@pytest.mark.parametrize("size", [(8, 24, 24), (7, 22, 27), (2, 4, 4), (12, 40, 30)])
@pytest.mark.parametrize("num_classes", [0, 5])
def test_executed_is_what_torch_counts(padding: str, size: tuple[int, int, int], num_classes: int) -> None:
    model = tiny_model(padding=padding, num_classes=num_classes)
    with (
        use_engine("plain"),  # the counter knows PyTorch's own operators only
        FlopCounterMode(display=False) as counter,
        sdpa_kernel(SDPBackend.MATH),
        torch.no_grad(),
    ):
        model(tiny_clip(1, *size))
    assert counter.get_total_flops() == 2 * count_macs(model.config, *size).executed


@pytest.mark.parametrize(("size", "axis"), [((0, 224, 224), "T"), ((32, -4, 224), "H"), ((32, 224, 3), "W")])
def test_sizes_that_the_model_refuses_have_no_cost(size: tuple[int, int, int], axis: str) -> None:
    with pytest.raises(ConfigError, match=f"Axis {axis}"):
        count_macs(SwinConfig(), *size)
