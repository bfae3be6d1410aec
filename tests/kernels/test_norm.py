"""LayerNorm by Triton gives what PyTorch's gives, and stands aside wherever somebody could tell the difference; padding by
nothing copies nothing."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.kernels.test_gpu import in_another_process, needs_triton
from videoswin.kernels import gpu, norm, use_engine
from videoswin.kernels.padding import padded

WIDTHS = (20, 96, 128, 192, 300)

COMPARE = """
import json
import torch
from torch import nn
from videoswin.kernels import norm, use_engine

norm._LEAST, norm._PROGRAMS = 1, 3  # so that few rows are served, and a program of backward takes several pieces
torch.manual_seed(0)


def differences(width, dtype, autocast):
    layer = nn.LayerNorm(width, eps=1e-3).to(dtype)
    with torch.no_grad():
        layer.weight.normal_()
        layer.bias.normal_()
    x, weights = torch.randn(3, 67, width).add(2).to(dtype).requires_grad_(), torch.randn(3, 67, width)
    found = []
    for engine in ("plain", "gpu"):
        x.grad, _ = None, layer.zero_grad()
        with use_engine(engine), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = norm.layer_norm(x, layer)
            (out.float() * weights).sum().backward()
        found.append([out, x.grad, layer.weight.grad, layer.bias.grad])
    kinds = [out.dtype for out, *_ in found]
    assert kinds[0] == kinds[1], kinds
    assert "layer_norm_triton" in found[1][0].grad_fn.name()
    return max(float((a.detach().float() - b.detach().float()).norm() / a.detach().float().norm()) for a, b in zip(*found))


print(json.dumps({
    "float32": max(differences(width, torch.float32, False) for width in WIDTHS),
    "float16": max(differences(width, torch.float16, False) for width in WIDTHS),
    "autocast": differences(96, torch.float32, True),
}))

layer, x = nn.LayerNorm(96), torch.randn(2, 5, 96, dtype=torch.float32, requires_grad=True)
second = []
for engine in ("plain", "gpu"):
    with use_engine(engine):
        (gradient,) = torch.autograd.grad(norm.layer_norm(x, layer).pow(3).sum(), x, create_graph=True)
        second.append(torch.autograd.grad(gradient.square().sum(), x)[0])
assert torch.allclose(*second, rtol=1e-3, atol=1e-4)
torch.library.opcheck(
    torch.ops.videoswin.layer_norm_triton.default,
    (x, layer.weight, layer.bias, 1e-5, torch.float32, True),
    test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
)

seen = []
with use_engine("gpu"):
    assert "triton" in norm.layer_norm(x, layer).grad_fn.name()
    handle = layer.register_forward_hook(lambda *_: seen.append("hook"))
    norm.layer_norm(x, layer)
    handle.remove()
    assert seen == ["hook"]
    half = nn.LayerNorm(96).half()
    for other in (nn.LayerNorm(96, elementwise_affine=False), nn.LayerNorm(96, bias=False), nn.LayerNorm((5, 96)), nn.Identity()):
        assert torch.equal(norm.layer_norm(x, other), other(x))
    assert torch.equal(torch.func.vmap(lambda one: norm.layer_norm(one, layer))(x), layer(x))
""".replace("WIDTHS", str(WIDTHS))


@needs_triton
def test_as_pytorchs_own_forward_backward_and_where_it_is_not_asked() -> None:
    worst = json.loads(in_another_process(COMPARE).splitlines()[0])
    assert worst["float32"] < 1e-6
    assert worst["float16"] < 3e-3
    assert worst["autocast"] < 1e-6


class Listed(nn.LayerNorm):
    """Somebody's own."""


@pytest.mark.parametrize("kind", [nn.LayerNorm, Listed])
def test_without_a_gpu_the_module_is_called(kind: type[nn.LayerNorm], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm, "_LEAST", 1)
    layer, x = kind(12), torch.randn(2, 3, 12)
    seen: list[str] = []
    layer.register_forward_hook(lambda *_: seen.append("hook"))
    with use_engine("auto"):
        assert torch.equal(norm.layer_norm(x, layer), F.layer_norm(x, (12,)))
    assert seen == ["hook"]


def test_which_cards_are_taken_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    serves_best = gpu.serves_best.__wrapped__
    monkeypatch.setattr(gpu, "why_not", lambda: "")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: (9, 0))
    assert serves_best("cuda", torch.bfloat16)
    assert serves_best("cuda", torch.float16)
    assert not serves_best("cuda", torch.float32)  # as quick as the plain one
    assert not serves_best("cpu", torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: ((9, 0), (7, 5))[number])
    assert not serves_best("cuda", torch.bfloat16)  # one of them has no matrix units for it
    monkeypatch.setattr(gpu, "why_not", lambda: "Triton is not installed")
    assert not serves_best("cuda", torch.bfloat16)


def test_auto_takes_it_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from videoswin.kernels import engine_in_force

    monkeypatch.setattr(gpu, "serves_best", lambda device, dtype: device == "cuda" and dtype == torch.bfloat16)
    assert engine_in_force("cuda", torch.bfloat16) == ("gpu", "")
    assert engine_in_force("cuda", torch.float32).name == "plain"
    with use_engine("plain"):
        assert engine_in_force("cuda", torch.bfloat16).name == "plain"


def test_padding_by_nothing_copies_nothing() -> None:
    x = torch.randn(1, 2, 3, 4)
    assert padded(x, [0, 0, 0, 0]) is x
    assert torch.equal(padded(x, [0, 0, 0, 1]), F.pad(x, [0, 0, 0, 1]))
