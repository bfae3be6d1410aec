"""A SlidingStream gives what the model gives for the clip of the latest frames, whatever it reuses."""

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.model.helpers import relative_error, tiny_clip, tiny_model
from videoswin.errors import ConfigError
from videoswin.model import VideoSwin
from videoswin.streams.base import VideoStream
from videoswin.streams.causal import Stream
from videoswin.streams.sliding import SlidingStream

TOLERANCE = 1e-6


def features_model(**changes: Any) -> VideoSwin:
    return tiny_model(num_classes=0, **changes)


@torch.no_grad()
def offline(model: VideoSwin, clip: Tensor) -> Tensor:
    return model(clip)


@st.composite
def streams(draw: st.DrawFn) -> dict[str, Any]:
    clip_len = draw(st.integers(2, 20))
    return {"clip_len": clip_len, "hop": draw(st.integers(1, clip_len))}


@given(
    streams(),
    st.sampled_from([(2, 3, 3), (3, 2, 4), (4, 3, 3)]),
    st.sampled_from(["attended", "masked"]),
    st.booleans(),
    st.lists(st.integers(1, 3), min_size=4, max_size=8),
)
@settings(max_examples=60, deadline=None)
@example({"clip_len": 16, "hop": 4}, (2, 3, 3), "attended", False, [1] * 9)
@example({"clip_len": 14, "hop": 8}, (2, 3, 3), "attended", False, [1] * 6)  # the last box is short
@example({"clip_len": 10, "hop": 8}, (4, 3, 3), "attended", False, [1, 1, 2, 1])  # nothing of the old boxes is left
@example({"clip_len": 20, "hop": 8}, (4, 3, 3), "masked", True, [1, 1, 1, 1, 3, 1])
def test_every_answer_is_that_of_the_latest_clip(
    sizes: dict[str, int], window: tuple[int, int, int], padding: str, causal: bool, pushes: list[int]
) -> None:
    torch.manual_seed(0)
    model = features_model(window_size=window, padding=padding, causal=causal)
    stream = SlidingStream(model, **sizes)
    video = tiny_clip(2, sum(pushes) * stream.hop, 16, 20)
    seen = 0
    for steps in pushes:
        new = video[:, :, seen : seen + steps * stream.hop]
        seen += new.shape[2]
        answer = stream.push(new)
        assert (answer is None) == (seen < stream.clip_len)
        if answer is not None:
            assert relative_error(answer, offline(model, video[:, :, seen - stream.clip_len : seen])) < TOLERANCE


@pytest.mark.parametrize(
    ("clip_len", "hop", "reuses"),
    [
        (16, 1, "nothing"),
        (15, 2, "nothing"),
        (16, 16, "nothing"),
        (16, 2, "patches"),
        (16, 4, "first block"),
        (16, 8, "first block"),
        (16, 6, "patches"),
        (18, 4, "first block"),
        (4, 2, "patches"),
    ],
)
def test_what_is_reused(clip_len: int, hop: int, reuses: str) -> None:
    assert SlidingStream(features_model(), clip_len, hop).reuses == reuses  # windows of two steps, four frames


