"""A Stream gives, step by step, what the causal model gives for the whole video so far."""

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from tests.model.helpers import relative_error, tiny_clip, tiny_model
from videoswin.errors import ConfigError
from videoswin.model import VideoSwin
from videoswin.streams.causal import Stream

TOLERANCE = 1e-5


@st.composite
def causal_models(draw: st.DrawFn) -> dict[str, Any]:
    """Settings of small models: windows of any size, one to three blocks a stage, clipped and padded in space or not."""
    return {
        "window_size": draw(st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))),
        "patch_size": (draw(st.integers(1, 2)), 4, 4),
        "depths": draw(st.tuples(st.integers(1, 3), st.integers(1, 2))),
        "padding": draw(st.sampled_from(["attended", "masked"])),
        "relative_bias": draw(st.sampled_from(["exact", "official"])),
    }


def causal_model(**changes: Any) -> VideoSwin:
    """A tiny causal model that gives pooled features: logits would hide a difference behind the head's bias."""
    return tiny_model(causal=True, num_classes=0, **changes)


@torch.no_grad()
def offline(model: VideoSwin, video: Tensor, pool: int | str = "all") -> Tensor:
    """The features after the last step of a video, averaged over the latest ``pool`` steps."""
    steps = model.forward_features(video).mean(dim=(3, 4))  # (B, C, T')
    return steps[:, :, 0 if pool == "all" else -int(pool) :].mean(dim=2)


