"""This package's own files: ``model.safetensors`` of a checkpoint."""

from videoswin.weights.formats.base import Family
from videoswin.weights.formats.name_map import OUR_NAMES

OURS = Family(
    name="ours",
    title="videoswin",
    dims=3,
    names=OUR_NAMES,
    requires=(r"backbone\.layers\.0\.blocks\.0\.attn\.qkv\.weight", r"backbone\.norm\.weight"),
    forbids=(r".*\.relative_position_index", r"cls_head\..*"),
    relative_bias="exact",
)
