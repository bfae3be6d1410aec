"""The whole model: the public code's own outputs, what it accepts and refuses, and how it behaves in training."""

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.model.helpers import TINY, relative_error, tiny_clip, tiny_model
from videoswin.errors import ConfigError
from videoswin.kernels import use_engine
from videoswin.model import SwinConfig, VideoSwin
from videoswin.model.blocks import SwinBlock
from videoswin.model.windows import KEPT
from videoswin.zoo.swin_macs import stage_grids

GOLDEN = Path(__file__).parent.parent / "golden"

# --- golden files ---


@pytest.fixture(scope="module")
def golden_model() -> VideoSwin:
    """The architecture of the golden files, with their weights under our names."""
    config = SwinConfig(
        embed_dim=8,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        window_size=(4, 3, 3),
        num_classes=7,
        relative_bias="official",
    )
    public = torch.load(GOLDEN / "official_3d.pth", weights_only=True)["state_dict"]
    ours = {
        name.replace("cls_head.fc_cls", "head.fc"): value
        for name, value in public.items()
        if not name.endswith("relative_position_index")
    }
    model = VideoSwin(config).eval()
    model.load_state_dict(ours, strict=True)
    return model


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "official_3d_expected.safetensors")


@pytest.mark.parametrize("i", range(4))
def test_equals_the_public_code_at_every_stage(golden_model: VideoSwin, golden: dict[str, Tensor], i: int) -> None:
    seen: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output: Tensor) -> None:
            seen[name] = output.permute(0, 4, 1, 2, 3)

        return hook

    backbone = golden_model.backbone
    modules = {"patch_embed": backbone.get_submodule("patch_embed")} | {
        f"layer{j}": backbone.get_submodule(f"layers.{j}.downsample") for j in range(4)
    }
    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            seen["features"] = golden_model.forward_features(golden[f"input_{i}"])
            seen["logits"] = golden_model(golden[f"input_{i}"])
    finally:
        for handle in handles:
            handle.remove()
    errors = {name: relative_error(ours, golden[f"{name}_{i}"]) for name, ours in seen.items()}
    assert len(errors) == 7
    assert max(errors.values()) < 1e-5, errors


def test_the_golden_sizes_need_the_official_bias(golden_model: VideoSwin, golden: dict[str, Tensor]) -> None:
    exact = VideoSwin(golden_model.config.replace(relative_bias="exact")).eval()
    exact.load_state_dict(golden_model.state_dict())
    with torch.no_grad():
        assert relative_error(exact(golden["input_0"]), golden["logits_0"]) > 1e-3


# --- shapes ---


@pytest.mark.parametrize("size", [(8, 24, 24), (7, 22, 27), (2, 4, 4), (3, 64, 5)])
def test_shapes(size: tuple[int, int, int]) -> None:
    model, clip = tiny_model(), tiny_clip(2, *size)
    grids = stage_grids(model.config, *size)
    maps = model.forward_pyramid(clip)
    assert [tuple(m.shape) for m in maps] == [(2, dim, *grid) for dim, grid in zip((8, 16), grids, strict=True)]
    assert model.forward_features(clip).equal(maps[-1])
    assert model(clip).shape == (2, 5)


def test_grids_round_up() -> None:
    assert stage_grids(SwinConfig(), 32, 224, 224) == [(16, 56, 56), (16, 28, 28), (16, 14, 14), (16, 7, 7)]
    assert stage_grids(SwinConfig(), 5, 100, 130) == [(3, 25, 33), (3, 13, 17), (3, 7, 9), (3, 4, 5)]


def test_no_classes_gives_pooled_features() -> None:
    model, clip = tiny_model(num_classes=0), tiny_clip()
    assert model.head is None
    assert torch.equal(model(clip), model.forward_features(clip).mean(dim=(2, 3, 4)))
    assert model(clip).shape == (2, model.config.num_features)


def test_the_head_averages_then_projects() -> None:
    model, clip = tiny_model(), tiny_clip()
    assert model.head is not None
    expected = F.linear(model.forward_features(clip).mean(dim=(2, 3, 4)), model.head.fc.weight, model.head.fc.bias)
    assert torch.allclose(model(clip), expected)


def test_an_empty_batch_stays_empty() -> None:
    model, clip = tiny_model(), tiny_clip(0).requires_grad_()
    logits = model(clip)
    assert logits.shape == (0, 5)
    logits.sum().backward()
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_a_batch_equals_its_clips_one_by_one() -> None:
    model, clips = tiny_model(), tiny_clip(3)
    one_by_one = torch.cat([model(clip[None]) for clip in clips])
    assert relative_error(model(clips), one_by_one) < 1e-6


@pytest.mark.parametrize("padding", ["attended", "masked"])
@pytest.mark.parametrize("relative_bias", ["exact", "official"])
def test_clips_do_not_see_each_other(padding: str, relative_bias: str) -> None:
    model, clips = tiny_model(padding=padding, relative_bias=relative_bias), tiny_clip(2, 6, 20, 28)
    other = clips.clone()
    other[1] += 1
    assert torch.equal(model(clips)[0], model(other)[0])


