"""Hugging Face transformers' Swin, images: queries, keys and values apart.

Two namings: as on the hub and in every saved file, and as transformers 5 holds it in memory. Each also without the
``swin.`` in front, as ``SwinModel`` alone is saved.
"""

from dataclasses import replace

from videoswin.weights.formats.base import Family
from videoswin.weights.formats.name_map import BACKBONE, TABLE, NameMap

_HUB = NameMap(
    patch_proj="swin.embeddings.patch_embeddings.projection",
    patch_norm="swin.embeddings.norm",
    block="swin.encoder.layers.{i}.blocks.{j}",
    merge="swin.encoder.layers.{i}.downsample",
    norm="swin.layernorm",
    head="classifier",
    norm1="layernorm_before",
    norm2="layernorm_after",
    qkv=("attention.self.query", "attention.self.key", "attention.self.value"),
    proj="attention.output.dense",
    table=f"attention.self.{TABLE}",
    fc1="intermediate.dense",
    fc2="output.dense",
)
_MEMORY = replace(
    _HUB,
    qkv=("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    proj="attention.o_proj",
    table=f"attention.relative_position_bias.{TABLE}",
    fc1="mlp.fc1",
    fc2="mlp.fc2",
)


def _bare(names: NameMap) -> NameMap:
    return replace(names, **{part: getattr(names, part).removeprefix("swin.") for part in BACKBONE})


def _family(name: str, title: str, names: NameMap, query: str) -> Family:
    return Family(
        name=name,
        title=title,
        dims=2,
        names=names,
        requires=(query,),
        harmless=(r"(swin\.)?embeddings\.mask_token",),  # of masked pretraining
    )


_HUB_QUERY = r".*\.blocks\.0\.attention\.self\.query\.weight"
_MEMORY_QUERY = r".*\.blocks\.0\.attention\.q_proj\.weight"

TRANSFORMERS = (
    _family("transformers", "Hugging Face Swin (images)", _HUB, _HUB_QUERY),
    _family("transformers_bare", "Hugging Face SwinModel (images)", _bare(_HUB), _HUB_QUERY),
    _family("transformers5", "Hugging Face Swin in memory (images)", _MEMORY, _MEMORY_QUERY),
    _family("transformers5_bare", "Hugging Face SwinModel in memory (images)", _bare(_MEMORY), _MEMORY_QUERY),
)
