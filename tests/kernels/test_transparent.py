"""What users attach to a model works with every engine and in a stream as it does in plain PyTorch, or it raises.

Each case changes a model in some way that PyTorch users know. Its answers (and gradients) with the compiled engine, and in a
stream, must be those of the plain engine, and they must differ from those of the unchanged model: a change that nobody
notices is the fault that this file is about.
"""

import copy
import pickle
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.autograd import forward_ad
from torch.fx.proxy import TraceError
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.flop_counter import FlopCounterMode

from tests.model.helpers import relative_error, tiny_clip, tiny_model
from videoswin.errors import ConfigError
from videoswin.kernels import engine_in_force, use_engine
from videoswin.model import SwinConfig, VideoSwin, create_model
from videoswin.model.attention import BoxAttention
from videoswin.model.backbone import Stage
from videoswin.model.blocks import PatchEmbed, SwinBlock
from videoswin.model.windows import KEPT
from videoswin.streams.causal import Stream
from videoswin.streams.sliding import SlidingStream
from videoswin.zoo.swin_macs import count_macs

ENGINES = ("plain", "cpu")
LAYERS = (
    "backbone.patch_embed.proj",
    "backbone.patch_embed.norm",
    "backbone.layers.0.blocks.0.norm1",
    "backbone.layers.0.blocks.0.attn.qkv",
    "backbone.layers.0.blocks.1.attn.proj",
    "backbone.layers.0.blocks.1.norm2",
    "backbone.layers.0.blocks.1.mlp.fc1",
    "backbone.layers.1.blocks.0.mlp.fc2",
    "backbone.layers.0.downsample.norm",
    "backbone.layers.0.downsample.reduction",
    "backbone.norm",
    "head.fc",
)
LINEAR = tuple(name for name in LAYERS if "norm" not in name and "patch" not in name)
LIMIT = 1e-5


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with use_engine(request.param):
        assert engine_in_force().name == request.param
        yield request.param


def model_of(**changes: Any) -> VideoSwin:
    torch.manual_seed(0)
    return tiny_model(**changes)


def clip_of(batch: int = 2) -> Tensor:
    torch.manual_seed(1)
    return tiny_clip(batch, 7, 22, 27)  # padded grids, clipped and shifted windows


def small_model() -> VideoSwin:
    """For compilers, which take long: one stage of a regular and a shifted block."""
    return model_of(depths=(2,), num_heads=(1,))


def small_clip(batch: int = 2) -> Tensor:
    """A grid of 4x4x3 tokens: padded in one axis, clipped in another."""
    torch.manual_seed(1)
    return tiny_clip(batch, 8, 16, 12)


def leaves(model: nn.Module) -> dict[str, nn.Module]:
    """All layers with weights."""
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv3d | nn.LayerNorm)}


def answers(model: nn.Module, clip: Tensor) -> dict[str, Tensor]:
    """Logits, and the gradients of clip and parameters."""
    model.zero_grad()
    clip = clip.clone().requires_grad_()
    logits = model(clip)
    logits.square().sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"logits": logits.detach(), "clip": clip.grad, **found}  # type: ignore[dict-item]


