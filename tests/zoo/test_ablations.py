"""Video Swin with an idea taken away: with none taken it is Video Swin, and what is taken is gone."""

from typing import Any

import pytest
import torch

from videoswin.errors import ConfigError
from videoswin.model import SwinConfig, VideoSwin
from videoswin.zoo import count_macs, create_model, get_config
from videoswin.zoo.ablations import SwinAblation, SwinAblationConfig
from videoswin.zoo.swin_macs import count_macs as count_swin

_SIZES: dict[str, Any] = {"embed_dim": 8, "depths": (2, 2), "num_heads": (2, 4), "num_classes": 3}
_SMALL: dict[str, Any] = {**_SIZES, "window_size": (2, 2, 2), "clip_len": 16, "crop_size": 32}


def model(**changes: Any) -> SwinAblation:
    torch.manual_seed(0)
    return SwinAblation(SwinAblationConfig(**_SMALL | changes)).eval()


def moved_by(net: torch.nn.Module, at: tuple[int, int, int], size: int = 16) -> torch.Tensor:
    """(T', H', W') whether a place of the last map depends on the pixel at (t, y, x)."""
    video = torch.randn(1, 3, size, 32, 32, generator=torch.Generator().manual_seed(1))
    changed = video.clone()
    changed[:, :, at[0], at[1], at[2]] += 1
    with torch.no_grad():
        return (net.forward_features(video) - net.forward_features(changed)).abs().amax(1)[0] > 1e-7  # type: ignore[operator]


def test_with_nothing_taken_it_is_video_swin() -> None:
    swin = VideoSwin(SwinConfig(**_SIZES, window_size=(2, 2, 2), init="local")).eval()
    ours = model()
    ours.load_state_dict({name.removeprefix("backbone."): t for name, t in swin.state_dict().items()})
    video = torch.randn(2, 3, 16, 32, 32)
    assert torch.equal(ours(video), swin(video))
    assert count_macs(ours.config, (16, 32, 32)) == count_swin(swin.config, 16, 32, 32).paper


def test_without_a_shift_in_time_windows_do_not_meet() -> None:
    steps = moved_by(model(shift="space"), (0, 0, 0)).any(2).any(1)
    assert steps.tolist() == [True] * 2 + [False] * 6  # the window of two time steps, and no other
    assert moved_by(model(), (0, 0, 0)).any(2).any(1).sum() > 2
    places = moved_by(model(shift="none"), (0, 0, 0)).any(0)
    assert places.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]  # 2 x 2 of 4 x 4: the window after merging


def test_factorised_attention_sees_time_at_a_place_and_space_in_a_frame() -> None:
    whole = moved_by(model(attention="factorised", window_size=(8, 8, 8)), (0, 0, 0))
    assert whole.all()
    frames = moved_by(model(attention="factorised", window_size=(1, 8, 8)), (0, 0, 0)).any(2).any(1)
    assert frames.tolist() == [True] + [False] * 7


def test_split_attention_tells_order_on_top_alone() -> None:
    net = model(attention="split", window_size=(8, 8, 8))
    video = torch.randn(1, 3, 16, 32, 32)
    frames = net.layers[0]["blocks"][0]  # type: ignore[index]
    assert frames.attn.window_size == (1, 8, 8)
    pairs = video.unflatten(2, (8, 2)).flip(2).flatten(2, 3)
    with torch.no_grad():
        assert not torch.allclose(net(video), net(pairs), atol=1e-6)
        for name, parameter in net.named_parameters():
            if name == "top.pos_embed" or (name.startswith("top.") and name.endswith("bias_table")):
                parameter.zero_()
        torch.testing.assert_close(net(video), net(pairs))
    with pytest.raises(ConfigError, match="takes at most 16 frames"):
        net(torch.randn(1, 3, 18, 32, 32))


@pytest.mark.parametrize(
    "changes", [{"attention": "joined"}, {"shift": "time"}, {"num_heads": (3, 4)}, {"depths": (2,)}]
)
def test_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        model(**changes)


def test_gradients_reach_everything_and_checkpointing_keeps_them() -> None:
    for attention in ("joint", "factorised", "split"):
        net = model(attention=attention, drop_path=0.0, head_dropout=0.0).train()
        video = torch.randn(2, 3, 16, 32, 32)
        net(video).square().sum().backward()
        plain = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        assert plain.keys() == {name for name, _ in net.named_parameters()}
        net.zero_grad()
        net.set_grad_checkpointing()
        net(video).square().sum().backward()
        for name, p in net.named_parameters():
            torch.testing.assert_close(p.grad, plain[name])


def test_their_names() -> None:
    joint, factorised = (create_model(f"swin3d_micro_{kind}", num_classes=10) for kind in ("joint", "factorised"))
    sizes = [sum(p.numel() for p in net.parameters()) for net in (joint, factorised)]
    assert sizes[0] == 2_870_718
    assert abs(sizes[1] / sizes[0] - 1) < 0.07  # an MLP half as wide pays for the second attention


def test_counted_as_the_base():
    """Multiply-adds of an ablation stand on the scale of the model that it is compared with."""
    base, joint, still = (
        get_config(f"swin3d_micro{what}").replace(num_classes=10) for what in ("", "_joint", "_no_shift")
    )
    for clip in ((16, 56, 56), (16, 28, 28)):
        assert count_macs(base, clip) == count_macs(joint, clip) == count_macs(still, clip)
    assert count_macs(base, (16, 56, 56)) == pytest.approx(0.380e9, rel=2e-3)
