"""timm 0.9 and later, images: a merging belongs to the stage after it, and the head is ``head.fc``."""

from videoswin.weights.formats.base import Family
from videoswin.weights.formats.name_map import NameMap

TIMM = Family(
    name="timm",
    title="timm swin (images)",
    dims=2,
    names=NameMap(
        patch_proj="patch_embed.proj",
        patch_norm="patch_embed.norm",
        block="layers.{i}.blocks.{j}",
        merge="layers.{i+1}.downsample",
        norm="norm",
        head="head.fc",
    ),
    requires=(r"layers\.0\.blocks\.0\.attn\.qkv\.weight", r"layers\.3\.downsample\..*|head\.fc\..*"),
    forbids=(r"layers\.0\.downsample\..*",),
)
