"""microsoft/Swin-Transformer, images: under ``model``, with index buffers and masks. timm before 0.9 is the same."""

from videoswin.weights.formats.base import Family
from videoswin.weights.formats.name_map import BARE

MICROSOFT = Family(
    name="microsoft",
    title="Microsoft Swin (images)",
    dims=2,
    names=BARE,
    requires=(r"layers\.0\.blocks\.0\.attn\.qkv\.weight",),
    forbids=(r"layers\.3\.downsample\..*", r"head\.fc\..*"),
    index="square",
    container="model",
)
