"""Names, both ways, and telling the families apart."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.weights.golden import FILES, IMAGE
from videoswin.model import PRESETS
from videoswin.model.config import Grid
from videoswin.weights.architecture import read_architecture, table_windows
from videoswin.weights.checkpoint import expected_shapes, read_checkpoint
from videoswin.weights.containers.read import read_container
from videoswin.weights.formats import FAMILIES, index_buffer, is_swin_v2, recognise
from videoswin.weights.formats.name_map import OUR_NAMES
from videoswin.weights.safetensors import read_tensors


def in_file(family: str) -> dict[str, Tensor]:
    path = FILES[family]
    return read_tensors(path) if path.suffix == ".safetensors" else read_container(path).tensors


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("family", FILES)
def test_exactly_one_family_claims_a_file(family: str) -> None:
    found = shapes(in_file(family))
    assert [known.name for known in FAMILIES.values() if known.claims(found)] == [family]


@pytest.mark.parametrize("family", FILES)
def test_a_file_survives_the_way_to_our_names_and_back(family: str) -> None:
    """Bit for bit, index buffers included, which are computed anew."""
    tensors, known = in_file(family), FAMILIES[family]
    translation = known.to_canonical(tensors)
    assert translation.unexpected == ()
    window: Grid = (1, 3, 3) if family in IMAGE else (4, 3, 3)
    back = known.from_canonical(translation.tensors, window)
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor), name


@pytest.mark.parametrize("family", FAMILIES)
def test_every_familys_own_files_are_recognised_with_and_without_a_head(family: str) -> None:
    """Made from our names, so also for the families without a golden file."""
    known = FAMILIES[family]
    ours = read_checkpoint(FILES["timm" if known.dims == 2 else "official"]).tensors
    bare = {name: tensor for name, tensor in ours.items() if not name.startswith("head.")}
    for tensors in (ours, bare):
        window: Grid = (1, 3, 3) if known.dims == 2 else (4, 3, 3)
        claimed = recognise(shapes(known.from_canonical(tensors, window)))
        assert claimed is known


@pytest.mark.parametrize("family", FAMILIES)
def test_names_of_deep_models_go_both_ways(family: str) -> None:
    names = FAMILIES[family].names
    for ours in (
        "backbone.patch_embed.proj.bias",
        "backbone.layers.2.blocks.17.attn.proj.weight",
        "backbone.layers.3.blocks.1.mlp.fc2.bias",
        "backbone.layers.2.downsample.norm.weight",
        "backbone.layers.10.blocks.0.attn.relative_position_bias_table",
        "head.fc.weight",
    ):
        slot = OUR_NAMES.split(ours)
        assert slot is not None
        theirs = names.join(slot)
        assert names.split(theirs) == slot


@pytest.mark.parametrize(
    "name",
    [
        "features.1.0.norm1.weight",  # an odd number is a merging
        "features.00.0.norm1.weight",
        "features.0.0.norm1.weight.more",
        "xfeatures.0.0.norm1.weight",
        "features.0.0.norm3.weight",
    ],
)
def test_names_that_are_nearly_right_are_not_known(name: str) -> None:
    assert FAMILIES["torchvision_3d"].names.split(name) is None


def test_a_merging_cannot_stand_before_the_first_stage() -> None:
    assert FAMILIES["timm"].names.split("layers.0.downsample.norm.weight") is None


def test_swin_v2_is_seen() -> None:
    assert is_swin_v2({"layers.0.blocks.0.attn.logit_scale": None})
    assert is_swin_v2({"layers.0.blocks.0.attn.cpb_mlp.0.weight": None})
    assert not is_swin_v2(shapes(in_file("microsoft")))


def test_the_index_buffer_is_the_public_codes() -> None:
    name = "backbone.layers.0.blocks.0.attn.relative_position_index"
    assert torch.equal(index_buffer((4, 3, 3)), in_file("official")[name])


@pytest.mark.parametrize(
    ("window", "dims"),
    [
        ((8, 7, 7), 3),
        ((16, 7, 7), 3),
        ((8, 12, 12), 3),
        ((4, 3, 3), 3),
        ((1, 7, 7), 2),
        ((1, 12, 12), 2),
        ((1, 3, 3), 2),
    ],
)
def test_the_published_windows_are_read_from_their_tables(window: Grid, dims: int) -> None:
    t, h, w = (2 * n - 1 for n in window)
    assert table_windows(t * h * w, dims) == [window]


@pytest.mark.parametrize("name", PRESETS)
def test_the_papers_models_are_known_by_their_shapes(name: str) -> None:
    """No index buffer needed, so files that lack them are understood as well."""
    config = PRESETS[name]
    read = read_architecture(Path("w.pth"), FAMILIES["official"], expected_shapes(config, dims=3), index_sizes={})
    same = {"drop_path": read.drop_path, "head_dropout": read.head_dropout, "init": read.init}  # no tensor tells
    assert read == config.replace(relative_bias="official", **same)


def test_two_windows_may_fit() -> None:
    assert table_windows(9 * 9 * 9, 3) == [(41, 2, 2), (5, 5, 5), (1, 14, 14)]
