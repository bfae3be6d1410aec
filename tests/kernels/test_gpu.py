"""The GPU engine gives what the plain one gives, forward and backward, and its absence is told.

No GPU is needed. Triton's interpreter computes with the kernels on the CPU, in a process of its own, since Triton reads its
switch when it is imported. What the interpreter does not see (types of loop variables, registers, shared memory) is left to
compiling the kernels for GPUs that are not there. Triton is a gigabyte and no part of the test extra; ``pip install --no-deps
triton`` brings these tests to life.
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from videoswin.errors import ConfigError
from videoswin.kernels import engine_in_force, gpu, use_engine
from videoswin.model.attention import BoxAttention
from videoswin.model.windows import partition

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton is not installed (a gigabyte): pip install --no-deps triton"
)

CASES = {
    "one window": {"grid": (2, 3, 3), "window": (2, 3, 3)},
    "shifted": {"grid": (4, 3, 5), "window": (2, 3, 3), "shift": (1, 1, 1)},
    "batch and heads": {"grid": (2, 3, 3), "window": (2, 2, 3), "shift": (0, 1, 0), "batch": 2, "heads": 3},
    "several blocks of keys": {"grid": (2, 6, 7), "window": (2, 6, 7), "heads": 2},
    "several blocks, shifted": {"grid": (2, 9, 6), "window": (2, 6, 6), "shift": (0, 3, 0), "padding": "masked"},
    "padded": {"grid": (3, 5, 4), "window": (2, 3, 3), "batch": 2},
    "padded, shifted": {"grid": (2, 4, 4), "window": (2, 3, 3), "shift": (0, 1, 1), "heads": 2},
    "padded, several blocks": {"grid": (2, 7, 5), "window": (2, 6, 7), "heads": 2},
    "masked": {"grid": (3, 4, 4), "window": (2, 3, 3), "shift": (1, 1, 1), "padding": "masked"},
    "clipped, official bias": {"grid": (2, 3, 4), "window": (4, 5, 3), "shift": (0, 0, 1), "bias": "official"},
    "causal": {"grid": (5, 3, 3), "window": (4, 3, 3), "shift": (2, 1, 0), "causal": True, "heads": 2},
    "causal, several blocks": {"grid": (4, 5, 5), "window": (4, 5, 5), "causal": True},
    "head of 16": {"grid": (2, 3, 4), "window": (2, 3, 4), "dim": 16, "heads": 2},
    "head of 64": {"grid": (2, 4, 5), "window": (2, 4, 5), "dim": 64},
    "head of 20": {"grid": (2, 4, 4), "window": (2, 3, 3), "dim": 20, "heads": 2},
    "head of 80": {"grid": (2, 4, 5), "window": (2, 4, 5), "dim": 80},
    "large scores": {"grid": (2, 5, 7), "window": (2, 5, 7), "scale": 30.0},
    "bfloat16": {"grid": (2, 5, 7), "window": (2, 5, 7), "dtype": "bfloat16", "heads": 2},
    "float16": {"grid": (3, 5, 4), "window": (2, 3, 3), "dtype": "float16", "heads": 2},
}
LIMITS = {"float32": 2e-5, "bfloat16": 2e-2, "float16": 3e-3}


def differences(
    grid, window, shift=(0, 0, 0), batch=1, heads=1, dim=32, padding="attended", bias="exact", causal=False,
    dtype="float32", scale=1.0,
) -> dict[str, float]:  # type: ignore[no-untyped-def]  # fmt: skip
    """Of the output and all gradients, from the plain engine's in float32; in parts of the larger of their own norm and a
    twentieth of the largest gradient's, since what is 0 in exact numbers is rounding in both."""
    torch.manual_seed(0)
    boxes = partition(grid, window, shift, bias, padding, torch.device("cpu"), causal)  # type: ignore[arg-type]
    kind = getattr(torch, dtype)
    layer = BoxAttention(heads * dim, heads, window)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(parameter.normal_(std=0.5 if parameter.dim() == 1 else dim**-0.5).to(kind))
        layer.relative_position_bias_table.normal_(std=scale).copy_(layer.relative_position_bias_table.to(kind))
    x = torch.randn(batch, grid[0] * grid[1] * grid[2], heads * dim).to(kind).float()
    weights = torch.randn_like(x)
    found = {}
    for engine in ("plain", "gpu"):
        layer = layer.to(torch.float32 if engine == "plain" else kind)
        layer.zero_grad()
        leaf = x.to(layer.proj.weight.dtype, copy=True).requires_grad_()
        with use_engine(engine):
            out = layer(leaf, boxes)
        (out.float() * weights).sum().backward()
        found[engine] = {"out": out, "x": leaf.grad, **{name: p.grad for name, p in layer.named_parameters()}}
        found[engine] = {name: value.detach().float() for name, value in found[engine].items()}
    floor = 0.05 * max(float(value.norm()) for name, value in found["plain"].items() if name != "out")
    return {
        name: float((found["gpu"][name] - value).norm()) / max(float(value.norm()), floor * (name != "out"))
        for name, value in found["plain"].items()
    }