def differences(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    assert found.keys() == expected.keys()
    scale = max(float(value.norm()) for value in expected.values())
    return {
        name: float((found[name] - value).norm()) / max(float(value.norm()), 0.01 * scale)
        for name, value in expected.items()
    }


# Changes of a model -------------------------------------------------------------------------------------------------------


class Lora(nn.Linear):
    """An adapter put in place of a layer, as a subclass."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features, base.bias is not None)
        self.load_state_dict(base.state_dict())
        self.a = nn.Parameter(torch.randn(4, base.in_features) * 0.5)
        self.b = nn.Parameter(torch.randn(base.out_features, 4) * 0.5)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + input @ self.a.T @ self.b.T


def bent(x: Any) -> Tensor:
    """A change that no norm undoes."""
    return x + 0.7 * x.roll(1, dims=-1)


class Half(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 0.5 * weight


class Wrapper(nn.Module):
    """Round any layer or stage; passes on its attributes."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any) -> Any:
        return bent(self.inner(*args))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


def replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def forward_hook(model: nn.Module, name: str) -> None:
    model.get_submodule(name).register_forward_hook(lambda module, args, out: bent(out))  # type: ignore[arg-type]


def forward_pre_hook(model: nn.Module, name: str) -> None:
    model.get_submodule(name).register_forward_pre_hook(lambda module, args: (bent(args[0]), *args[1:]))


def parametrization(model: nn.Module, name: str) -> None:
    parametrize.register_parametrization(model.get_submodule(name), "weight", Half())


def weight_norm(model: nn.Module, name: str) -> None:
    layer = parametrizations.weight_norm(model.get_submodule(name))
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(1.5)  # type: ignore[union-attr, operator]


def old_weight_norm(model: nn.Module, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = nn.utils.weight_norm(model.get_submodule(name))
    with torch.no_grad():
        layer.weight_g.mul_(1.5)  # type: ignore[operator]


def pruned(model: nn.Module, name: str) -> None:
    prune.random_unstructured(model.get_submodule(name), "weight", 0.5)


def own_forward(model: nn.Module, name: str) -> None:
    """As accelerate does it."""
    layer = model.get_submodule(name)
    before = layer.forward
    layer.forward = lambda x: bent(before(x))  # type: ignore[method-assign]


def wrapped(model: nn.Module, name: str) -> None:
    replace(model, name, Wrapper(model.get_submodule(name)))


def lora(model: nn.Module, name: str) -> None:
    replace(model, name, Lora(model.get_submodule(name)))  # type: ignore[arg-type]


ANY = (forward_hook, forward_pre_hook, parametrization, pruned, own_forward, wrapped)
CHANGES = [(change, name) for name in LAYERS for change in ANY]
CHANGES += [(change, name) for name in LINEAR for change in (weight_norm, old_weight_norm, lora)]
CHANGES += [(change, "backbone.patch_embed.proj") for change in (weight_norm, old_weight_norm)]
each_change = pytest.mark.parametrize(
    ("change", "name"), CHANGES, ids=[f"{change.__name__}-{name}" for change, name in CHANGES]
)


@each_change
def test_a_changed_layer_counts(change: Callable[[nn.Module, str], None], name: str) -> None:
    model, clip = model_of(), clip_of()
    with use_engine("plain"):
        before = model(clip).detach()
        change(model, name)
        expected = answers(model, clip)
    assert relative_error(expected["logits"], before) > 1e-3
    with use_engine("cpu"):
        assert max(differences(answers(model, clip), expected).values()) < 2e-5
        with torch.inference_mode():  # takes other ways than training
            assert relative_error(model(clip), expected["logits"]) < LIMIT


@each_change
def test_a_changed_layer_counts_in_a_stream(change: Callable[[nn.Module, str], None], name: str) -> None:
    model, clip = model_of(causal=True), clip_of()[:, :, :6]
    with torch.no_grad(), use_engine("plain"):
        before = model(clip)
        change(model, name)
        expected = model(clip)
    assert relative_error(expected, before) > 1e-3
    stream = Stream(model, "all")
    stream.push(clip[:, :, :2])
    assert relative_error(stream.push(clip[:, :, 2:]), expected) < LIMIT


def test_a_bias_table_can_be_parametrized(engine: str) -> None:
    model, clip = model_of(causal=True), clip_of()[:, :, :6]
    before = model(clip).detach()
    for module in list(model.modules()):
        if isinstance(module, BoxAttention):
            parametrize.register_parametrization(module, "relative_position_bias_table", Half())
    with torch.no_grad():
        expected = model(clip)
        assert relative_error(expected, before) > 1e-3
        with use_engine("plain"):
            assert relative_error(expected, model(clip)) < LIMIT
    assert relative_error(Stream(model, "all").push(clip), expected) < LIMIT


# Hooks that watch ---------------------------------------------------------------------------------------------------------


def test_every_layer_calls_its_hooks_once(engine: str) -> None:
    model, clip = model_of(), clip_of()
    seen: Counter[str] = Counter()
    layers = leaves(model)
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda *_, name=name: seen.update([f"pre {name}"]))
        layer.register_forward_hook(lambda *_, name=name: seen.update([f"forward {name}"]))
        layer.register_full_backward_pre_hook(lambda *_, name=name: seen.update([f"pre backward {name}"]))
        layer.register_full_backward_hook(lambda *_, name=name: seen.update([f"backward {name}"]))
    model(clip.requires_grad_()).sum().backward()
    kinds = ("pre", "forward", "pre backward", "backward")
    assert seen == {f"{kind} {name}": 1 for kind in kinds for name in layers}


def test_global_hooks_see_every_layer(engine: str) -> None:
    model, clip = model_of(), clip_of()
    seen: Counter[nn.Module] = Counter()
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.update([module]))
    try:
        with torch.inference_mode():
            model(clip)
    finally:
        handle.remove()
    assert all(seen[layer] == 1 for layer in leaves(model).values())