@given(
    causal_models(),
    st.lists(st.integers(1, 4), min_size=1, max_size=7),
    st.tuples(st.integers(4, 31), st.integers(4, 31)),
    st.integers(1, 2),
    st.sampled_from(["all", 1, 2, 5]),
    st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
@example({"window_size": (8, 3, 3)}, [1] * 14, (24, 24), 1, "all", 0)
@example({"window_size": (8, 3, 3), "relative_bias": "official"}, [9, 1, 5], (20, 8), 2, 16, 0)
def test_every_push_equals_the_whole_video_so_far(
    changes: dict[str, Any], pushes: list[int], size: tuple[int, int], batch: int, pool: int | str, seed: int
) -> None:
    torch.manual_seed(seed)
    model = causal_model(**changes)
    stream = Stream(model, pool)
    video = tiny_clip(batch, sum(pushes) * stream.frames_per_step, *size)
    frames = 0
    for steps in pushes:
        new = video[:, :, frames : frames + steps * stream.frames_per_step]
        frames += new.shape[2]
        assert relative_error(stream.push(new), offline(model, video[:, :, :frames], pool)) < TOLERANCE
    assert stream.times == (frames // stream.frames_per_step,) * batch


@given(causal_models(), st.lists(st.sets(st.integers(0, 2)), min_size=3, max_size=12), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_rows_start_anew_on_their_own(changes: dict[str, Any], resets: list[set[int]], steps: int) -> None:
    """Three streams in a batch, of which some start anew before each push: each equals its own video."""
    torch.manual_seed(len(resets))
    model = causal_model(**changes)
    stream = Stream(model, pool=4)
    since = [0, 0, 0]
    video = tiny_clip(3, len(resets) * steps * stream.frames_per_step, 12, 16)
    for i, rows in enumerate(resets):
        if i:
            stream.reset(rows)
            since = [i if row in rows else start for row, start in enumerate(since)]
        each = steps * stream.frames_per_step
        out = stream.push(video[:, :, i * each : (i + 1) * each])
        for row, start in enumerate(since):
            alone = offline(model, video[row : row + 1, :, start * each : (i + 1) * each], 4)
            assert relative_error(out[row : row + 1], alone) < TOLERANCE


@given(causal_models(), st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_frames_to_come_change_nothing(changes: dict[str, Any], seen: int, more: int) -> None:
    model = causal_model(**changes)
    patch = model.config.patch_size[0]
    video = tiny_clip(1, (seen + more) * patch, 16, 20)
    with torch.no_grad():
        whole, start = (model.forward_features(v) for v in (video, video[:, :, : seen * patch]))
    assert relative_error(whole[:, :, :seen], start) < TOLERANCE


def test_logits_are_those_of_the_model() -> None:
    model, video = tiny_model(causal=True), tiny_clip(2, 6)
    with torch.no_grad():
        assert torch.allclose(Stream(model, "all").push(video), model(video), atol=1e-6)


def test_a_model_in_training_streams_as_in_evaluation() -> None:
    model, video = tiny_model(causal=True, drop_path=0.5, head_dropout=0.5), tiny_clip(2, 6)
    expected = Stream(model).push(video)
    assert Stream(model.train()).push(video).equal(expected)
    assert model.training


@pytest.mark.parametrize("pool", [3, "all"])
def test_state_goes_through_safetensors(pool: int | str) -> None:
    model, video = causal_model(), tiny_clip(2, 22)
    stream = Stream(model, pool)
    stream.push(video[:, :, :10])
    saved = save(stream.state_dict())
    expected = stream.push(video[:, :, 10:])
    other = Stream(model, pool)
    other.push(tiny_clip(1, 4, 30, 30))
    other.load_state_dict(load(saved))
    assert other.push(video[:, :, 10:]).equal(expected)


@pytest.mark.parametrize("pool", [3, "all"])
def test_a_fork_goes_its_own_way(pool: int | str) -> None:
    model, video = causal_model(window_size=(4, 3, 3)), tiny_clip(2, 22)
    stream = Stream(model, pool)
    stream.push(video[:, :, :6])
    fork = stream.fork()
    fork.push(tiny_clip(2, 4))
    fork.reset([0])
    assert relative_error(stream.push(video[:, :, 6:]), offline(model, video, pool)) < TOLERANCE
    assert fork.times == (0, 5)
    assert stream.times == (11, 11)


def test_a_fork_of_nothing() -> None:
    fork = Stream(causal_model()).fork()
    assert fork.times == ()
    assert fork.push(tiny_clip(1, 2)).shape == (1, 16)


def test_memory_is_bounded() -> None:
    stream = Stream(causal_model())
    assert stream.state_bytes == 0
    stream.push(tiny_clip(1, 2))
    before = stream.state_bytes
    for _ in range(20):
        stream.push(tiny_clip(1, 4))
    assert stream.state_bytes == before


def test_reset_takes_another_size() -> None:
    model = causal_model()
    stream = Stream(model)
    stream.push(tiny_clip(2, 4))
    stream.reset()
    video = tiny_clip(1, 4, 16, 40)
    assert relative_error(stream.push(video), offline(model, video)) < TOLERANCE


def test_another_device_or_number_type_than_the_model_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"float64 on cpu, the model torch\.float32"):
        Stream(causal_model()).push(tiny_clip(1, 2).double())


def test_weights_that_change_under_way_are_told() -> None:
    """What a stream remembers is of the weights that it began with, and so are the tables that it has read."""
    model, video = causal_model(), tiny_clip(1, 8)
    stream = Stream(model, "all")
    stream.push(video[:, :, :4])
    table = model.backbone.stages[1].blocks[0].attn.relative_position_bias_table  # type: ignore[union-attr]
    table.data.mul_(1.5)  # type: ignore[union-attr, operator]
    with pytest.raises(ConfigError, match=r"weights have changed since this stream began.*Call reset\(\)"):
        stream.push(video[:, :, 4:])
    assert stream.times == (2,)
    stream.reset()
    assert relative_error(stream.push(video), offline(model, video)) < TOLERANCE


def test_bfloat16_streams() -> None:
    model, video = causal_model(), tiny_clip(1, 8)
    exact = offline(model, video)
    out = Stream(model.bfloat16()).push(video.bfloat16())
    assert out.dtype == torch.bfloat16
    assert relative_error(out.float(), exact) < 0.05


def test_as_causal_shares_the_weights() -> None:
    model = tiny_model()
    causal = model.as_causal()
    assert causal.config == model.config.replace(causal=True)
    assert not causal.training
    assert causal.head is not None
    assert model.head is not None
    assert causal.head.fc.weight.data_ptr() == model.head.fc.weight.data_ptr()
    assert all(parameter.requires_grad for parameter in causal.parameters())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 3, 24, 24), "multiple of 2 frames; got 3"),
        ((1, 3, 2, 24, 24), "has 2 rows of 24x24 pixels; got 1 of 24x24"),
        ((2, 3, 2, 24, 20), "got 2 of 24x20"),
        ((2, 4, 2, 24, 24), "3 colour channels"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(shape: tuple[int, ...], message: str) -> None:
    model, video = causal_model(), tiny_clip(2, 4)
    stream = Stream(model)
    stream.push(video[:, :, :2])
    with pytest.raises(ConfigError, match=message):
        stream.push(torch.zeros(shape))
    assert relative_error(stream.push(video[:, :, 2:]), offline(model, video)) < TOLERANCE


def test_a_model_that_looks_ahead_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a causal model"):
        Stream(tiny_model())


@pytest.mark.parametrize("pool", [0, -1, True, 1.5, "some"])
def test_bad_pools_are_refused(pool: Any) -> None:
    with pytest.raises(ConfigError, match="pool="):
        Stream(causal_model(), pool)


def test_bad_rows_are_refused() -> None:
    stream = Stream(causal_model())
    stream.push(tiny_clip(2, 2))
    with pytest.raises(ConfigError, match="Row 2 cannot be reset; the stream has 2 rows"):
        stream.reset([0, 2])
    assert stream.times == (1, 1)


def test_states_that_do_not_fit_are_refused() -> None:
    stream = Stream(causal_model())
    with pytest.raises(ConfigError, match="no state yet"):
        stream.state_dict()
    stream.push(tiny_clip(2, 2))
    state = stream.state_dict()
    for wrong in (
        {},
        {**state, "times": torch.zeros(2)},
        {**state, "times": -state["times"]},
        {"times": torch.tensor(3)},
    ):
        with pytest.raises(ConfigError, match='no state of a stream: "times"'):
            stream.load_state_dict(wrong)
    with pytest.raises(ConfigError, match="Axis H is 0 long"):
        stream.load_state_dict({**state, "pixels": torch.tensor([0, 24])})
    with pytest.raises(ConfigError, match=r'"pool.kept" differs'):
        Stream(causal_model(), pool=3).load_state_dict(state)
    del state["layers.1.blocks.1.keys_values.0"]
    with pytest.raises(ConfigError, match=r'"layers.1.blocks.1.keys_values.0" differs'):
        stream.load_state_dict(state)
    assert stream.times == (1, 1)


def test_answers_step_by_step_are_the_pushes() -> None:
    model, video = tiny_model(causal=True), tiny_clip(2, 22)
    stream = Stream(model, "all")
    pushed = torch.stack([stream.push(pair) for pair in video.split(2, dim=2)], dim=1)
    with torch.no_grad():
        assert torch.allclose(model.forward_steps(video), pushed, atol=1e-6)


def test_a_model_that_looks_ahead_has_no_answers_step_by_step() -> None:
    with pytest.raises(ConfigError, match="need a causal model"):
        tiny_model().forward_steps(tiny_clip())
