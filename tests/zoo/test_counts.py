"""Parameters to the integer and GMACs to three decimals, for every row of the published tables; on the meta device."""

from typing import Any

import pytest
import torch

from videoswin.model.config import Grid
from videoswin.zoo import build, count_macs, get_config
from videoswin.zoo.context import ContextConfig

_DOT, _GAUSSIAN = ContextConfig(mode="dot_product"), ContextConfig(mode="gaussian")
_VMZ: dict[str, Any] = {"middle": "conv", "eps": 1e-3, "middle_eps": 1e-3}
_MM34: dict[str, Any] = {"middle": "conv", "stem": "pooled", "shortcut": "factorised"}

# Model, changes, parameters, clip (None: the published one), GMACs.
ROWS: list[tuple[str, dict[str, Any], int, Grid | None, float | None]] = [
    ("c3d", {"num_classes": 487}, 79_991_015, None, 38.549),
    ("c3d", {"num_classes": 101}, 78_409_573, None, None),
    ("c3d", {}, 79_634_576, None, 38.549),
    ("i3d", {}, 12_697_264, None, 111.153),
    ("i3d", {}, 12_697_264, (16, 224, 224), 27.788),
    ("s3d", {}, 8_320_048, (16, 224, 224), 17.979),
    ("s3d", {}, 8_320_048, (64, 224, 224), 71.916),
    ("s3d", {}, 8_320_048, None, 143.833),
    ("p3d_63", {}, 25_745_232, None, 8.442),
    ("p3d_131", {}, 48_088_400, None, 12.898),
    ("p3d_199", {}, 66_492_240, None, 18.403),
    ("p3d_199", {"variant": "port"}, 66_492_240, None, 18.403),
    ("r3d_18", {}, 33_371_472, None, 40.697),
    ("mc3_18", {}, 11_695_440, None, 43.343),
    ("r2plus1d_18", {}, 31_505_325, None, 40.519),
    ("r2plus1d_18", _VMZ, 33_370_839, None, 41.496),
    ("r2plus1d_34", _VMZ, 63_697_175, (8, 112, 112), 38.089),
    ("r2plus1d_34", {}, 61_831_661, (8, 112, 112), 37.600),
    ("r2plus1d_34", _MM34, 63_759_281, (8, 224, 224), 40.561),
    ("r2plus1d_34", _MM34, 63_759_281, (32, 224, 224), 162.244),
    ("c2d_r50", {}, 24_327_632, None, 19.493),
    ("c2d_r50_nl", {}, 31_682_000, None, 30.704),
    ("i3d_r50", {}, 28_043_472, None, 33.128),
    ("i3d_r50_8x8", {}, 28_043_472, None, 28.408),
    ("i3d_r50_nl", {}, 35_397_840, None, 44.339),
    ("i3d_r50_nl", {"context": _DOT}, 35_397_840, None, 44.339),
    ("i3d_r50_nl", {"context": _GAUSSIAN}, 31_723_728, None, 41.723),
    ("i3d_r101", {}, 51_754_192, None, 51.676),
    ("i3d_r101_nl", {}, 59_108_560, None, 62.887),
    ("slowonly_r50", {}, 32_454_096, None, 41.741),
    ("slowonly_r50_gc", {}, 34_300_373, None, None),
    # Small models of equal size (10 classes, 16x56x56).
    ("r2plus1d_micro", {"width": 16}, 2_087_822, None, 0.257),
    ("r2plus1d_micro", {}, 3_258_594, None, 0.373),
    ("i3d_r50_micro", {"width": 16}, 1_725_402, None, 0.356),
    ("i3d_r50_micro", {}, 2_686_510, None, 0.511),
]


@pytest.mark.parametrize(("name", "changes", "parameters", "clip", "gmacs"), ROWS)
def test_published_counts(
    name: str, changes: dict[str, Any], parameters: int, clip: Grid | None, gmacs: float | None
) -> None:
    config: Any = get_config(name).replace(**changes)
    with torch.device("meta"):
        model = build(config)
    assert sum(p.numel() for p in model.parameters()) == parameters
    if gmacs is not None:
        decimals = len(str(gmacs).partition(".")[2])
        assert round(count_macs(config, clip or config.clip) / 1e9, decimals) == gmacs
