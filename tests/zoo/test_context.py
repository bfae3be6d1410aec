"""Non-local, global context and disentangled blocks: the public codes' outputs, and a start that changes nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.zoo.golden import clip, error, golden
from videoswin.errors import ConfigError
from videoswin.zoo import create_model
from videoswin.zoo.context import ContextConfig, context_block

# Names of mmcv, mmsegmentation and the official disentangled block, and ours.
_NAMES = (
    ("channel_add_conv.", "add."),
    ("channel_mul_conv.", "multiply."),
    ("conv_mask.", "mask."),
    ("conv_out.conv.", "out."),
    ("conv_out.bn.", "bn."),
    ("conv_query.", "theta."),
    ("conv_key.", "phi."),
    ("conv_value.", "g."),
    ("g.0.conv.", "g."),
    ("g.conv.", "g."),
    ("phi.0.conv.", "phi."),
    ("phi.conv.", "phi."),
    ("theta.conv.", "theta."),
)
_CASES: dict[str, dict[str, Any]] = {
    "mmcv_nonlocal3d_dot": {"mode": "dot_product", "use_scale": True},
    "mmcv_nonlocal3d_eg_noscale": {"use_scale": False, "subsample": "none"},
    "mmcv_nonlocal3d_eg_sub": {},
    "mmcv_nonlocal3d_gaussian": {"mode": "gaussian"},
    "mmcv_context_add": {"kind": "global_context", "reduction": 4},
    "mmcv_context_avg": {"kind": "global_context", "reduction": 4, "pooling": "mean"},
    "mmcv_context_mul_add": {"kind": "global_context", "reduction": 4, "fusion": "multiply_add"},
    "mmseg_dnl_t005_scale": {"kind": "disentangled", "temperature": 0.05, "subsample": "none"},
    "mmseg_dnl_t1_noscale": {"kind": "disentangled", "use_scale": False, "subsample": "none"},
    "official_dnl_in_nostd": {"kind": "disentangled_official"},
}


@pytest.mark.parametrize("case", _CASES)
def test_blocks_give_the_public_codes_numbers(case: str) -> None:
    weights, expected = golden("blocks/weights.safetensors"), golden("blocks/expected.safetensors")
    block = context_block(16, ContextConfig(**_CASES[case])).eval()
    block.load_state_dict(_renamed(case, weights, block.state_dict()), strict=True)
    output = expected[f"{case}/output"]
    x = clip(output.shape)
    flat = x.ndim == 4
    ours = block(x.unflatten(2, (4, 6)) if flat else x)
    assert error(ours.flatten(2, 3) if flat else ours, output) < 1e-5


def _renamed(case: str, weights: dict[str, Tensor], ours: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in weights.items():
        start, _, inner = name.partition("/")
        if start == case:
            for theirs, own in _NAMES:
                inner = own + inner.removeprefix(theirs) if inner.startswith(theirs) else inner
            renamed[inner] = tensor.reshape(ours[inner].shape)
    return renamed


@pytest.mark.parametrize("kind", ["non_local", "global_context", "simplified", "disentangled"])
@pytest.mark.parametrize("name", ["i3d_r50_micro", "c2d_r50_micro", "slowonly_r50_micro"])
def test_a_cnn_with_a_fresh_block_is_the_cnn(name: str, kind: str) -> None:
    plain = create_model(name, num_classes=3).eval()
    place = "inside" if kind in ("global_context", "simplified") else "after"
    context = ContextConfig(kind=kind)  # type: ignore[arg-type]
    places = ((), (1, 3), (1, 3, 5))
    model = create_model(name, num_classes=3, context=context, context_at=places, context_place=place).eval()
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert missing
    assert not unexpected
    video = torch.randn(1, 3, 8, 32, 32)
    torch.testing.assert_close(model(video), plain(video), rtol=0, atol=0)


def test_the_official_disentangled_block_speaks_from_the_start() -> None:
    block = context_block(8, ContextConfig(kind="disentangled_official"))
    x = torch.randn(1, 8, 2, 4, 4)
    assert (block(x) - x).abs().max() > 1e-3


def test_pooling_before_a_map_is_not_pooling_after_it() -> None:
    before = context_block(8, ContextConfig(subsample="before"))
    after = context_block(8, ContextConfig(subsample="after"))
    after.load_state_dict(before.state_dict())
    for block in (before, after):
        torch.nn.init.ones_(block.get_submodule("bn").weight)  # type: ignore[arg-type]
    x = torch.randn(1, 8, 2, 4, 4)
    assert (before(x) - after(x)).abs().max() > 1e-6


def test_concatenation_is_relu_of_a_weighted_pair() -> None:
    block: Any = context_block(4, ContextConfig(mode="concatenation", subsample="none"))
    query, key, value = torch.randn(1, 3, 2), torch.randn(1, 5, 2), torch.randn(1, 5, 2)
    pairs = torch.cat([query[:, :, None].expand(-1, -1, 5, -1), key[:, None].expand(-1, 3, -1, -1)], dim=-1)
    expected = torch.relu(pairs @ block.pair.weight[0]) / 5 @ value
    torch.testing.assert_close(block.attended(query, key, value), expected)


@pytest.mark.parametrize(
    ("config", "text"),
    [({"kind": "disentangled", "mode": "gaussian"}, "mode"), ({"reduction": 99}, "reduction=99")],
)
def test_a_block_that_cannot_be_is_named(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        context_block(8, ContextConfig(**config))
