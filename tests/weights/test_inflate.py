"""Image weights become video weights: on one repeated frame, the same numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.weights.golden import FILES, IMAGE, expected, relative_error
from videoswin.errors import ConfigError, WeightsError
from videoswin.weights.bias_tables import resample_table
from videoswin.weights.checkpoint import load_checkpoint
from videoswin.weights.containers.read import read_container
from videoswin.weights.convert import convert_model
from videoswin.weights.inflate import inflate_checkpoint, inflate_patch, inflate_table
from videoswin.weights.safetensors import read_tensors

MICROSOFT = FILES["microsoft"]


def repeated(image: Tensor, frames: int) -> Tensor:
    """(B, 3, H, W) -> (B, 3, T, H, W)."""
    return image.unsqueeze(2).expand(-1, -1, frames, -1, -1)


# --- the exact property ---


@pytest.mark.parametrize("embed", ["inflate", "center"])
@pytest.mark.parametrize("family", IMAGE)
def test_one_repeated_frame_gives_the_image_models_logits(family: str, embed: Any) -> None:
    """8 tokens of time in windows of 4: two windows, and in odd blocks three."""
    model, report = inflate_checkpoint(FILES[family], window_frames=4, embed=embed)
    golden = expected(family)
    with torch.no_grad():
        assert relative_error(model(repeated(golden["image"], 16)), golden["logits"]) < 1e-5
    assert report.family == family
    assert len(report.reshaped) == 9
    assert len(report.loaded) == 112


@pytest.mark.parametrize("frames", [2, 6, 8])
def test_the_features_are_the_image_models_at_every_time(frames: int) -> None:
    model, _ = inflate_checkpoint(FILES["timm"], window_frames=8)
    golden = expected("timm")
    with torch.no_grad():
        features = model.forward_features(repeated(golden["image"], frames))  # (B, 8C, T', H', W')
    assert features.shape[2] == frames // 2
    for now in features.unbind(2):
        assert relative_error(now.permute(0, 2, 3, 1), golden["features"]) < 1e-5


def test_a_patch_may_have_any_length() -> None:
    model, _ = inflate_checkpoint(MICROSOFT, window_frames=2, patch_frames=3)
    golden = expected("microsoft")
    assert model.config.patch_size == (3, 4, 4)
    with torch.no_grad():
        assert relative_error(model(repeated(golden["image"], 12)), golden["logits"]) < 1e-5


def test_center_bias_keeps_to_the_own_frame() -> None:
    table = torch.randn(25, 2)
    inflated = inflate_table(table, (4, 3, 3), "center").view(7, 25, 2)
    assert torch.equal(inflated[3], table)
    assert bool((inflated[[0, 1, 2, 4, 5, 6]] == -4.6).all())


def test_center_embedding_sees_the_middle_frame() -> None:
    weight = torch.randn(8, 3, 4, 4)
    inflated = inflate_patch(weight, 3, "center")
    assert torch.equal(inflated[:, :, 1], weight)
    assert inflated[:, :, [0, 2]].abs().sum() == 0


# --- resampling ---


def test_resampling_in_space_is_the_public_codes() -> None:
    """inflate_weights(): permute(1, 0).view(1, heads, S, S), bicubic."""
    table = torch.randn(13 * 13, 3)
    public = F.interpolate(table.permute(1, 0).view(1, 3, 13, 13), size=(23, 23), mode="bicubic")
    public = public.view(3, 23 * 23).permute(1, 0).repeat(15, 1)
    assert torch.equal(inflate_table(table, (8, 12, 12)), public)


def test_resampling_in_time_leaves_a_constant_alone() -> None:
    table = torch.randn(25, 2).repeat(15, 1)
    longer = resample_table(table, (8, 3, 3), (16, 3, 3))
    assert longer.shape == (31 * 25, 2)
    assert relative_error(longer, table[:25].repeat(31, 1)) < 1e-6


def test_resampling_keeps_the_order_of_axes() -> None:
    """A table that grows along one axis still does afterwards, and along no other."""
    t, h, w = torch.meshgrid(*(torch.arange(1.0 - n, n) for n in (3, 4, 4)), indexing="ij")
    for axis, ramp in enumerate((t, h, w)):
        longer = resample_table(ramp.reshape(-1, 1), (3, 4, 4), (5, 6, 6)).view(9, 11, 11)
        for other in range(3):
            moved = longer.diff(dim=other).abs().max()
            assert (moved > 0.1) == (other == axis)


def test_another_window_is_resampled() -> None:
    model, _ = inflate_checkpoint(MICROSOFT, window=(4, 4))
    assert model.config.window_size == (8, 4, 4)
    with torch.no_grad():
        assert bool(torch.isfinite(model(torch.randn(1, 3, 4, 64, 64))).all())


def test_smaller_tables_of_the_last_stage_are_resampled(tmp_path: Path) -> None:
    tensors = read_container(MICROSOFT).tensors
    for block in (0, 1):
        name = f"layers.3.blocks.{block}.attn.relative_position_bias_table"
        tensors[name] = torch.zeros(9, 8)  # a window of 2
    torch.save({"model": tensors}, tmp_path / "small.pth")
    model, report = inflate_checkpoint(tmp_path / "small.pth")
    assert model.config.window_size == (8, 3, 3)
    assert report.wrong_shape == ()


# --- the rest of the contract ---


def test_an_inflated_model_goes_to_other_code_bases(tmp_path: Path) -> None:
    model, _ = inflate_checkpoint(MICROSOFT)
    convert_model(model, tmp_path / "official.pth", "official")
    again, report = load_checkpoint(tmp_path / "official.pth")
    assert report.family == "official"
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values(), strict=True))


def test_a_new_head() -> None:
    model, report = inflate_checkpoint(MICROSOFT, num_classes=3)
    assert model.config.num_classes == 3
    assert report.fresh == ("head.fc.weight", "head.fc.bias")
    assert "head.weight" in report.dropped


def test_a_missing_tensor_is_named_as_the_file_names_it(tmp_path: Path) -> None:
    for end in ("self.query", "self.key"):
        tensors = read_tensors(FILES["transformers"])
        tensors.pop(f"swin.encoder.layers.0.blocks.1.attention.{end}.weight")
        torch.save(tensors, tmp_path / "hf.pth")
        with pytest.raises(WeightsError, match=r"swin\.encoder\.layers\.0\.blocks\.1\.attention\.self\.query\.weight"):
            inflate_checkpoint(tmp_path / "hf.pth")


def test_an_absolute_position_embedding_has_no_place(tmp_path: Path) -> None:
    tensors = read_container(MICROSOFT).tensors | {"absolute_pos_embed": torch.zeros(1, 576, 8)}
    torch.save({"model": tensors}, tmp_path / "ape.pth")
    with pytest.raises(WeightsError, match="absolute_pos_embed"):
        inflate_checkpoint(tmp_path / "ape.pth")


def test_video_models_and_unknown_options_are_refused() -> None:
    with pytest.raises(WeightsError, match="video model already"):
        inflate_checkpoint(FILES["official"])
    with pytest.raises(ConfigError, match='Did you mean "center"'):
        inflate_checkpoint(MICROSOFT, embed="centre")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="duplicate"):
        inflate_checkpoint(MICROSOFT, bias="copy")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="window_size"):
        inflate_checkpoint(MICROSOFT, window_frames=0)
    with pytest.raises(ConfigError, match="rows"):
        inflate_table(torch.zeros(24, 1), (8, 7, 7))