def test_memory_layout_does_not_matter() -> None:
    model, clip = tiny_model(), tiny_clip(2, 7, 22, 27)
    expected = model(clip)
    frames_last = clip.permute(0, 3, 4, 2, 1).contiguous().permute(0, 4, 3, 1, 2)
    strided = torch.zeros(2, 3, 14, 22, 54)[:, :, ::2, :, ::2].copy_(clip)
    for view in (frames_last, strided, clip.to(memory_format=torch.channels_last_3d)):
        assert not view.is_contiguous()
        assert torch.allclose(model(view), expected, atol=1e-6)
    assert torch.allclose(model(clip[:1].expand(2, -1, -1, -1, -1)), expected[:1].expand(2, -1), atol=1e-6)


def test_the_input_is_left_alone() -> None:
    clip = tiny_clip()
    before = clip.clone()
    tiny_model()(clip)
    assert clip.equal(before)


# --- refusals ---


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (torch.zeros(3, 8, 24, 24), r"\(B, 3, T, H, W\).*\(3, 8, 24, 24\)"),
        (torch.zeros(2, 3, 24, 24), r"\(B, 3, T, H, W\).*\(2, 3, 24, 24\)"),
        (torch.zeros(1, 1, 3, 8, 24, 24), r"\(B, 3, T, H, W\)"),
        (torch.zeros(1, 4, 8, 24, 24), r"Axis 1 holds the 3 colour channels.*got 4"),
        (torch.zeros(1, 8, 3, 24, 24), r"Axis 1 .*got 8 in shape \(1, 8, 3, 24, 24\)"),  # (B, T, C, H, W)
        (torch.zeros(1, 3, 1, 24, 24), r"Axis T is 1 long.*at least 2"),
        (torch.zeros(1, 3, 0, 24, 24), r"Axis T is 0 long"),
        (torch.zeros(1, 3, 8, 3, 24), r"Axis H is 3 long.*at least 4"),
        (torch.zeros(1, 3, 8, 24, 3), r"Axis W is 3 long.*at least 4"),
        (torch.zeros(1, 3, 8, 24, 24, dtype=torch.uint8), r"normalised floats; got torch.uint8"),
        (torch.zeros(1, 3, 8, 24, 24, dtype=torch.int64), r"normalised floats; got torch.int64"),
    ],
    ids=lambda value: str(tuple(value.shape)) if isinstance(value, Tensor) else "",
)
def test_a_wrong_clip_is_refused_by_name(clip: Tensor, words: str) -> None:
    model = tiny_model()
    for call in (model, model.forward_features, model.forward_pyramid):
        with pytest.raises(ConfigError, match=words) as error:
            call(clip)
        assert "\n" not in str(error.value)


def test_other_channel_counts_can_be_configured() -> None:
    model = tiny_model(in_channels=2)
    assert model(torch.randn(1, 2, 8, 24, 24)).shape == (1, 5)
    with pytest.raises(ConfigError, match="the 2 colour channels"):
        model(tiny_clip())


# --- gradients and training ---


def gradients(model: VideoSwin, clip: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    model(clip).float().pow(2).sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert not missing
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("padding", ["attended", "masked"])
def test_every_parameter_gets_a_gradient(padding: str) -> None:
    model = tiny_model(padding=padding).train()
    found = gradients(model, tiny_clip(2, 7, 22, 27))
    assert len(found) == len(list(model.parameters()))
    for name, gradient in found.items():
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


def test_evaluating_first_does_not_hinder_training() -> None:
    model, clip = tiny_model(), tiny_clip(1, 8, 28, 36)
    KEPT.clear()
    with torch.inference_mode():
        model(clip)
    assert gradients(model.train(), clip)


def test_dropout_and_drop_path_sleep_in_eval() -> None:
    model, clip = tiny_model(drop_path=0.5, head_dropout=0.5), tiny_clip(4)
    assert torch.equal(model(clip), model(clip))
    model.train()
    assert not torch.equal(model(clip), model(clip))


def test_head_dropout_is_of_the_pooled_features() -> None:
    model, features = tiny_model(head_dropout=0.4), torch.ones(500, 16, 2, 1, 3)
    assert model.head is not None
    model.head.fc = torch.nn.Identity()  # type: ignore[assignment]
    dropped = model.head.train()(features)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert abs(float((dropped == 0).double().mean()) - 0.4) < 0.03
    assert model.head.eval()(features).eq(1).all()


@pytest.mark.parametrize("drop_path", [0.0, 0.4])
def test_checkpointing_changes_memory_only(drop_path: float) -> None:
    model, clip = tiny_model(drop_path=drop_path).train(), tiny_clip(3)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    for module in model.modules():
        if isinstance(module, SwinBlock):
            module.register_forward_pre_hook(count)  # the second run may stop before the block's end

    def run(checkpointing: bool) -> tuple[Tensor, dict[str, Tensor], int]:
        nonlocal calls
        calls = 0
        model.set_grad_checkpointing(checkpointing)
        torch.manual_seed(1)
        output = model(clip).detach()
        torch.manual_seed(1)
        return output, gradients(model, clip), calls

    plain, plain_gradients, plain_calls = run(False)
    saved, saved_gradients, saved_calls = run(True)
    assert plain.equal(saved)
    for name, gradient in plain_gradients.items():
        assert torch.allclose(saved_gradients[name], gradient, atol=1e-6), name
    assert saved_calls == plain_calls + 4  # every block ran once more in the backward pass


def test_checkpointing_is_for_training_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model, clip = tiny_model(), tiny_clip()
    expected = model(clip)
    model.set_grad_checkpointing()
    monkeypatch.delattr("videoswin.model.backbone.checkpoint")
    assert model(clip).equal(expected)
    with pytest.raises(NameError):
        model.train()(clip)


# --- precision and kernels ---


@pytest.mark.parametrize("how", ["weights", "autocast"])
def test_bfloat16_stays_near_float32(how: str) -> None:
    model, clip = tiny_model().train(), tiny_clip(2, 7, 22, 27)
    expected, expected_gradients = model(clip).detach(), gradients(model, clip)
    if how == "weights":
        model, clip = model.bfloat16(), clip.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
        output = model(clip)
        found = gradients(model, clip)
    assert output.dtype == torch.bfloat16
    assert output.isfinite().all()
    assert relative_error(output.float(), expected) < 0.03
    together, expected_together = (
        torch.cat([g.float().flatten() for g in each.values()]) for each in (found, expected_gradients)
    )
    assert together.isfinite().all()
    assert relative_error(together, expected_together) < 0.06


def plain_attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor) -> Tensor:
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1) + attn_mask).softmax(dim=-1) @ v


