"""SwinTransformer/Video-Swin-Transformer: ``state_dict`` with ``backbone.*`` and ``cls_head.fc_cls.*``."""

from dataclasses import replace

from videoswin.weights.formats.base import Family
from videoswin.weights.formats.name_map import BARE, OUR_NAMES

OFFICIAL = Family(
    name="official",
    title="official Video-Swin-Transformer",
    dims=3,
    names=replace(OUR_NAMES, head="cls_head.fc_cls", memory=""),
    # Ours has the same names in the backbone, and no index buffers.
    requires=(r"backbone\.layers\.0\.blocks\.0\.attn\.relative_position_index|cls_head\.fc_cls\.weight",),
    forbids=(r"backbone\.norm3\.weight",),
    index="square",
    container="state_dict",
)

OFFICIAL_BARE = Family(
    name="official_bare",
    title="official Video-Swin-Transformer, backbone alone",
    dims=3,
    names=BARE,
    requires=(r"layers\.0\.blocks\.0\.attn\.qkv\.weight",),
    index="square",
    container="state_dict",
)
