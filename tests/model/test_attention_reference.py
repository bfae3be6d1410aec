"""BoxAttention against the public code's roll and mask, and against a loop over tokens: values and gradients."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.model.helpers import CPU, relative_error, windowings
from tests.reference.slow_swin import Case, Weights, looped_attention, rolled_attention
from videoswin.model.attention import BoxAttention
from videoswin.model.windows import partition

TOLERANCE = 1e-11  # float64


@st.composite
def cases(draw: st.DrawFn, longest: int, widest: int) -> Case:
    grid, window, shift = draw(windowings(longest, widest))
    relative_bias = draw(st.sampled_from(["exact", "official"]))
    return Case(grid, window, shift, relative_bias, draw(st.sampled_from(["attended", "masked"])))


def box_attention(x: Tensor, layer: BoxAttention, case: Case) -> Tensor:
    boxes = partition(*case[:5], CPU, case.causal)  # type: ignore[arg-type]
    return layer(x.flatten(1, 3), boxes).view(x.shape)


def random_layer(case: Case, heads: int, generator: torch.Generator) -> BoxAttention:
    layer = BoxAttention(4 * heads, heads, case.window).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.7)
    return layer


def compare(case: Case, reference, batch: int, heads: int, seed: int) -> None:
    """Output and every gradient of BoxAttention equal the reference's."""
    generator = torch.Generator().manual_seed(seed)
    layer = random_layer(case, heads, generator)
    weights = Weights(
        layer.qkv.weight, layer.qkv.bias, layer.proj.weight, layer.proj.bias, layer.relative_position_bias_table
    )
    x = torch.randn(batch, *case.grid, 4 * heads, generator=generator, dtype=torch.float64, requires_grad=True)
    pull = torch.randn(x.shape, generator=generator, dtype=torch.float64)

    outputs = box_attention(x, layer, case), reference(x, weights, case)
    assert relative_error(*outputs) < TOLERANCE
    gradients = [torch.autograd.grad((out * pull).sum(), [x, *weights]) for out in outputs]
    for name, ours, expected in zip(("input", *Weights._fields), *gradients, strict=True):
        # One-token boxes leave q, k and the table without any gradient: compare absolutely there.
        assert torch.linalg.vector_norm(ours - expected) <= TOLERANCE * (1 + torch.linalg.vector_norm(expected)), name


@given(cases(longest=7, widest=4), st.integers(1, 2), st.integers(1, 2), st.integers(0, 99))
@settings(max_examples=120)
@example(Case((8, 8, 8), (4, 4, 4), (2, 2, 2)), 1, 1, 0)  # Figure 3
@example(Case((3, 5, 7), (2, 3, 3), (1, 1, 1)), 2, 2, 0)  # nothing divides
@example(Case((6, 2, 2), (4, 3, 3), (2, 1, 1), "official"), 1, 2, 0)  # clipped in space, shifted and padded in time
@example(Case((5, 2, 7), (4, 3, 3), (2, 1, 1), "official"), 1, 2, 0)  # clipped on one spatial axis only
@example(Case((5, 2, 7), (4, 3, 3), (2, 1, 1), "official", "masked"), 1, 2, 0)
@example(Case((2, 7, 7), (4, 3, 3), (2, 1, 1), "official"), 1, 2, 0)  # clipped in time: the slice is exact
@example(Case((2, 2, 2), (4, 3, 3), (2, 1, 1), "official"), 1, 2, 0)  # one clipped window is the whole grid
def test_equals_roll_and_mask(case: Case, batch: int, heads: int, seed: int) -> None:
    compare(case, rolled_attention, batch, heads, seed)


@given(cases(longest=5, widest=3), st.integers(0, 99))
@settings(max_examples=25)
@example(Case((3, 5, 4), (2, 3, 3), (1, 1, 1), "exact", "masked"), 0)
@example(Case((4, 2, 4), (3, 3, 3), (1, 1, 1), "official", "masked"), 0)
@example(Case((4, 2, 4), (3, 3, 3), (1, 1, 1), "official", "attended"), 0)
def test_equals_a_loop_over_tokens(case: Case, seed: int) -> None:
    compare(case, looped_attention, 1, 2, seed)


@given(cases(longest=5, widest=3), st.integers(0, 99))
@settings(max_examples=40)
@example(Case((5, 4, 3), (4, 3, 3), (2, 1, 1)), 0)
@example(Case((2, 4, 3), (4, 3, 3), (2, 1, 1), "exact", "masked"), 0)  # shorter than the window: still cut at 2
@example(Case((5, 2, 2), (3, 3, 3), (1, 1, 1), "official"), 0)  # clipped in space: the slice, at its place in time
def test_causal_equals_a_loop_over_tokens(case: Case, seed: int) -> None:
    compare(case._replace(causal=True), looped_attention, 1, 2, seed)


@given(cases(longest=5, widest=3))
@settings(max_examples=10)
def test_the_two_references_agree(case: Case) -> None:
    layer = random_layer(case, 2, torch.Generator().manual_seed(0))
    weights = Weights(
        layer.qkv.weight, layer.qkv.bias, layer.proj.weight, layer.proj.bias, layer.relative_position_bias_table
    )
    x = torch.randn(1, *case.grid, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert relative_error(rolled_attention(x, weights, case), looped_attention(x, weights, case)) < TOLERANCE


def test_masked_padding_ignores_what_attended_padding_looks_at() -> None:
    """The two modes differ on a grid that the window does not divide, and only there."""
    layer = random_layer(Case((4, 4, 4), (2, 3, 3), (0, 0, 0)), 1, torch.Generator().manual_seed(0))
    for grid, equal in [((4, 6, 6), True), ((4, 5, 6), False)]:
        x = torch.randn(1, *grid, 4, dtype=torch.float64)
        attended, masked = (
            box_attention(x, layer, Case(grid, (2, 3, 3), (0, 0, 0), "exact", padding))
            for padding in ("attended", "masked")
        )
        assert torch.allclose(attended, masked, atol=1e-12) == equal


@pytest.mark.parametrize("padding", ["attended", "masked"])
def test_a_token_reaches_its_own_box_only(padding: str) -> None:
    case = Case((4, 5, 7), (2, 3, 3), (1, 1, 1), "exact", padding)
    layer = random_layer(case, 1, torch.Generator().manual_seed(0))
    x = torch.randn(1, *case.grid, 4, dtype=torch.float64)
    moved = x.clone()
    moved[0, 2, 2, 5] += 1  # box: times 1-2, rows 1-3, columns 4-6
    changed = (box_attention(x, layer, case) != box_attention(moved, layer, case)).any(-1)[0]
    expected = torch.zeros(case.grid, dtype=torch.bool)
    expected[1:3, 1:4, 4:7] = True
    assert changed.equal(expected)