def test_the_fused_kernel_equals_plain_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    model, clip = tiny_model(), tiny_clip(2, 7, 22, 27)
    calls = 0

    def counted(*args: Tensor, **options: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return plain_attention(*args, **options)

    with use_engine("plain"):
        fused, fused_gradients = model(clip), gradients(model, clip)
        with torch.no_grad():  # without a gradient for the bias the CPU takes another kernel
            unlearning = model(clip)
            with sdpa_kernel(SDPBackend.MATH):
                math = model(clip)
        monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
        plain, plain_gradients = model(clip), gradients(model, clip)
    assert calls > 0
    for other in (fused, unlearning, math):
        assert relative_error(other, plain) < 1e-5
    for name, gradient in plain_gradients.items():
        assert torch.allclose(fused_gradients[name], gradient, rtol=1e-4, atol=1e-5), name


def test_no_map_of_an_earlier_stage_is_kept() -> None:
    """Of classification, which reads the last one only: when a stage begins, those before are gone."""
    model, clip = tiny_model(depths=(1, 1, 1), num_heads=(1, 2, 4)), tiny_clip(1)
    maps: list[weakref.ref[Any]] = []
    alive: list[list[bool]] = []
    for stage in model.backbone.stages:
        # A hook sees tensors that others hold; the list is of those that are still alive when this stage starts.
        stage.register_forward_pre_hook(lambda *_: alive.append([ref() is not None for ref in maps]))
        stage.register_forward_hook(lambda module, args, out: maps.append(weakref.ref(out)))  # type: ignore[arg-type]
    with torch.inference_mode():
        model(clip)
    assert alive == [[], [False], [False, False]]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # the compiler's own
def test_compiled_equals_eager() -> None:
    model, clip = tiny_model(depths=(2,), num_heads=(1,)), tiny_clip(1, 6, 20, 28)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager")  # traced as for any backend, without a C++ compiler
    assert relative_error(compiled(clip), model(clip)) < 1e-6


# --- names and first weights ---


def test_parameters_are_all_that_is_saved() -> None:
    model = tiny_model()
    assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]  # no index or mask buffers


def test_equal_seeds_give_equal_weights() -> None:
    torch.manual_seed(3)
    first = VideoSwin(TINY).state_dict()
    torch.manual_seed(3)
    second = VideoSwin(TINY).state_dict()
    assert all(value.equal(second[name]) for name, value in first.items())


@pytest.mark.parametrize("init", ["paper", "local"])
def test_first_weights(init: str) -> None:
    model = VideoSwin(TINY.replace(embed_dim=32, num_classes=50, init=init))
    for name, p in model.named_parameters():
        if name == "backbone.patch_embed.proj.weight" or name == "backbone.patch_embed.proj.bias":
            continue  # PyTorch's own
        if name == "head.fc.weight":
            expected = 0.01
        elif name.endswith("table"):
            if init == "local":
                continue  # tests/model/test_blocks.py
            expected = 0.02
        elif p.ndim == 1:
            assert p.eq(1.0 if name.endswith("weight") else 0.0).all(), name  # norms 1 and 0, biases 0
            continue
        else:
            expected = 0.02 if init == "paper" else p.shape[1] ** -0.5
            assert p.abs().max() <= 2 * expected, name
        assert 0.75 * expected < p.std() < 1.25 * expected, name