@pytest.mark.parametrize("name", LAYERS)
def test_a_backward_hook_changes_gradients(name: str) -> None:
    model, clip = model_of(), clip_of()
    with use_engine("plain"):
        before = answers(model, clip)
        model.get_submodule(name).register_full_backward_hook(lambda module, inner, outer: (2 * inner[0],))
        expected = answers(model, clip)
    assert relative_error(expected["clip"], before["clip"]) > 0.1 or name == "backbone.patch_embed.proj"
    with use_engine("cpu"):
        assert max(differences(answers(model, clip), expected).values()) < 2e-5


def test_every_layer_calls_its_hooks_in_a_stream() -> None:
    model = model_of(causal=True)
    seen: Counter[str] = Counter()
    layers = leaves(model)
    for name, layer in layers.items():
        layer.register_forward_hook(lambda *_, name=name: seen.update([name]))
    Stream(model).push(clip_of()[:, :, :2])
    assert seen == dict.fromkeys(layers, 1)


HELD = ("", "backbone", "backbone.layers.0", "backbone.layers.1.blocks.0", "backbone.layers.0.blocks.1.attn")


@pytest.mark.parametrize("name", HELD)
def test_a_stream_refuses_what_it_would_pass_over(name: str) -> None:
    model, clip = model_of(causal=True), clip_of()[:, :, :2]
    stream = Stream(model)
    stream.push(clip)
    handle = model.get_submodule(name).register_forward_hook(lambda *_: None)
    for act in (lambda: stream.push(clip), lambda: Stream(model)):
        with pytest.raises(ConfigError, match=f'"{name or "model"}", which carries hooks'):
            act()
    handle.remove()
    stream.push(clip)


@pytest.mark.parametrize("name", HELD[:3])
@pytest.mark.parametrize(("clip_len", "hop"), [(8, 2), (8, 4)])
def test_a_sliding_stream_reuses_nothing_under_hooks(name: str, clip_len: int, hop: int) -> None:
    model, video = model_of(), clip_of().repeat(1, 1, 2, 1, 1)
    before = SlidingStream(model, clip_len, hop)
    assert before.reuses == ("first block" if hop == 4 else "patches")
    scaled = model.get_submodule(name).register_forward_hook(lambda module, args, out: bent(out))
    after = SlidingStream(model, clip_len, hop)
    assert after.reuses == "nothing"
    with torch.no_grad():
        assert relative_error(after.push(video[:, :, :8]), model(video[:, :, :8])) < LIMIT  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Make a new SlidingStream"):
        before.push(video[:, :, :8])
    scaled.remove()
    assert before.push(video[:, :, :8]) is not None