def in_another_process(code: str, **environment: str) -> str:
    own = {
        **os.environ,
        "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        **environment,
    }
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# Under the interpreter ------------------------------------------------------------------------------------------------

MEND = """
import numpy as np
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

multiply = InterpreterBuilder.create_dot


def numbers(handle):
    if handle.dtype.scalar != tl.bfloat16 or handle.data.dtype != np.uint16:
        return handle
    return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)


InterpreterBuilder.create_dot = lambda self, a, b, *rest: multiply(self, numbers(a), numbers(b), *rest)
"""
"""Triton 3.9's interpreter multiplies bfloat16 as the whole numbers that its bits spell."""

COMPARE = """
import json
from videoswin.kernels import gpu
gpu._PROGRAMS = 8  # so that a program of the bias gradient sums over several of these few boxes
from tests.kernels.test_gpu import CASES, differences
print(json.dumps({name: differences(**case) for name, case in CASES.items()}))
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, float]]:
    return json.loads(in_another_process(MEND + COMPARE))


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_attention_and_all_its_gradients_equal_the_plain_engine(
    name: str, measured: dict[str, dict[str, float]]
) -> None:
    limit = LIMITS[CASES[name].get("dtype", "float32")]
    assert len(measured[name]) == 7
    assert {what: value for what, value in measured[name].items() if not value < limit} == {}


REGISTERED = """
import torch
from videoswin.kernels import attend, engine_in_force, use_engine
from videoswin.model.attention import BoxAttention
from videoswin.model.windows import partition

boxes = partition((2, 3, 3), (2, 2, 3), (0, 0, 0), "exact", "attended", torch.device("cpu"))
groups = [n for group in boxes.groups for n in (group.count, group.tokens_per_box)]
qkv, pad, table = torch.randn(2, 18, 48), torch.randn(2, 48), torch.randn(3 * 3 * 5, 1)
inputs = tuple(t.requires_grad_() for t in (qkv, pad, table))
torch.library.opcheck(
    torch.ops.videoswin.box_attention_triton.default,
    (*inputs, boxes.order, boxes.index, boxes.places, boxes.shapes, groups, 1),
    test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
)

for clip in range(2):  # a padding token of each clip
    with use_engine("gpu"):
        both, alone = attend(qkv, pad, table, boxes, 1), attend(qkv[clip:clip+1], pad[clip], table, boxes, 1)
    assert torch.allclose(both[clip], alone[0], atol=1e-6)
    found, expected = (torch.autograd.grad(out.sum(), pad)[0] for out in (both[clip], alone))
    assert torch.allclose(found, expected, atol=1e-5) and not found[1 - clip].any()

