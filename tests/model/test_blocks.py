"""Patch embedding, merging, stochastic depth and the block, each against its plain definition."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from tests.model.helpers import TINY, boxes
from videoswin.model import SwinConfig, VideoSwin, create_model
from videoswin.model.attention import BoxAttention
from videoswin.model.backbone import Stage
from videoswin.model.blocks import DropPath, PatchEmbed, PatchMerging, SwinBlock


@pytest.mark.parametrize("size", [(4, 8, 12), (3, 9, 6), (2, 4, 4)])
@pytest.mark.parametrize("norm", [True, False])
def test_patch_embedding_is_a_strided_convolution(size: tuple[int, int, int], norm: bool) -> None:
    embed = PatchEmbed((2, 4, 4), 3, 8, norm)
    video = torch.randn(2, 3, *size)
    padded = F.pad(video, (0, -size[2] % 4, 0, -size[1] % 4, 0, -size[0] % 2))
    expected = embed.proj(padded).permute(0, 2, 3, 4, 1)
    if norm:
        expected = F.layer_norm(expected, (8,))
    assert torch.allclose(embed(video), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(3, 4, 6), (3, 5, 7), (1, 1, 1)])
def test_patch_merging_takes_neighbours_height_first(size: tuple[int, int, int]) -> None:
    merge = PatchMerging(2)
    x = torch.randn(2, *size, 2)
    t, h, w = size
    out = merge(x)
    assert out.shape == (2, t, -(-h // 2), -(-w // 2), 4)
    padded = F.pad(x, (0, 0, 0, w % 2, 0, h % 2))
    for i, j in [(0, 0), (out.shape[2] - 1, out.shape[3] - 1)]:
        corner = padded[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        side_by_side = torch.cat(
            [corner[:, :, 0, 0], corner[:, :, 1, 0], corner[:, :, 0, 1], corner[:, :, 1, 1]], dim=-1
        )
        assert torch.allclose(out[:, :, i, j], merge.reduction(merge.norm(side_by_side)), atol=1e-6)


def test_drop_path_keeps_or_drops_whole_samples() -> None:
    drop = DropPath(0.3).train()
    out = drop(torch.ones(20_000, 2, 3))
    assert (out == out[:, :1, :1]).all()
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.7])
    kept = float((out[:, 0, 0] > 0).double().mean())
    assert abs(kept - 0.7) < 4 * (0.3 * 0.7 / 20_000) ** 0.5  # four standard errors
    assert abs(float(out.mean()) - 1) < 0.02  # the expectation stays


@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (0.9, False)])
def test_drop_path_is_the_identity_when_off(rate: float, training: bool) -> None:
    x = torch.randn(4, 3)
    assert DropPath(rate).train(training)(x) is x


def test_drop_path_grows_linearly_over_the_blocks() -> None:
    with torch.device("meta"):
        model = create_model("swin3d_s", drop_path=0.3)
    rates = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx(torch.linspace(0, 0.3, 24).tolist())


def test_a_single_block_is_never_dropped() -> None:
    model = VideoSwin(SwinConfig(embed_dim=8, depths=(1,), num_heads=(1,), window_size=(2, 2, 2), drop_path=0.5))
    assert [module.rate for module in model.modules() if isinstance(module, DropPath)] == [0.0]


def test_odd_blocks_shift_by_half_a_window() -> None:
    stage = Stage(TINY.replace(window_size=(4, 3, 5)), 0, drop_path=[0.0, 0.0], merge=False)
    grid = (8, 9, 15)
    assert stage.boxes(grid, 0, torch.device("cpu")) is boxes(grid, (4, 3, 5), (0, 0, 0))
    assert stage.boxes(grid, 1, torch.device("cpu")) is boxes(grid, (4, 3, 5), (2, 1, 2))


def test_the_block_is_pre_norm_with_two_residuals() -> None:
    """Equation 1 of the paper, without its index."""
    block = SwinBlock(8, 2, (2, 3, 3), mlp_ratio=2.0, drop_path=0.0)
    x, where = torch.randn(2, 4 * 6 * 6, 8), boxes((4, 6, 6), (2, 3, 3), (1, 1, 1))
    middle = x + block.attn(block.norm1(x), where)
    expected = middle + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(middle))))
    assert torch.allclose(block(x, where), expected, atol=1e-6)
    assert block.mlp.fc1.out_features == 16


@pytest.mark.parametrize("window", [(2, 3, 3), (8, 7, 7), (4, 2, 5)])
def test_a_local_start_looks_at_one_neighbour_each(window: tuple[int, int, int]) -> None:
    """The highest bias of a head is at one offset: a step back or ahead in time, at most a token aside."""
    attention = BoxAttention(8, 4, window)
    attention.look_at_neighbours()
    offsets = list(product(*(range(1 - n, n) for n in window)))
    table = attention.relative_position_bias_table.detach()
    peaks = [offsets[row] for row in table.argmax(dim=0)]
    assert [peak[0] for peak in peaks] == [-1, 1, -1, 1]  # the query's time less the key's: ahead, back, ahead, back
    assert all(abs(aside) <= 1 for peak in peaks for aside in peak[1:])
    assert table.amax(dim=0).eq(0).all()
    assert table.min() >= -4  # nothing is out of reach
    assert ((table == 0).sum(dim=0) == 1).all()