# Adapters of the peft library ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dora", [False, True], ids=["LoRA", "DoRA"])
def test_peft(dora: bool, engine: str) -> None:
    peft = pytest.importorskip("peft")
    model, clip = model_of(causal=True), clip_of()[:, :, :6]
    with torch.no_grad():
        before = model(clip)
    config = peft.LoraConfig(
        r=2,
        target_modules=["qkv", "proj", "fc1", "fc2", "reduction", "fc"],
        modules_to_save=["norm"],
        use_dora=dora,
        init_lora_weights=False,
    )
    adapted = peft.get_peft_model(model, config)
    found = answers(adapted, clip)
    assert relative_error(found["logits"], before) > 1e-2
    missing = [name for name, p in adapted.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    kinds = {name.rpartition(".lora_A")[0].rpartition(".")[2] for name in found if ".lora_A" in name}
    assert kinds == {"qkv", "proj", "fc1", "fc2", "reduction", "fc"}
    with use_engine("plain"):
        assert max(differences(found, answers(adapted, clip)).values()) < 2e-5
    with torch.inference_mode():
        assert relative_error(Stream(model, "all").push(clip), found["logits"]) < LIMIT
        with adapted.disable_adapter():
            assert relative_error(adapted(clip), before) < LIMIT
        merged = adapted.merge_and_unload()
        assert relative_error(merged(clip), found["logits"]) < LIMIT


# Quantisation -------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of torch.ao itself
def test_dynamic_int8(engine: str) -> None:
    model, clip = model_of(causal=True, embed_dim=32), clip_of()[:, :, :6]
    exact = model(clip).detach()
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    left = [name for name, module in quantised.named_modules() if type(module) is nn.Linear]
    assert left == []
    with torch.no_grad():
        found = quantised(clip)
        assert 1e-4 < relative_error(found, exact) < 0.1
        with use_engine("plain"):
            assert relative_error(found, quantised(clip)) < 1e-2  # a rounding that differs moves a whole step of int8
    assert relative_error(Stream(quantised, "all").push(clip), found) < 1e-2


# torch.func and derivatives of other kinds --------------------------------------------------------------------------------


def test_func_grad_and_functional_call(engine: str) -> None:
    model, clip = model_of(), clip_of()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: dict[str, Tensor], clip: Tensor) -> Tensor:
        return torch.func.functional_call(model, parameters, (clip,)).square().sum()

    found = torch.func.grad(loss)(parameters, clip)
    expected = answers(model, clip)
    del expected["logits"], expected["clip"]
    assert max(differences(found, expected).values()) < 2e-5


def test_vmap(engine: str) -> None:
    model, clip = model_of(), clip_of(3)
    with torch.no_grad():
        found = torch.vmap(lambda one: model(one[None])[0])(clip)
        assert relative_error(found, model(clip)) < LIMIT


def test_gradients_of_each_clip(engine: str) -> None:
    """vmap over grad, as in differential privacy."""
    model, clip = model_of(), clip_of(2)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters: dict[str, Tensor], one: Tensor) -> Tensor:
        return torch.func.functional_call(model, parameters, (one[None],)).square().sum()

    each = torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, clip)
    expected = answers(model, clip)
    for name, gradient in each.items():
        assert torch.allclose(gradient.sum(0), expected[name], rtol=1e-3, atol=1e-3), name


def direction_of(clip: Tensor) -> Tensor:
    return torch.randn(clip.shape, generator=torch.Generator().manual_seed(3), dtype=clip.dtype)


forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # PyTorch's own, on first use


@forward_mode
def test_forward_mode(engine: str) -> None:
    model, clip = model_of(), clip_of()
    step = direction_of(clip)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()
        expected = (exact(clip.double() + 1e-6 * step) - exact(clip.double() - 1e-6 * step)).float() / 2e-6
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(model(forward_ad.make_dual(clip, step))).tangent
        assert tangent is not None
        assert relative_error(tangent, expected) < 1e-4
        assert relative_error(torch.func.jvp(model, (clip,), (step,))[1], expected) < 1e-4


