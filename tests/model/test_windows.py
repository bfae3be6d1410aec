"""Boxes tile the grid, as Figure 3 of the paper draws them."""

import threading
import time
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.model.helpers import CPU, boxes, windowings
from tests.reference.slow_partition import boxes_one_by_one
from tests.reference.slow_swin import tokens_of
from videoswin.kernels.boxes import Partition
from videoswin.model.backbone import block_partition
from videoswin.model.config import Grid
from videoswin.model.presets import get_config
from videoswin.model.windows import KEPT, bias_index, box_shapes, clip_window, partition
from videoswin.zoo.swin_macs import stage_grids

modes = st.sampled_from(["exact", "official"])
paddings = st.sampled_from(["attended", "masked"])


def volume(grid: Grid) -> int:
    return grid[0] * grid[1] * grid[2]


def cell(place: Grid, shift: Grid, window: Grid) -> Grid:
    """Number of the window that a token falls into, along each axis."""
    t, h, w = ((i - s) // size for i, s, size in zip(place, shift, window, strict=True))
    return t, h, w


def members(made: Partition) -> list[list[int]]:
    """The token indices of every box."""
    result, start = [], 0
    for group in made.groups:
        for _ in range(group.count):
            result.append(made.order[start : start + group.tokens_per_box].tolist())
            start += group.tokens_per_box
    assert start == len(made.order)
    return result


@given(windowings(), modes, paddings, st.booleans())
@example(((6, 2, 2), (4, 3, 3), (2, 1, 1)), "official", "attended", False)  # clipped in space, shifted in time
@example(((5, 2, 7), (4, 3, 3), (2, 1, 1)), "official", "attended", True)
@example(((3, 5, 7), (2, 3, 3), (1, 1, 1)), "exact", "masked", False)
@settings(max_examples=100)
def test_equals_boxes_cut_one_by_one(
    case: tuple[Grid, Grid, Grid], relative_bias: str, padding: str, causal: bool
) -> None:
    grid, window, shift = case
    made = boxes(grid, window, shift, relative_bias, padding, causal)
    one_by_one = boxes_one_by_one(grid, window, shift, relative_bias, padding, causal)
    found = []
    for group in made.groups:
        tokens = torch.where(group.tokens == volume(grid), -1, group.tokens).view(group.count, -1).tolist()
        rows = tuple(map(tuple, group.bias_index.tolist()))
        found += [(group.shape, tuple(box), rows) for box in tokens]
        assert group.causal or int(group.bias_index.min()) >= 0
    assert sorted(found) == sorted(map(tuple, one_by_one))
    shapes = [(group.count, group.shape) for group in made.groups]
    counted: dict[Grid, int] = {}
    for count, shape in shapes:  # groups of one shape may differ in the rows that they read
        counted[shape] = counted.get(shape, 0) + count
    assert counted == {shape: count for count, shape in box_shapes(grid, window, shift, padding, causal)}  # type: ignore[arg-type]


@given(windowings(), modes, paddings)
def test_boxes_tile_the_grid(case: tuple[Grid, Grid, Grid], relative_bias: str, padding: str) -> None:
    grid, window, shift = case
    made = boxes(grid, window, shift, relative_bias, padding)
    real = [token for box in members(made) for token in box if token != volume(grid)]
    assert sorted(real) == list(range(volume(grid)))


@given(windowings(), modes, paddings)
def test_inverse_undoes_order(case: tuple[Grid, Grid, Grid], relative_bias: str, padding: str) -> None:
    grid, window, shift = case
    made = boxes(grid, window, shift, relative_bias, padding)
    assert made.order[made.inverse].equal(torch.arange(volume(grid)))


@given(windowings(), paddings)
def test_tokens_share_a_box_exactly_when_no_cut_parts_them(case: tuple[Grid, Grid, Grid], padding: str) -> None:
    grid, window, shift = case
    made = boxes(grid, window, shift, padding=padding)
    clipped, shift = clip_window(grid, window, shift)
    at = tokens_of(grid)
    for box in members(made):
        cells = {cell(at[token], shift, clipped) for token in box if token < len(at)}
        assert len(cells) <= 1  # a box of padding alone has none
    busy = sum(any(token < len(at) for token in box) for box in members(made))
    assert busy == len({cell(place, shift, clipped) for place in at})


@given(windowings(), modes, paddings)
def test_padding_appears_only_where_asked_and_needed(
    case: tuple[Grid, Grid, Grid], relative_bias: str, padding: str
) -> None:
    grid, window, shift = case
    made = boxes(grid, window, shift, relative_bias, padding)
    clipped, _ = clip_window(grid, window, shift)
    added = sum(token == volume(grid) for token in made.order.tolist())
    if padding == "masked":
        assert added == 0
    else:
        t, h, w = (-(-n // size) * size for n, size in zip(grid, clipped, strict=True))
        assert added == t * h * w - volume(grid)
    assert made.padded == (added > 0)


@given(windowings(longest=12), paddings)
def test_every_shape_is_listed_once(case: tuple[Grid, Grid, Grid], padding: str) -> None:
    grid, window, shift = case
    shapes = [group.shape for group in boxes(grid, window, shift, padding=padding).groups]
    assert len(shapes) == len(set(shapes))


@given(
    st.tuples(*[st.integers(1, 20)] * 3),
    st.tuples(st.sampled_from([2, 4, 8, 16]), st.integers(1, 7), st.integers(1, 7)),
    modes,
)
def test_half_shifted_windows_come_in_at_most_18_shapes(grid: Grid, window: Grid, relative_bias: str) -> None:
    """Along an even axis (the paper's time) both border segments are half a window: 2 lengths, and 3 x 3 in space."""
    shift = (window[0] // 2, window[1] // 2, window[2] // 2)
    assert len(boxes(grid, window, shift, relative_bias).groups) <= 18


@given(windowings(), modes, paddings)
def test_bias_rows_lie_in_the_table(case: tuple[Grid, Grid, Grid], relative_bias: str, padding: str) -> None:
    grid, window, shift = case
    rows = (2 * window[0] - 1) * (2 * window[1] - 1) * (2 * window[2] - 1)
    for group in boxes(grid, window, shift, relative_bias, padding).groups:
        n = volume(group.shape)
        assert group.tokens_per_box == n
        assert group.bias_index.shape == (n, n)
        assert int(group.bias_index.min()) >= 0
        assert int(group.bias_index.max()) < rows


def test_figure_3_regular() -> None:
    made = boxes((8, 8, 8), (4, 4, 4))
    assert [(group.count, group.shape) for group in made.groups] == [(8, (4, 4, 4))]  # 2 x 2 x 2


def test_figure_3_shifted() -> None:
    made = boxes((8, 8, 8), (4, 4, 4), (2, 2, 2))
    assert sum(group.count for group in made.groups) == 27  # 3 x 3 x 3
    assert {group.shape: group.count for group in made.groups} == {
        (t, h, w): (2 if t == 2 else 1) * (2 if h == 2 else 1) * (2 if w == 2 else 1)
        for t, h, w in product((2, 4), repeat=3)
    }
    assert not made.padded


def test_shifted_swin_t_stage_1_has_18_shapes() -> None:
    made = boxes((16, 56, 56), (8, 7, 7), (4, 3, 3))
    assert len(made.groups) == 18  # 2 along time (4, 8) x 3 x 3 in space (3, 7, 4)


@pytest.mark.parametrize(
    ("grid", "window", "shift", "clipped", "kept"),
    [
        ((8, 7, 7), (8, 7, 7), (4, 3, 3), (8, 7, 7), (0, 0, 0)),  # equal sizes count as fitting
        ((9, 7, 8), (8, 7, 7), (4, 3, 3), (8, 7, 7), (4, 0, 3)),
        ((4, 5, 14), (8, 7, 7), (4, 3, 3), (4, 5, 7), (0, 0, 3)),
    ],
)
def test_clip_rule(grid: Grid, window: Grid, shift: Grid, clipped: Grid, kept: Grid) -> None:
    assert clip_window(grid, window, shift) == (clipped, kept)


def test_a_clip_in_time_alone_reads_the_same_bias_in_both_modes() -> None:
    exact, official = (boxes((4, 14, 14), (8, 7, 7), (4, 3, 3), mode) for mode in ("exact", "official"))
    assert exact.order.equal(official.order)
    for ours, theirs in zip(exact.groups, official.groups, strict=True):
        assert ours.bias_index.equal(theirs.bias_index)


@pytest.mark.parametrize("side", [4, 5, 6])
def test_a_clip_in_space_scrambles_the_public_codes_bias(side: int) -> None:
    """Inputs under 224 pixels clip stage 4: nearly all of the slice's rows are of other offsets."""
    exact, official = (boxes((8, side, side), (8, 7, 7), (4, 3, 3), mode).groups[0] for mode in ("exact", "official"))
    wrong = (exact.bias_index != official.bias_index).double().mean()
    assert wrong > 0.97


def test_the_same_grid_is_cut_once() -> None:
    assert boxes((4, 6, 6), (2, 3, 3), (1, 1, 1)) is boxes((4, 6, 6), (2, 3, 3), (1, 1, 1))
    assert boxes((4, 6, 6), (2, 3, 3), (1, 1, 1)) is not boxes((4, 6, 6), (2, 3, 3), (0, 0, 0))


def test_what_is_kept_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    KEPT.clear()
    monkeypatch.setattr(KEPT, "max_bytes", 20_000)
    first = boxes((4, 6, 6), (2, 3, 3))
    for side in range(1, 30):
        boxes((1, 4, side), (1, 2, 2))
        assert KEPT.nbytes <= 20_000
    assert boxes((4, 6, 6), (2, 3, 3)) is not first
    assert boxes((1, 4, 29), (1, 2, 2)) is boxes((1, 4, 29), (1, 2, 2))
    large = boxes((8, 12, 12), (4, 6, 6))
    assert large.nbytes > 20_000  # even one that is too large is cut once for the blocks of a stage
    assert boxes((8, 12, 12), (4, 6, 6)) is large
    KEPT.clear()


def test_index_tensors_are_small() -> None:
    made = boxes((4, 5, 5), (2, 3, 3), (1, 1, 1), causal=True)
    assert {t.dtype for t in (made.order, made.inverse, made.index, made.places)} == {torch.int32}
    group = made.groups[0]
    assert group.tokens.untyped_storage().data_ptr() == made.order.untyped_storage().data_ptr()
    assert group.bias_index.untyped_storage().data_ptr() == made.index.untyped_storage().data_ptr()


@pytest.mark.slow
def test_cutting_takes_no_time() -> None:
    """All partitions of swin3d_t at 32x224x224: 11 ms of a core, where loops over boxes took half a second."""
    config, size = get_config("swin3d_t"), (32, 224, 224)

    def cut() -> float:
        KEPT.clear()
        start = time.process_time()
        for grid in stage_grids(config, *size):
            for block in range(2):
                block_partition(config, grid, block, CPU)
        return time.process_time() - start

    assert min(cut() for _ in range(5)) < 0.1


def test_many_threads_cut_at_once() -> None:
    KEPT.clear()
    found: list[Partition] = []
    threads = [threading.Thread(target=lambda: found.append(boxes((4, 6, 6), (2, 3, 3)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 8
    assert all(made.order.equal(found[0].order) for made in found)


def test_boxes_first_cut_anywhere_serve_training() -> None:
    """Evaluating, or asking inside a transform or a default device, must not leave tensors that autograd refuses."""
    for where in (torch.inference_mode, torch.no_grad, lambda: torch.device("meta")):
        KEPT.clear()
        with where():
            made = boxes((4, 6, 6), (2, 3, 3), (1, 1, 1))
        tensors = [made.order, made.inverse, made.index, made.sizes, made.places]
        tensors += [tensor for group in made.groups for tensor in (group.tokens, group.bias_index)]
        assert not any(tensor.is_inference() for tensor in tensors)
        assert {tensor.device for tensor in tensors} == {CPU}
    KEPT.clear()
    made = torch.vmap(lambda x: x.index_select(0, boxes((4, 6, 6), (2, 3, 3)).order.long()))(torch.zeros(2, 144))
    assert made.shape == (2, 144)
    assert boxes((4, 6, 6), (2, 3, 3)).order.tolist()


def test_bias_index_is_that_of_the_public_code() -> None:
    """relative_position_index of the public code, as a checkpoint holds it."""
    window = (2, 3, 2)
    coords = torch.stack(torch.meshgrid(*(torch.arange(n) for n in window), indexing="ij")).flatten(1)
    offset = (coords[:, :, None] - coords[:, None, :]).permute(1, 2, 0) + torch.tensor([1, 2, 1])
    expected = offset[..., 0] * (5 * 3) + offset[..., 1] * 3 + offset[..., 2]
    assert bias_index(window, window).equal(expected)


def test_boxes_lie_on_the_device_asked_for() -> None:
    assert boxes((4, 6, 6), (2, 3, 3)).order.device == CPU
    elsewhere = partition((4, 6, 6), (2, 3, 3), (0, 0, 0), "exact", "attended", torch.device("meta"))
    assert {elsewhere.order.device.type, elsewhere.groups[0].bias_index.device.type} == {"meta"}


@given(windowings(longest=12), modes, paddings)
def test_causal_cuts_do_not_depend_on_what_follows(
    case: tuple[Grid, Grid, Grid], relative_bias: str, padding: str
) -> None:
    """The boxes of a longer video, cut off at the end of a shorter one, are the boxes of the shorter one."""
    (length, *plane), window, shift = case
    longer, shorter = (
        boxes((n, plane[0], plane[1]), window, shift, relative_bias, padding, causal=True) for n in (length + 3, length)
    )
    area = plane[0] * plane[1]
    real = [
        sorted({tuple(sorted(t for t in box if t < length * area)) for box in members(made)} - {()})
        for made in (_without_padding(longer, (length + 3) * area), _without_padding(shorter, length * area))
    ]
    assert real[0] == real[1]


def _without_padding(made: Partition, pad: int) -> Partition:
    """The same with padding tokens out of the way of any token number."""
    return replace(made, order=torch.where(made.order == pad, 10**9, made.order))


@given(windowings(), modes, paddings)
def test_causal_tokens_look_back_only(case: tuple[Grid, Grid, Grid], relative_bias: str, padding: str) -> None:
    grid, window, shift = case
    for group in boxes(grid, window, shift, relative_bias, padding, causal=True).groups:
        time = torch.tensor([place[0] for place in tokens_of(group.shape)])
        seen = time[None, :] <= time[:, None]
        assert (group.bias_index >= 0).equal(seen)
        assert group.causal == (not bool(seen.all()))


def test_causal_time_is_neither_clipped_nor_padded() -> None:
    made = boxes((3, 6, 6), (8, 3, 3), (4, 0, 0), causal=True)
    assert {group.shape for group in made.groups} == {(3, 3, 3)}
    assert not made.padded
    made = boxes((13, 3, 3), (8, 3, 3), (4, 0, 0), causal=True)
    assert [group.shape[0] for group in made.groups] == [4, 8, 1]
