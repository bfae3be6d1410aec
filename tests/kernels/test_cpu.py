"""The compiled engine gives what the plain one gives, forward and backward, and its absence is no silent change."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from videoswin.errors import ConfigError
from videoswin.kernels import cpu as native
from videoswin.kernels.choose import chosen_engine, use_engine
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


def test_this_machine_has_the_compiled_engine() -> None:
    """Continuous integration has a compiler: without this, everything below would pass by comparing plain with plain."""
    assert native.why_not() == ""
    assert native.suits(torch.zeros(1))


@settings(max_examples=60, deadline=None)
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
def test_attention_and_all_its_gradients_equal_the_plain_engine(
    grid, window, shifted, heads, head_dim, batch, official, masked, causal, seed
) -> None:
    torch.manual_seed(seed)
    shift = tuple(w // 2 if shifted else 0 for w in window)
    boxes = partition(grid, window, shift, "official" if official else "exact", "masked" if masked else "attended", CPU)
    layer = BoxAttention(heads * head_dim, heads, window)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=0.5)
    x = torch.randn(batch, grid[0] * grid[1] * grid[2], heads * head_dim)
    weights = torch.randn_like(x)
    with use_engine("plain"):
        expected = attention_and_gradients(layer, x, boxes, weights)
    with use_engine("native"):
        found = attention_and_gradients(layer, x, boxes, weights)
        with torch.no_grad():
            assert difference(layer(x, boxes), expected[0]) < 1e-5
    scale = max(float(e.norm()) for e in expected[1:])
    assert difference(found[0], expected[0]) < 1e-5
    for f, e in zip(found[1:], expected[1:], strict=True):  # a gradient that is 0 in exact numbers is rounding in both
        assert float((f - e).norm()) < 2e-5 * max(float(e.norm()), 0.05 * scale)


def test_large_scores_do_not_overflow() -> None:
    boxes = partition((4, 3, 3), (4, 3, 3), (0, 0, 0), "exact", "attended", CPU)
    layer = BoxAttention(8, 1, (4, 3, 3))
    x = 40 * torch.randn(1, 36, 8)
    with torch.no_grad():
        layer.relative_position_bias_table.normal_(std=300)
        with use_engine("plain"):
            expected = layer(x, boxes)
        with use_engine("native"):
            assert difference(layer(x, boxes), expected) < 1e-5


def test_a_step_of_training_equals_the_plain_engine() -> None:
    torch.manual_seed(0)
    model, clip = VideoSwin(SMALL), torch.randn(2, 3, 9, 50, 41)
    gradients = {}
    for engine in ("plain", "native"):
        model.zero_grad()
        with use_engine(engine):
            nn.functional.cross_entropy(model(clip), torch.tensor([1, 4])).backward()
        gradients[engine] = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert gradients["native"].keys() == gradients["plain"].keys()
    for name, expected in gradients["plain"].items():
        assert difference(gradients["native"][name], expected) < 1e-4, name


def test_the_same_sums_every_time() -> None:
    torch.manual_seed(0)
    boxes = partition((8, 9, 9), (4, 3, 3), (2, 1, 1), "exact", "attended", CPU)
    layer, x = BoxAttention(16, 2, (4, 3, 3)), torch.randn(2, 648, 16)
    with use_engine("native"):
        first, second = (attention_and_gradients(layer, x, boxes, x) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads(threads: int) -> None:
    model, clip = VideoSwin(SMALL).eval(), torch.randn(1, 3, 8, 48, 48)
    before = torch.get_num_threads()
    with torch.inference_mode(), use_engine("native"):
        expected = model(clip)
        try:
            torch.set_num_threads(threads)
            assert difference(model(clip), expected) < 1e-6
        finally:
            torch.set_num_threads(before)


def test_half_precision_takes_the_plain_engine() -> None:
    model, clip = VideoSwin(SMALL).eval(), torch.randn(1, 3, 8, 48, 48)
    with torch.no_grad():
        expected = model(clip)
        with torch.autocast("cpu", torch.bfloat16):
            assert not native.suits(clip)
            assert difference(model(clip).float(), expected) < 0.1
        assert model.bfloat16()(clip.bfloat16()).dtype == torch.bfloat16


def test_second_derivatives_are_refused_not_wrong() -> None:
    model, clip = VideoSwin(SMALL), torch.randn(1, 3, 4, 16, 16, requires_grad=True)
    with use_engine("native"):
        (gradient,) = torch.autograd.grad(model(clip).sum(), clip, create_graph=True)
        with pytest.raises(RuntimeError):
            gradient.sum().backward()


def test_what_is_exported_holds_pytorchs_own_operators_only() -> None:
    model, clip = VideoSwin(SMALL).eval(), torch.randn(1, 3, 8, 48, 48)
    with torch.no_grad():
        expected = model(clip)
        program = torch.export.export(model, (clip,))
        targets = {str(node.target) for node in program.graph.nodes}
        assert not [name for name in targets if "videoswin" in name or "mkldnn" in name]
        assert difference(program.module()(clip), expected) < 1e-5


def test_registered_as_pytorch_demands() -> None:
    boxes = partition((4, 6, 6), (4, 3, 3), (2, 1, 1), "exact", "attended", CPU).packed
    qkv, pad, table = torch.randn(1, 144, 24), torch.randn(24), torch.randn(7 * 5 * 5, 1)
    inputs = tuple(t.requires_grad_() for t in (qkv, pad, table))
    torch.library.opcheck(
        torch.ops.videoswin.box_attention.default,
        (*inputs, boxes.order, boxes.index, boxes.groups, 1),
        test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
    )


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ConfigError, match='no engine "nativ"'), use_engine("nativ"):  # type: ignore[arg-type]
        pass


def test_the_environment_names_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOSWIN_ENGINE", "plain")
    assert chosen_engine() == "plain"
    assert not native.suits(torch.zeros(1))
    monkeypatch.setenv("VIDEOSWIN_ENGINE", "fastest")
    with pytest.raises(ConfigError, match="VIDEOSWIN_ENGINE"):
        chosen_engine()


ASK = """
import torch
from videoswin.model import native
from videoswin.kernels.choose import use_engine
print(native.suits(torch.zeros(1)), native.why_not())
try:
    with use_engine("native"):
        pass
except ValueError as error:
    print(error)
"""


def ask(**environment: str) -> str:
    own = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", ASK], env=own, capture_output=True, text=True, check=True).stdout


def test_without_a_compiler_the_plain_engine_serves(tmp_path: Path) -> None:
    said = ask(PATH=str(tmp_path), VIDEOSWIN_CACHE=str(tmp_path / "cache"))
    assert said.startswith("False no C compiler was found")
    assert 'The engine "native" cannot be had here: no C compiler' in said


def test_a_broken_compiler_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "cc"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho no such flag >&2\nexit 1\n')
    broken.chmod(0o755)
    assert "could not compile it (no such flag)" in ask(CC=str(broken), VIDEOSWIN_CACHE=str(tmp_path / "cache"))


def test_it_is_compiled_once_and_kept(tmp_path: Path) -> None:
    assert ask(VIDEOSWIN_CACHE=str(tmp_path)).startswith("True")
    (built,) = (tmp_path / "engine").iterdir()
    before = built.stat().st_mtime_ns
    assert ask(VIDEOSWIN_CACHE=str(tmp_path)).startswith("True")
    assert [f.stat().st_mtime_ns for f in (tmp_path / "engine").iterdir()] == [before]
