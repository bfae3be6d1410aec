"""SwinConfig and the presets: what is refused, in which words, and what survives a JSON file."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.model.helpers import TINY
from videoswin.errors import ConfigError
from videoswin.model import PRESETS, SwinConfig, VideoSwin, create_model, get_config

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # Lists of sizes
        ({"depths": ()}, "depths=.*positive whole numbers"),
        ({"depths": 3}, "depths=3 must be a list"),
        ({"depths": "22"}, "depths='22' must be a list"),
        ({"depths": (2, 0, 6, 2)}, "depths=.*positive whole numbers"),
        ({"depths": (2, True, 6, 2)}, "depths=.*positive whole numbers"),
        ({"depths": (2, 2.0, 6, 2)}, "depths=.*positive whole numbers"),
        ({"depths": (2, 2)}, r"depths=\(2, 2\) and num_heads=\(3, 6, 12, 24\)"),
        ({"num_heads": None}, "num_heads=None must be a list"),
        ({"num_heads": (5, 6, 12, 24)}, r"num_heads\[0\]=5 does not divide the 96 channels of stage 1"),
        ({"num_heads": (3, 6, 12, 36)}, r"num_heads\[3\]=36 does not divide the 768 channels of stage 4"),
        ({"window_size": (8, 7)}, r"window_size=\(8, 7\) needs three sizes: \(T, H, W\)"),
        ({"window_size": (8, 7, 0)}, "window_size=.*positive whole numbers"),
        ({"window_size": 7}, "window_size=7 must be a list"),
        ({"window_size": {8: 1, 7: 2, 6: 3}}, "window_size=.*must be a list"),
        ({"patch_size": (2, 4, 4, 4)}, "patch_size=.*needs three sizes"),
        ({"patch_size": (2, -4, 4)}, "patch_size=.*positive whole numbers"),
        # Whole numbers
        ({"embed_dim": 0}, "embed_dim=0 must be"),
        ({"embed_dim": "96"}, "embed_dim='96' must be"),
        ({"embed_dim": 96.0}, "embed_dim=96.0 must be"),
        ({"embed_dim": True}, "embed_dim=True must be"),
        ({"in_channels": -1}, "in_channels=-1 must be"),
        ({"num_classes": -1}, "num_classes=-1 must be 0"),
        ({"num_classes": 2.5}, "num_classes=2.5 must be 0"),
        ({"num_classes": "10"}, "num_classes='10' must be 0"),
        ({"num_classes": None}, "num_classes=None must be 0"),
        # Rates and ratios
        ({"drop_path": 1.0}, r"drop_path=1.0 must be in \[0, 1\)"),
        ({"drop_path": -0.1}, r"drop_path=-0.1 must be in \[0, 1\)"),
        ({"drop_path": NAN}, r"drop_path=nan must be in \[0, 1\)"),
        ({"drop_path": "0.1"}, r"drop_path='0.1' must be in \[0, 1\)"),
        ({"head_dropout": 1}, r"head_dropout=1 must be in \[0, 1\)"),
        ({"mlp_ratio": 0}, "mlp_ratio=0 must be"),
        ({"mlp_ratio": -4.0}, "mlp_ratio=-4.0 must be"),
        ({"mlp_ratio": NAN}, "mlp_ratio=nan must be"),
        ({"mlp_ratio": INF}, "mlp_ratio=inf must be"),
        ({"mlp_ratio": 0.001}, "mlp_ratio=0.001 must be"),  # a hidden layer of 0 channels
        ({"mlp_ratio": "4"}, "mlp_ratio='4' must be"),
        ({"patch_norm": "no"}, "patch_norm='no' must be"),
        # Words
        ({"relative_bias": "offical"}, 'relative_bias="offical" is unknown. Did you mean "official"?'),
        ({"relative_bias": "none"}, "Choose one of: exact, official."),
        ({"padding": "mask"}, 'padding="mask" is unknown. Did you mean "masked"?'),
        ({"padding": None}, 'padding="None" is unknown. Choose one of: attended, masked.'),
        ({"init": "locale"}, 'init="locale" is unknown. Did you mean "local"?'),
        # Names
        ({"drop_pth": 0.1}, 'SwinConfig has no field "drop_pth". Did you mean "drop_path"?'),
        ({"windows": (8, 7, 7)}, 'SwinConfig has no field "windows". Did you mean "window_size"?'),
    ],
    ids=str,
)
def test_refusals(changes: dict[str, Any], words: str) -> None:
    for attempt in (lambda: SwinConfig().replace(**changes), lambda: SwinConfig.from_dict(changes)):
        with pytest.raises(ConfigError, match=words) as error:
            attempt()
        assert "\n" not in str(error.value)
    if changes != {"num_classes": None}:  # which create_model reads as "the preset's own"
        with pytest.raises(ConfigError, match=words):
            create_model("swin3d_t", **changes)


@pytest.mark.parametrize("data", [{1: 2}, {None: 2}], ids=str)
def test_a_key_that_is_no_name_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match="has no field"):
        SwinConfig.from_dict(data)


def test_sizes_may_come_as_lists() -> None:
    config = SwinConfig(window_size=[8, 7, 7], depths=[2, 2, 6, 2])  # type: ignore[arg-type]
    assert config == SwinConfig()
    assert hash(config) == hash(SwinConfig())


def test_a_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SwinConfig().embed_dim = 1  # type: ignore[misc]


def test_the_numbers_of_the_stages() -> None:
    assert SwinConfig().stage_dims == (96, 192, 384, 768)
    assert SwinConfig().num_features == 768
    assert TINY.stage_dims == (8, 16)
    assert TINY.num_features == 16


configs = st.builds(
    SwinConfig,
    embed_dim=st.sampled_from([24, 48]),
    depths=st.tuples(*[st.integers(1, 4)] * 3),
    num_heads=st.tuples(*[st.sampled_from([1, 2, 3, 4])] * 3),
    window_size=st.tuples(*[st.integers(1, 9)] * 3),
    patch_size=st.tuples(*[st.integers(1, 4)] * 3),
    in_channels=st.integers(1, 4),
    mlp_ratio=st.floats(0.5, 8),
    patch_norm=st.booleans(),
    num_classes=st.integers(0, 700),
    drop_path=st.floats(0, 0.9),
    head_dropout=st.floats(0, 0.9),
    relative_bias=st.sampled_from(["exact", "official"]),
    padding=st.sampled_from(["attended", "masked"]),
    init=st.sampled_from(["paper", "local"]),
)


@given(configs)
def test_json_round_trip(config: SwinConfig) -> None:
    text = json.dumps(config.to_dict(), allow_nan=False)
    assert SwinConfig.from_dict(json.loads(text)) == config


def test_every_field_is_written() -> None:
    assert list(SwinConfig().to_dict()) == [field.name for field in dataclasses.fields(SwinConfig)]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name: str) -> None:
    assert SwinConfig.from_dict(json.loads(json.dumps(PRESETS[name].to_dict()))) == get_config(name)


def test_presets_of_the_paper() -> None:
    """Section 3.1: C = 96, 96, 128, 192; {2, 2, 6, 2} for Tiny, {2, 2, 18, 2} else; head dimension 32; window 8x7x7."""
    widths = {
        "swin3d_t": 96,
        "swin3d_s": 96,
        "swin3d_b": 128,
        "swin3d_l": 192,
        "swin3d_b_ssv2": 128,
        "swin3d_l_384": 192,
    }
    for name, width in widths.items():
        config = get_config(name)
        assert config.embed_dim == width
        assert config.depths == ((2, 2, 6, 2) if name == "swin3d_t" else (2, 2, 18, 2))
        assert [dim // heads for dim, heads in zip(config.stage_dims, config.num_heads, strict=True)] == [32] * 4
        assert (config.patch_size, config.patch_norm, config.mlp_ratio) == ((2, 4, 4), True, 4.0)
        assert (config.relative_bias, config.padding, config.init) == ("exact", "attended", "paper")
    assert get_config("swin3d_b").window_size == (8, 7, 7)
    assert get_config("swin3d_b_ssv2").window_size == (16, 7, 7)
    assert get_config("swin3d_l_384").window_size == (8, 12, 12)
    assert {get_config(name).num_classes for name in widths} == {400, 174}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("swin3d_tn", 'no model "swin3d_tn". Did you mean "swin3d_t"?'),
        ("Swin3D_T", 'Did you mean "swin3d_t"?'),
        ("resnet50", "Choose one of: swin3d_b, swin3d_b_ssv2, swin3d_l"),
        ("", "Choose one of"),
    ],
)
def test_an_unknown_preset_names_the_nearest(name: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        create_model(name)
    assert words in str(error.value)


def test_create_model_takes_a_preset_or_a_config() -> None:
    micro = create_model("swin3d_micro", num_classes=3, drop_path=0.2)
    assert isinstance(micro, VideoSwin)
    assert micro.config == PRESETS["swin3d_micro"].replace(num_classes=3, drop_path=0.2)
    assert create_model(TINY).config == TINY
    assert create_model(TINY, num_classes=0).config.num_classes == 0  # 0 is a choice, not "unset"


def test_a_model_prints_what_differs_from_the_default() -> None:
    assert VideoSwin(TINY).extra_repr().startswith("embed_dim=8, depths=[2, 2], num_heads=[1, 2]")
    assert "patch_size" not in VideoSwin(TINY).extra_repr()