@forward_mode
def test_forward_mode_by_a_weight_alone(engine: str) -> None:
    model, clip = model_of(), clip_of()
    name = "backbone.layers.0.blocks.0.mlp.fc1.weight"
    weights = {n: p.detach() for n, p in model.named_parameters()}
    step = direction_of(weights[name])
    with forward_ad.dual_level():
        dual = {**weights, name: forward_ad.make_dual(weights[name], step)}
        tangent = forward_ad.unpack_dual(torch.func.functional_call(model, dual, (clip,))).tangent
    with torch.no_grad():
        moved = [
            torch.func.functional_call(model, {**weights, name: weights[name] + e * step}, (clip,))
            for e in (1e-3, -1e-3)
        ]
    assert tangent is not None
    assert relative_error(tangent, (moved[0] - moved[1]) / 2e-3) < 1e-2


@pytest.mark.parametrize("frozen", [False, True])
def test_second_derivatives(engine: str, frozen: bool) -> None:
    """By clip and parameters, against the first derivatives of float64 models a small step apart."""
    model, clip = model_of().requires_grad_(not frozen), clip_of()
    if engine == "plain" and frozen:
        pytest.skip("PyTorch's fused attention has no second derivative, and says so")
    step = direction_of(clip)
    clip.requires_grad_()
    (gradient,) = torch.autograd.grad(model(clip).square().sum(), clip, create_graph=True)
    (gradient * step).sum().backward()

    exact = copy.deepcopy(model).double()

    def slope(clip: Tensor) -> Tensor:
        clip = clip.detach().double().requires_grad_()
        exact.zero_grad()
        exact(clip).square().sum().backward()
        return clip.grad  # type: ignore[return-value]

    expected = (slope(clip + 1e-6 * step.double()) - slope(clip - 1e-6 * step.double())) / 2e-6
    assert relative_error(clip.grad.double(), expected) < 1e-4  # type: ignore[union-attr]
    if not frozen:
        assert all(p.grad is not None for p in model.parameters())


def test_second_derivatives_by_parameters(engine: str) -> None:
    """A gradient penalty trains every weight as with the plain engine."""
    model, clip = model_of(), clip_of().requires_grad_()

    def penalty() -> dict[str, Tensor]:
        model.zero_grad()
        (gradient,) = torch.autograd.grad(model(clip).square().sum(), clip, create_graph=True)
        gradient.square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    found = penalty()
    with use_engine("plain"):
        assert max(differences(found, penalty()).values()) < 1e-4


def test_a_jacobian_in_one_batch(engine: str) -> None:
    """``is_grads_batched`` maps the backward pass over several output gradients."""
    model, clip = model_of(), clip_of(1).requires_grad_()
    logits = model(clip)
    rows = torch.eye(5)[:, None]
    (batched,) = torch.autograd.grad(logits, clip, rows, is_grads_batched=True, retain_graph=True)
    for row, found in zip(rows, batched, strict=True):
        (alone,) = torch.autograd.grad(logits, clip, row, retain_graph=True)
        assert relative_error(found, alone) < LIMIT


# Copies -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_answer_the_same(way: Callable[[nn.Module], nn.Module], engine: str) -> None:
    model, clip = model_of(causal=True), clip_of()[:, :, :6]
    with torch.no_grad():
        expected = model(clip)
        twin = way(model)
        assert twin(clip).equal(expected)
        for parameter in twin.parameters():
            parameter.mul_(1.1)
        assert not twin(clip).equal(expected)
        assert model(clip).equal(expected)
    assert relative_error(Stream(way(model), "all").push(clip), expected) < LIMIT  # type: ignore[arg-type]


def test_a_copy_keeps_what_was_attached(engine: str) -> None:
    model, clip = model_of(), clip_of()
    lora(model, "backbone.layers.0.blocks.0.attn.qkv")
    with torch.no_grad():
        assert copy.deepcopy(model)(clip).equal(model(clip))


# Compilers, tracers and counters ------------------------------------------------------------------------------------------

