"""torchvision's ``swin3d_*`` and ``swin_*``: a bare dict; stages and mergings take turns in ``features.N``."""

from videoswin.weights.formats.base import Family
from videoswin.weights.formats.name_map import NameMap

TORCHVISION_3D = Family(
    name="torchvision_3d",
    title="torchvision swin3d",
    dims=3,
    names=NameMap(
        patch_proj="patch_embed.proj",
        patch_norm="patch_embed.norm",
        block="features.{2i}.{j}",
        merge="features.{2i+1}",
        norm="norm",
        head="head",
        fc1="mlp.0",
        fc2="mlp.3",
    ),
    requires=(r"features\.0\.0\.attn\.qkv\.weight",),
    index="square",
)

TORCHVISION_2D = Family(
    name="torchvision_2d",
    title="torchvision swin (images)",
    dims=2,
    names=NameMap(
        patch_proj="features.0.0",
        patch_norm="features.0.2",
        block="features.{2i+1}.{j}",
        merge="features.{2i+2}",
        norm="norm",
        head="head",
        fc1="mlp.0",
        fc2="mlp.3",
    ),
    requires=(r"features\.1\.0\.attn\.qkv\.weight",),
    index="flat",
)