x = torch.randn(1, 18, 16, requires_grad=True)
assert engine_in_force().name != "gpu"  # "auto" does not choose it
with use_engine("gpu"):
    assert engine_in_force().name == engine_in_force(dtype=torch.float16).name == "gpu"
    assert engine_in_force(dtype=torch.float64).name == "plain"

    layer = BoxAttention(16, 1, (2, 2, 3))
    expected = layer(x, boxes)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(x, boxes), expected, atol=1e-6)
    first, second = (torch.autograd.grad(layer(x, boxes).sum(), [x, *layer.parameters()]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert layer(torch.zeros(0, 18, 16), boxes).shape == (0, 18, 16)

    layer.relative_position_bias_table.requires_grad_(False)  # its gradient is not computed, the others stay
    again = torch.autograd.grad(layer(x, boxes).sum(), [x, layer.qkv.weight])
    assert torch.equal(again[0], first[0])

    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x, boxes)
    assert mixed.dtype == torch.bfloat16 and torch.allclose(mixed.float(), expected, atol=0.02)

    layer.relative_position_bias_table.requires_grad_(True)
    second = {}
    for name in ("gpu", "plain"):
        with use_engine(name):
            (gradient,) = torch.autograd.grad(layer(x, boxes).square().sum(), x, create_graph=True)
            second[name] = torch.autograd.grad(gradient.square().sum(), [x, layer.qkv.weight])
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in zip(*second.values()))
    print("second derivatives agree")
"""


@needs_triton
def test_registered_as_pytorch_demands() -> None:
    assert "second derivatives agree" in in_another_process(MEND + REGISTERED)


# Compiled for GPUs that are not there ---------------------------------------------------------------------------------

COMPILE = """
import json
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from videoswin.kernels import gpu_triton

kinds = dict.fromkeys(("table", "lse", "delta", "d_pad", "d_bias"), "*fp32")
kinds |= dict.fromkeys(("order", "index", "boxes", "shapes"), "*i32") | dict.fromkeys(("scale", "natural_scale"), "fp32")
constants = {"d": 32, "D": 32, "STRIDE": 448, "PIECE": 64, "BLOCK": 32, "KEYS": 32, "QUERIES": 32}
constants |= {"PADDED": True, "PRECISION": "ieee"}
kinds |= dict.fromkeys(constants, "constexpr")
for architecture, inputs, names in ((90, "bf16", gpu_triton.__all__), (80, "fp32", ["backward_keys"])):
    kinds |= dict.fromkeys(("qkv", "pad", "bias", "out", "d_out", "d_qkv"), "*" + inputs)
    for name in names:
        kernel = getattr(gpu_triton, name)
        source = ASTSource(
            fn=kernel,
            signature={argument: kinds.get(argument, "i32") for argument in kernel.arg_names},
            constexprs={name: value for name, value in constants.items() if name in kernel.arg_names},
        )
        options = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": True}
        built = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
        print(json.dumps([architecture, name, built.metadata.shared, "mma" in built.asm["ptx"]]))
"""


@needs_triton
def test_the_kernels_compile_for_gpus(tmp_path) -> None:  # type: ignore[no-untyped-def]
    told = in_another_process(COMPILE, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))
    built = [json.loads(line) for line in told.splitlines()]
    assert len(built) == 6
    assert all(shared <= 99 * 1024 for _, _, shared, _ in built)  # what a consumer GPU gives to one program
    products = [row for row in built if row[1] != "spread_bias"]
    assert all(tensor_cores == (architecture == 90) for architecture, _, _, tensor_cores in products)


# Its absence ----------------------------------------------------------------------------------------------------------


def test_where_it_cannot_be_had_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "why_not", lambda: "there is no CUDA device")
    for name in ("gpu", "triton"):
        with (
            pytest.raises(ConfigError, match='engine "gpu" cannot be had here: there is no CUDA device'),
            use_engine(name),
        ):
            pass
    assert engine_in_force().name != "gpu"
    monkeypatch.setenv("VIDEOSWIN_ENGINE", "triton")
    with pytest.raises(ConfigError, match="there is no CUDA device"):
        engine_in_force()


def test_the_two_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = gpu.why_not.__wrapped__
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    assert "Triton is not installed" in reason()
    monkeypatch.setattr(gpu, "find_spec", lambda name: object())
    assert reason() == "there is no CUDA device"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert reason() == ""
