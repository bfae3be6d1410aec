"""The layouts of public checkpoints, one small module each, and how to tell them apart."""

import re
from collections.abc import Mapping

from videoswin.weights.formats.base import Family, Translation, index_buffer
from videoswin.weights.formats.microsoft import MICROSOFT
from videoswin.weights.formats.mmaction2 import MMACTION2
from videoswin.weights.formats.official import OFFICIAL, OFFICIAL_BARE
from videoswin.weights.formats.ours import OURS
from videoswin.weights.formats.timm import TIMM
from videoswin.weights.formats.torchvision import TORCHVISION_2D, TORCHVISION_3D
from videoswin.weights.formats.transformers import TRANSFORMERS

__all__ = ["FAMILIES", "Family", "Translation", "index_buffer", "is_swin_v2", "recognise"]

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        OURS,
        OFFICIAL,
        OFFICIAL_BARE,
        MMACTION2,
        TORCHVISION_3D,
        MICROSOFT,
        TIMM,
        TORCHVISION_2D,
        *TRANSFORMERS,
    )
}

_SWIN_V2 = re.compile(r".*\.(logit_scale|cpb_mlp\..*|continuous_position_bias_mlp\..*)")


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> Family | None:
    """The family of a file with these tensors; None if no family claims it. At most one does."""
    return next((family for family in FAMILIES.values() if family.claims(shapes)), None)


def is_swin_v2(names: Mapping[str, object]) -> bool:
    """Whether the tensors are a Swin V2, which is another architecture (cosine attention, bias from a small network)."""
    return any(_SWIN_V2.fullmatch(name) for name in names)
