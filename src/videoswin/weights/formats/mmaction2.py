"""MMAction2 1.x: the official names, but the last norm is called after its stage (``backbone.norm3``)."""

from dataclasses import replace

from videoswin.weights.formats.base import Family
from videoswin.weights.formats.name_map import OUR_NAMES

MMACTION2 = Family(
    name="mmaction2",
    title="MMAction2 1.x",
    dims=3,
    names=replace(OUR_NAMES, norm="backbone.norm3", head="cls_head.fc_cls", memory=""),
    requires=(r"backbone\.norm3\.weight",),
    index="square",
    container="state_dict",
    # Norms of earlier stages (out_indices) serve detection alone; mean and std are the preprocessing's.
    harmless=(r"backbone\.norm[012]\.(weight|bias)", r"data_preprocessor\.(mean|std)"),
)