@pytest.mark.parametrize(("clip_len", "hop", "embedded", "in_block"), [(16, 2, 1, 8), (16, 4, 2, 2), (18, 8, 4, 5)])
def test_work_is_done_once(clip_len: int, hop: int, embedded: int, in_block: int) -> None:
    """Time steps that the patch embedding and the first block see in one push of a running stream."""
    model = features_model()
    stream = SlidingStream(model, clip_len, hop)
    for _ in range(12):
        stream.push(tiny_clip(1, hop))
    seen: dict[str, int] = {}
    first = model.backbone.stages[0].blocks[0]
    model.backbone.patch_embed.register_forward_hook(lambda _m, _i, out: seen.update(embedded=out.shape[1]))
    first.register_forward_hook(lambda _m, _i, out: seen.update(in_block=out.shape[1] // 36))
    stream.push(tiny_clip(1, hop))
    assert seen == {"embedded": embedded, "in_block": in_block}


@pytest.mark.parametrize("hop", [1, 2, 4])
def test_rows_start_anew_on_their_own(hop: int) -> None:
    model, video = features_model(), tiny_clip(2, 32)
    stream = SlidingStream(model, clip_len=8, hop=hop)
    for start in range(0, 32, hop):
        if start == 12:
            stream.reset([1])
        answer = stream.push(video[:, :, start : start + hop])
        stop = start + hop
        if stop < 8:
            assert answer is None
            continue
        assert answer is not None
        expected = offline(model, video[:, :, stop - 8 : stop])
        ready = not 12 < stop < 20
        assert stream.ready == (True, ready)
        assert answer[1].isnan().all() if not ready else relative_error(answer[1], expected[1]) < TOLERANCE
        assert relative_error(answer[0], expected[0]) < TOLERANCE


def test_both_streams_are_driven_alike() -> None:
    streams: list[VideoStream] = [Stream(tiny_model(causal=True)), SlidingStream(tiny_model(), clip_len=8, hop=4)]
    for stream in streams:
        for _ in range(3):
            answer = stream.push(tiny_clip(2, 2 * stream.frames_per_step))
        stream.reset([1])
        stream.reset()
        assert answer is not None
        assert answer.shape == (2, 5)


def test_logits_and_reset() -> None:
    model = tiny_model()
    stream = SlidingStream(model, clip_len=8, hop=4)
    assert stream.push(tiny_clip(2, 4)) is None
    stream.reset()
    assert stream.push(tiny_clip(1, 4, 16, 40)) is None
    video = tiny_clip(1, 8, 16, 40)
    answer = stream.push(video)
    assert answer is not None
    assert torch.allclose(answer, offline(model, video), atol=1e-6)
    assert stream.frames_per_step == 4


@pytest.mark.parametrize(("clip_len", "hop"), [(0, 1), (1, 1), (8, 0), (8, 9), (8, True), (8.0, 2)])
def test_bad_sizes_are_refused(clip_len: Any, hop: Any) -> None:
    with pytest.raises(ConfigError, match="must be a whole number of frames"):
        SlidingStream(features_model(), clip_len, hop)


def test_a_model_put_in_training_under_way_is_refused() -> None:
    model, video = features_model(), tiny_clip(1, 8)
    stream = SlidingStream(model, clip_len=8, hop=2)
    expected = stream.push(video)
    model.train()
    with pytest.raises(ConfigError, match="in training mode"):
        stream.push(video)
    model.eval()
    assert stream.push(video).equal(expected)  # type: ignore[union-attr, arg-type]


def test_a_model_in_training_is_refused() -> None:
    with pytest.raises(ConfigError, match="in training mode"):
        SlidingStream(features_model().train(), 8, 2)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 3, 24, 24), "multiple of 2 frames; got 3"),
        ((2, 3, 0, 24, 24), "multiple of 2 frames; got 0"),
        ((2, 3, 24, 24), "got shape"),
        ((0, 3, 2, 24, 24), "one row or more"),
        ((1, 3, 2, 24, 24), "has 2 rows of 24x24 pixels; got 1 of 24x24"),
        ((2, 4, 2, 24, 24), "3 colour channels"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(shape: tuple[int, ...], message: str) -> None:
    model, video = features_model(), tiny_clip(2, 8)
    stream = SlidingStream(model, 8, 2)
    stream.push(video[:, :, :6])
    with pytest.raises(ConfigError, match=message):
        stream.push(torch.zeros(shape))
    answer = stream.push(video[:, :, 6:])
    assert answer is not None
    assert relative_error(answer, offline(model, video)) < TOLERANCE


def test_rows_that_do_not_exist_are_refused() -> None:
    stream = SlidingStream(features_model(), 8, 2)
    with pytest.raises(ConfigError, match="the stream has 0 rows"):
        stream.reset([0])
