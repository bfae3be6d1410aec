"""The compiled engine gives what the plain one gives, forward and backward, numbers and no numbers alike."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.model.helpers import tiny_clip, tiny_model
from videoswin.errors import ConfigError
from videoswin.kernels import attend, engine_in_force, use_engine
from videoswin.model import SwinConfig, VideoSwin
from videoswin.model.attention import BoxAttention
from videoswin.model.windows import partition

CPU = torch.device("cpu")
SMALL = SwinConfig(
    embed_dim=8, depths=(2, 2), num_heads=(1, 2), window_size=(4, 3, 3), num_classes=5, drop_path=0.0, head_dropout=0.0
)


def difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm().clamp(min=1e-12))


def attention_and_gradients(layer: nn.Module, x: Tensor, boxes: object, weights: Tensor) -> list[Tensor]:
    layer.zero_grad()
    leaf = x.clone().requires_grad_()
    out = layer(leaf, boxes)
    (out * weights).sum().backward()
    return [out.detach(), leaf.grad, *(p.grad.clone() for p in layer.parameters())]  # type: ignore[list-item, union-attr]


@torch.no_grad()
def largest_score(layer: BoxAttention, x: Tensor) -> float:
    """Of any two tokens, whether or not they share a box, and with any bias."""
    q, k, _ = layer.qkv(x).unflatten(-1, (3, layer.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    return float(scores.abs().max() + layer.relative_position_bias_table.abs().max())


def test_this_machine_has_the_compiled_engine() -> None:
    """Continuous integration has a compiler: without this, everything below would pass by comparing plain with plain."""
    assert engine_in_force() == ("cpu", "")


@settings(max_examples=60)
@given(
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    window=st.tuples(st.integers(1, 8), st.integers(1, 5), st.integers(1, 5)),
    shifted=st.booleans(),
    heads=st.integers(1, 3),
    head_dim=st.sampled_from([1, 8, 20, 32, 40, 64]),
    batch=st.integers(1, 3),
    official=st.booleans(),
    masked=st.booleans(),
    causal=st.booleans(),
    seed=st.integers(0, 2**31),
)
@example((3, 4, 5), (2, 2, 2), True, 3, 64, 2, False, False, False, 2)
@example((7, 4, 5), (4, 3, 3), True, 2, 32, 2, False, False, True, 0)
@example((7, 2, 5), (4, 3, 3), True, 2, 32, 2, True, False, True, 0)
def test_attention_and_all_its_gradients_equal_the_plain_engine(
    grid, window, shifted, heads, head_dim, batch, official, masked, causal, seed
) -> None:
    """Both are compared with the plain engine in float64. How far float32 may be off depends on the numbers drawn: where
    scores are large, a rounding in one of them moves much of the softmax, in either engine."""
    torch.manual_seed(seed)
    shift = tuple(w // 2 if shifted else 0 for w in window)
    relative_bias, padding = "official" if official else "exact", "masked" if masked else "attended"
    boxes = partition(grid, window, shift, relative_bias, padding, CPU, causal)  # type: ignore[arg-type]
    layer = BoxAttention(heads * head_dim, heads, window)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5)
    x = torch.randn(batch, grid[0] * grid[1] * grid[2], heads * head_dim)
    weights = torch.randn_like(x)
    with use_engine("plain"):
        plain = attention_and_gradients(layer, x, boxes, weights)
        exact = attention_and_gradients(layer.double(), x.double(), boxes, weights.double())
        # A share of the softmax is off by what its score is rounded by, and that grows with the score.
        rounding = 4 * torch.finfo(torch.float32).eps * largest_score(layer, x.double())
    layer = layer.float()
    with use_engine("cpu"):
        found = attention_and_gradients(layer, x, boxes, weights)
        with torch.no_grad():
            assert difference(layer(x, boxes), found[0]) < 1e-6
    scale = max(float(e.norm()) for e in exact[1:])
    for i, (ours, theirs, right) in enumerate(zip(found, plain, exact, strict=True)):
        # A gradient that is 0 in exact numbers is rounding in both.
        size = float(right.norm()) if i == 0 else max(float(right.norm()), 0.05 * scale)
        error, usual = (float((each - right).norm()) / size for each in (ours, theirs))
        assert error < max(5e-6, 4 * usual, rounding), (i, error, usual, rounding)


def test_large_scores_do_not_overflow() -> None:
    boxes = partition((4, 3, 3), (4, 3, 3), (0, 0, 0), "exact", "attended", CPU)
    layer = BoxAttention(8, 1, (4, 3, 3))
    x = 40 * torch.randn(1, 36, 8)
    with torch.no_grad():
        layer.relative_position_bias_table.normal_(std=300)
        with use_engine("plain"):
            expected = layer(x, boxes)
        with use_engine("cpu"):
            assert difference(layer(x, boxes), expected) < 1e-5


def test_a_step_of_training_equals_the_plain_engine() -> None:
    torch.manual_seed(0)
    model, clip = VideoSwin(SMALL), torch.randn(2, 3, 9, 50, 41)
    gradients = {}
    for engine in ("plain", "cpu"):
        model.zero_grad()
        with use_engine(engine):
            nn.functional.cross_entropy(model(clip), torch.tensor([1, 4])).backward()
        gradients[engine] = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert gradients["cpu"].keys() == gradients["plain"].keys()
    for name, expected in gradients["plain"].items():
        assert difference(gradients["cpu"][name], expected) < 1e-4, name


def test_the_same_sums_every_time() -> None:
    torch.manual_seed(0)
    boxes = partition((8, 9, 8), (4, 3, 3), (2, 1, 1), "exact", "attended", CPU)
    layer, x = BoxAttention(16, 2, (4, 3, 3)), torch.randn(2, 576, 16)
    with use_engine("cpu"):
        first, second = (attention_and_gradients(layer, x, boxes, x) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("threads", [1, 3, 7])
def test_any_number_of_threads(threads: int) -> None:
    model, clip = VideoSwin(SMALL), torch.randn(2, 3, 7, 41, 48)
    before = torch.get_num_threads()

    def gradients() -> list[Tensor]:
        model.zero_grad()
        model(clip).square().sum().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    with use_engine("cpu"):
        expected = gradients()
        try:
            torch.set_num_threads(threads)
            found = gradients()
        finally:
            torch.set_num_threads(before)
    assert max(difference(f, e) for f, e in zip(found, expected, strict=True)) < 1e-4


def test_half_precision_takes_the_plain_engine() -> None:
    model, clip = VideoSwin(SMALL).eval(), torch.randn(1, 3, 8, 48, 48)
    assert engine_in_force(dtype=torch.bfloat16).name == "plain"
    with torch.no_grad():
        expected = model(clip)
        with torch.autocast("cpu", torch.bfloat16):
            assert model(clip).dtype == torch.bfloat16
            assert difference(model(clip).float(), expected) < 0.1
        assert model.bfloat16()(clip.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("engine", ["plain", "cpu"])
def test_a_padding_token_of_each_clip(engine: str) -> None:
    """``pad`` is one for all clips, or one for each; boxes that are padded need it."""
    torch.manual_seed(0)
    boxes = partition((3, 4, 4), (2, 3, 3), (1, 1, 1), "exact", "attended", CPU)
    qkv, table = torch.randn(2, 48, 24), torch.randn(3 * 5 * 5, 2)
    pads = torch.randn(2, 24, requires_grad=True)
    with use_engine(engine):
        both = attend(qkv, pads, table, boxes, 2)
        for clip in range(2):
            alone = attend(qkv[clip : clip + 1], pads[clip], table, boxes, 2)
            assert difference(alone[0].detach(), both[clip].detach()) < 1e-6
            (gradient,) = torch.autograd.grad(both[clip].sum(), pads, retain_graph=True)
            (expected,) = torch.autograd.grad(alone.sum(), pads)
            assert difference(gradient, expected) < 1e-5
            assert not gradient[1 - clip].any()
        with pytest.raises(ConfigError, match="hold padding tokens"):
            attend(qkv, None, table, boxes, 2)


# No numbers ---------------------------------------------------------------------------------------------------------------


def nan_in_the_table(qkv: Tensor, table: Tensor) -> None:
    table[7, 0] = float("nan")


def nan_with_payload_in_the_table(qkv: Tensor, table: Tensor) -> None:
    table[7, 0] = torch.tensor(0x7FC12345, dtype=torch.int32).view(torch.float32)


def a_table_of_nan(qkv: Tensor, table: Tensor) -> None:
    table.fill_(float("nan"))


def infinity_in_the_table(qkv: Tensor, table: Tensor) -> None:
    table[30, 1] = float("inf")


def minus_infinity_in_the_table(qkv: Tensor, table: Tensor) -> None:
    table[30, 1] = float("-inf")


def nan_in_a_query(qkv: Tensor, table: Tensor) -> None:
    qkv[0, 11, 5] = float("nan")


def nan_in_a_key(qkv: Tensor, table: Tensor) -> None:
    qkv[0, 11, 16 + 5] = float("nan")


def nan_in_a_value(qkv: Tensor, table: Tensor) -> None:
    qkv[1, 11, 32 + 5] = float("nan")


def infinity_in_a_value(qkv: Tensor, table: Tensor) -> None:
    qkv[1, 11, 32 + 5] = float("inf")


def scores_that_overflow(qkv: Tensor, table: Tensor) -> None:
    """Of one sign: a sum of both is whatever comes first, in any library of products."""
    qkv[0, 3:6, :32] = 1e30 * qkv[0, 3:6, :32].abs()


def scores_that_overflow_downwards(qkv: Tensor, table: Tensor) -> None:
    qkv[0, 3, :16] = 1e30 * qkv[0, 3, :16].abs()
    qkv[0, 4, 16:32] = -1e30 * qkv[0, 4, 16:32].abs()


def keys_and_queries_of_infinity(qkv: Tensor, table: Tensor) -> None:
    qkv[0, 20, :32] = float("inf")


BROKEN = [
    nan_in_the_table,
    nan_with_payload_in_the_table,
    a_table_of_nan,
    infinity_in_the_table,
    minus_infinity_in_the_table,
    nan_in_a_query,
    nan_in_a_key,
    nan_in_a_value,
    infinity_in_a_value,
    scores_that_overflow,
    scores_that_overflow_downwards,
    keys_and_queries_of_infinity,
]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("spoil", BROKEN)
def test_no_numbers_are_where_the_plain_engine_has_them(spoil, causal: bool) -> None:
    """In the output exactly; and a gradient that holds some in the plain engine holds some here."""
    torch.manual_seed(0)
    # Boxes of several shapes: a small one comes after a large one whose memory held no numbers.
    boxes = partition((5, 4, 5), (4, 3, 3), (2, 1, 1), "exact", "attended", CPU, causal)
    qkv, table = torch.randn(2, 100, 48), torch.randn(7 * 5 * 5, 2)
    pad = torch.randn(48)
    spoil(qkv, table)
    found = {}
    for engine in ("plain", "cpu"):
        inputs = [tensor.clone().requires_grad_() for tensor in (qkv, pad, table)]
        with use_engine(engine):
            out = attend(*inputs, boxes, 2)  # type: ignore[arg-type]
            with torch.no_grad():
                unlearning = attend(*inputs, boxes, 2)  # type: ignore[arg-type]
        assert engine == "plain" or torch.equal(unlearning.isnan(), out.isnan())  # PyTorch's own forms differ in this
        out.sum().backward()
        found[engine] = [out.detach(), *(tensor.grad for tensor in inputs)]
    for name, expected, ours in zip(("out", "qkv", "pad", "table"), found["plain"], found["cpu"], strict=True):
        # What a padding query sees goes nowhere. The plain engine computes it, and 0 times NaN is NaN; here it is left out.
        if name != "pad" or expected.isfinite().all():  # type: ignore[union-attr]
            assert bool(ours.isfinite().all()) == bool(expected.isfinite().all()), name  # type: ignore[union-attr]
    expected, ours = found["plain"][0], found["cpu"][0]
    assert torch.equal(ours.isnan(), expected.isnan())  # type: ignore[union-attr, arg-type]
    assert torch.allclose(ours, expected, atol=1e-5, equal_nan=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["plain", "cpu"])
def test_a_training_step_shows_what_diverged(engine: str) -> None:
    model, clip = tiny_model(), tiny_clip(2, 7, 22, 27)
    with torch.no_grad():
        model.backbone.stages[0].blocks[1].attn.relative_position_bias_table.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with use_engine(engine):
        loss = nn.functional.cross_entropy(model(clip), torch.tensor([1, 4]))
        assert loss.isnan()
        loss.backward()
    assert all(p.grad.isnan().any() for p in model.parameters() if p.grad is not None)


# The operator, as PyTorch sees it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("padded", [False, True])
def test_registered_as_pytorch_demands(padded: bool) -> None:
    boxes = partition((4, 6, 5 if padded else 6), (4, 3, 3), (2, 1, 1), "exact", "attended", CPU)
    tokens = len(boxes.inverse)
    qkv, pad, table = (
        torch.randn(2, tokens, 24),
        torch.randn(2, 24) if padded else torch.empty(0),
        torch.randn(7 * 5 * 5, 1),
    )
    inputs = tuple(t.requires_grad_() for t in (qkv, pad, table))
    torch.library.opcheck(
        torch.ops.videoswin.box_attention.default,
        (*inputs, boxes.order, boxes.index, boxes.sizes, 1),
        test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
    )