quiet_compiler = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@quiet_compiler
def test_compiled_as_one_graph(engine: str) -> None:
    torch.compiler.reset()
    KEPT.clear()  # cold: nothing has run before the compiler traces
    model, clip = small_model(), small_clip()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    found = answers(compiled, clip)  # type: ignore[arg-type]
    names = {name.removeprefix("_orig_mod."): value for name, value in found.items()}
    assert max(differences(names, answers(model, clip)).values()) < 2e-5
    with torch.no_grad():
        other = tiny_clip(1, 4, 12, 12)
        assert relative_error(compiled(other), model(other)) < LIMIT


@quiet_compiler
def test_a_compiled_model_follows_the_named_engine() -> None:
    torch.compiler.reset()
    model, clip = small_model(), small_clip()
    used: list[bool] = []

    def spy(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        used.append(any("box_attention" in str(node.target) for node in graph.graph.nodes))
        return graph.forward

    compiled = torch.compile(model, backend=spy, fullgraph=True)
    with torch.no_grad():
        for name in ("cpu", "plain", "cpu"):
            with use_engine(name):
                compiled(clip)
        compiled(clip)
    assert used == [True, False, True]  # cpu, plain, and auto, which is traced anew


@pytest.mark.parametrize("strict", [False, True])
def test_exported_cold(strict: bool) -> None:
    torch.compiler.reset()
    KEPT.clear()
    model, clip = small_model(), small_clip()
    batch = {"video": {0: torch.export.Dim("batch", min=1, max=64)}}
    program = torch.export.export(model, (clip,), dynamic_shapes=batch, strict=strict)
    targets = {str(node.target) for node in program.graph.nodes}
    assert not [name for name in targets if name.startswith(("videoswin", "mkldnn"))]
    with torch.no_grad():
        assert relative_error(program.module()(small_clip(3)), model(small_clip(3))) < LIMIT
    answers(model, clip)  # boxes that were first cut while exporting serve training


def test_exported_with_a_changed_layer() -> None:
    model, clip = small_model(), small_clip()
    lora(model, "backbone.layers.0.blocks.0.attn.qkv")
    forward_hook(model, "backbone.layers.0.blocks.1.mlp.fc1")
    with torch.no_grad():
        assert relative_error(torch.export.export(model, (clip,)).module()(clip), model(clip)) < LIMIT


@pytest.mark.filterwarnings("ignore")  # of the exporter itself
def test_to_onnx_by_itself(tmp_path: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    KEPT.clear()
    model, clip = model_of(depths=(1,), num_heads=(1,)), small_clip()
    torch.onnx.export(model, (clip,), tmp_path / "model.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: clip.numpy()})
    assert relative_error(torch.from_numpy(found), model(clip)) < LIMIT


@pytest.mark.filterwarnings("ignore")  # tracing is deprecated
def test_traced_by_torchscript() -> None:
    KEPT.clear()
    model, clip = small_model(), small_clip()
    with torch.no_grad():
        traced: Any = torch.jit.trace(model, (torch.randn_like(clip),), check_trace=False)
        assert relative_error(traced(clip), model(clip)) < LIMIT
        kinds = {node.kind() for node in traced.inlined_graph.nodes()}
    assert not [kind for kind in kinds if kind.startswith(("videoswin", "mkldnn"))]


class Blocks(fx.Tracer):
    """Takes stages and the patch embedding as they are, as torchvision's ``leaf_modules`` does."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Stage | PatchEmbed) or super().is_leaf_module(m, module_qualified_name)


def test_features_by_fx(engine: str) -> None:
    model, clip = model_of(), clip_of()
    graph = Blocks().trace(model)
    wanted = next(node for node in graph.nodes if node.target == "backbone.layers.0")
    for node in graph.nodes:
        if node.op == "output":
            node.args = ({"logits": node.args[0], "stage 1": wanted},)
    extractor = fx.GraphModule(model, graph)
    with torch.no_grad():
        found = extractor(clip)
        assert relative_error(found["logits"], model(clip)) < LIMIT
        assert found["stage 1"].permute(0, 4, 1, 2, 3).equal(model.forward_pyramid(clip)[0])


def test_fx_without_leaves_says_why(engine: str) -> None:
    with pytest.raises((TraceError, TypeError)):
        fx.symbolic_trace(model_of())


@pytest.mark.parametrize("size", [(8, 24, 24), (7, 22, 27)])
def test_a_flop_counter_counts_the_products(size: tuple[int, int, int], engine: str) -> None:
    if engine == "plain":
        pytest.skip("PyTorch's counter does not know its own fused attention on CPUs")
    model, clip = model_of(), tiny_clip(1, *size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(clip)
    assert counter.get_total_flops() / 2 == count_macs(model.config, *size).executed
    by_module = counter.get_flop_counts()
    assert sum(by_module["VideoSwin.backbone.layers.0.blocks.0.mlp"].values()) > 0
    clip.requires_grad_()
    with FlopCounterMode(display=False) as counter:
        model(clip).sum().backward()
    assert counter.get_total_flops() > 2.9 * 2 * count_macs(model.config, *size).executed


# Stages and blocks in wrappers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["backbone.layers.0", "backbone.layers.1", "backbone.layers.0.blocks.1"])
def test_a_wrapped_stage_or_block_counts(name: str) -> None:
    model, clip = model_of(causal=True), clip_of()[:, :, :6]
    with use_engine("plain"):
        before = model(clip).detach()
        wrapped(model, name)
        expected = answers(model, clip)
    assert relative_error(expected["logits"], before) > 1e-2
    with use_engine("cpu"):
        assert max(differences(answers(model, clip), expected).values()) < 2e-5
    with pytest.raises(ConfigError, match=f'"{name}", which carries hooks, is wrapped'):
        Stream(model)


@quiet_compiler
def test_a_compiled_stage_counts(engine: str) -> None:
    torch.compiler.reset()
    model, clip = small_model(), small_clip()
    expected = answers(model, clip)
    runs = 0

    def backend(graph: fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        nonlocal runs
        runs += 1
        return graph.forward

    model.backbone.layers[0] = torch.compile(model.backbone.layers[0], backend=backend)  # type: ignore[assignment]
    found = {name.replace("_orig_mod.", ""): value for name, value in answers(model, clip).items()}
    assert max(differences(found, expected).values()) < 2e-5
    assert runs == 1
    assert len(model.backbone.stages) == 1
    model.set_grad_checkpointing()
    assert [m.grad_checkpointing for m in model.modules() if type(m) is Stage] == [True]


def test_a_wrapper_that_hides_the_stage_is_named() -> None:
    class Bare(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    model = model_of()
    model.backbone.layers[0] = Bare(model.backbone.layers[0])
    with pytest.raises(AttributeError, match="'Bare' object has no attribute 'downsample'"):
        model(clip_of())


# What a model of the paper is made of ---------------------------------------------------------------------------------------


def test_names_of_weights_are_the_public_ones() -> None:
    """The quick layers are PyTorch's own classes, except the patch convolution, which is one of its children."""
    with torch.device("meta"):
        model = create_model("swin3d_t")
    kinds = Counter(type(module) for module in leaves(model).values())
    assert kinds[nn.Linear] == 12 * 4 + 3 + 1
    assert kinds[nn.LayerNorm] == 12 * 2 + 3 + 2
    assert sum(kinds.values()) == 52 + 29 + 1
    assert isinstance(model.backbone.patch_embed.proj, nn.Conv3d)


def test_made_inside_a_default_device(engine: str) -> None:
    KEPT.clear()
    clip = clip_of()
    with torch.device("cpu"):
        model = model_of()
        expected = model(clip)
    assert model(clip).equal(expected)
    KEPT.clear()
    with torch.device("meta"):  # of what a user makes meanwhile; the model and its boxes are elsewhere
        assert model(clip).equal(expected)
    assert SwinConfig() == SwinConfig()
    assert isinstance(model.backbone.stages[0].blocks[0], SwinBlock)
