"""ViViT: the names of its public files. Those of a flax file are its keys joined by "/", without "optimizer/target/"."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from videoswin.weights.formats.zoo_blocks import bare, hub_block, token_rules
from videoswin.weights.formats.zoo_rules import Change, Rule, Shapes, ZooFamily, configured, depth, need_shape
from videoswin.zoo.vivit import ViViTConfig

__all__ = ["FAMILIES", "vivit_scenic"]


_DENSE = Change(lambda t: t[0].t().contiguous(), lambda t: [t.t().contiguous()])
_TUBELETS = Change(
    lambda t: t[0].permute(4, 3, 0, 1, 2).contiguous(), lambda t: [t.permute(2, 3, 4, 1, 0).contiguous()]
)
"""(t, h, w, in, out) -> (out, in, t, h, w)."""


def _flax_heads(num_heads: int) -> dict[str, Change]:
    """Kernels of q, k, v are (in, heads, c), their biases (heads, c), the output's kernel (heads, c, out)."""

    def qkv_back(t: Tensor) -> list[Tensor]:
        return [part.t().unflatten(1, (num_heads, -1)).contiguous() for part in t.chunk(3)]

    return {
        "kernel": Change(lambda t: torch.cat([part.flatten(1).t() for part in t]), qkv_back),
        "bias": Change(
            lambda t: torch.cat([part.flatten() for part in t]),
            lambda t: [part.unflatten(0, (num_heads, -1)).contiguous() for part in t.chunk(3)],
        ),
        "out": Change(
            lambda t: t[0].flatten(0, 1).t().contiguous(), lambda t: [t.t().unflatten(0, (num_heads, -1)).contiguous()]
        ),
    }


def _flax_norm(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}/scale", f"{ours}.weight"), Rule(f"{theirs}/bias", f"{ours}.bias")]


def _flax_dense(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}/kernel", f"{ours}.weight", _DENSE), Rule(f"{theirs}/bias", f"{ours}.bias")]


def _flax_attention(theirs: str, ours: str, num_heads: int) -> list[Rule]:
    heads = _flax_heads(num_heads)
    three = ("query", "key", "value")
    return [
        Rule(tuple(f"{theirs}/{p}/kernel" for p in three), f"{ours}.qkv.weight", heads["kernel"]),
        Rule(tuple(f"{theirs}/{p}/bias" for p in three), f"{ours}.qkv.bias", heads["bias"]),
        Rule(f"{theirs}/out/kernel", f"{ours}.proj.weight", heads["out"]),
        Rule(f"{theirs}/out/bias", f"{ours}.proj.bias"),
    ]


def _flax_encoder(theirs: str, ours: str, num_heads: int) -> list[Rule]:
    block, own = f"{theirs}/encoderblock_{{i}}", f"{ours}blocks.{{i}}"
    attention = "MultiHeadDotProductAttention"
    return [
        Rule(f"{theirs}/posembed_input/pos_embedding", f"{ours}pos_embed"),
        *_flax_norm(f"{theirs}/encoder_norm", f"{ours}norm"),
        *_flax_norm(f"{block}/LayerNorm_0", f"{own}.norm1"),
        *_flax_norm(f"{block}/LayerNorm_1", f"{own}.norm2"),
        *_flax_attention(f"{block}/{attention}_0", f"{own}.attn", num_heads),
        *_flax_dense(f"{block}/MlpBlock_0/Dense_0", f"{own}.mlp.fc1"),
        *_flax_dense(f"{block}/MlpBlock_0/Dense_1", f"{own}.mlp.fc2"),
        # Model 3.
        *(rule for n in ("time", "space") for rule in _flax_norm(f"{block}/LayerNorm_{n}", f"{own}.norm_{n}")),
        *_flax_norm(f"{block}/LayerNorm_mlp", f"{own}.norm_mlp"),
        *(
            rule
            for n in ("time", "space")
            for rule in _flax_attention(f"{block}/{attention}_{n}", f"{own}.attn_{n}", num_heads)
        ),
        *_flax_dense(f"{block}/MlpBlock/Dense_0", f"{own}.mlp.fc1"),
        *_flax_dense(f"{block}/MlpBlock/Dense_1", f"{own}.mlp.fc2"),
    ]


def vivit_scenic(num_heads: int, model: int) -> ZooFamily:
    """scenic's files of one of the four models; the shapes of a flax file tell the heads, which the way back needs."""
    spatial = "SpatialTransformer" if model == 2 else "Transformer"
    attention = "MultiHeadDotProductAttention_" + ("time" if model == 3 else "0")
    encoder = _flax_encoder(spatial, "", num_heads)
    encoder = [r for r in encoder if ("MlpBlock/" in str(r.theirs)) == (model == 3) or "MlpBlock" not in str(r.theirs)]
    rules = [
        Rule("embedding/kernel", "patch_embed.weight", _TUBELETS),
        Rule("embedding/bias", "patch_embed.bias"),
        *encoder,
        *_flax_dense("output_projection", "head.fc"),
    ]
    if model == 2:
        rules += [
            Rule("cls_SpatialTransformer", "cls_token"),
            Rule("cls_TemporalTransformer", "temporal.cls_token"),
            *_flax_encoder("TemporalTransformer", "temporal.", num_heads),
        ]
    if model == 1:
        rules += [Rule("cls", "cls_token")]
    requires = {
        1: (r"cls", r"Transformer/encoderblock_0/.*"),
        2: (r"cls_SpatialTransformer",),
        3: (r"Transformer/encoderblock_0/LayerNorm_time/scale",),
        4: (r"Transformer/encoderblock_0/LayerNorm_0/scale",),
    }

    def read(shapes: Shapes, given: Mapping[str, Any]) -> ViViTConfig:
        kernel = need_shape(shapes, "embedding/kernel")
        positions = need_shape(shapes, f"{spatial}/posembed_input/pos_embedding")[1]
        query = need_shape(shapes, f"{spatial}/encoderblock_0/{attention}/query/kernel")
        mlp = need_shape(shapes, f"{spatial}/encoderblock_0/MlpBlock{'' if model == 3 else '_0'}/Dense_0/kernel")
        settings: dict[str, Any] = {
            "model": model, "embed_dim": kernel[4], "in_channels": kernel[3], "tubelet": kernel[0],
            "patch_size": kernel[2], "num_heads": query[1], "mlp_ratio": mlp[1] / mlp[0],
            "depth": depth(shapes, f"{spatial}/encoderblock_{{i}}/MlpBlock{'' if model == 3 else '_0'}/Dense_0/kernel"),
            "num_classes": shapes.get("output_projection/kernel", (0, 0))[1],
        }  # fmt: skip
        if model == 2:
            steps = need_shape(shapes, "TemporalTransformer/posembed_input/pos_embedding")[1] - 1
            settings["crop_size"] = kernel[2] * round((positions - 1) ** 0.5)
            settings["temporal_depth"] = depth(shapes, "TemporalTransformer/encoderblock_{i}/LayerNorm_0/scale")
        else:
            # The table holds time times space: what is published has square frames, and 16 steps unless said otherwise.
            places = positions - (1 if model == 1 else 0)
            steps = given.get("clip_len", 32) // kernel[0]
            side = round((places / steps) ** 0.5)
            if model == 4 and steps * side**2 == positions - 1:
                raise KeyError("cls")  # the names of model 4 are those of model 1 without its class token
            settings["crop_size"] = kernel[2] * side
        return configured(ViViTConfig, given, **settings | {"clip_len": steps * kernel[0]})

    return ZooFamily(
        name=f"vivit_scenic_model{model}",
        title=f"ViViT model {model}, scenic",
        rules=tuple(rules),
        requires=requires[model],
        forbids=() if model != 4 else (r"cls", r".*LayerNorm_time/scale"),
        read=read,
        asks=() if model == 2 else ("clip_len", "order") if model == 3 else ("clip_len",),
    )


_VIVIT_HUB_TOKENS = {"vivit.embeddings.cls_token": "cls_token", "vivit.embeddings.position_embeddings": "pos_embed"}


def _read_vivit_hub(shapes: Shapes, given: Mapping[str, Any]) -> ViViTConfig:
    patch = need_shape(shapes, "vivit.embeddings.patch_embeddings.projection.weight")
    places = need_shape(shapes, "vivit.embeddings.position_embeddings")[1] - 1
    frames = given.get("clip_len", 32)
    hidden = need_shape(shapes, "vivit.encoder.layer.0.intermediate.dense.weight")
    return configured(
        ViViTConfig,
        given,
        embed_dim=patch[0],
        in_channels=patch[1],
        tubelet=patch[2],
        patch_size=patch[3],
        mlp_ratio=hidden[0] / patch[0],
        clip_len=frames,
        crop_size=patch[3] * round((places / (frames // patch[2])) ** 0.5),
        depth=depth(shapes, "vivit.encoder.layer.{i}.layernorm_before.weight"),
        num_classes=shapes.get("classifier.weight", (0,))[0],
    )


VIVIT_HUB = ZooFamily(
    name="vivit_transformers",
    title="ViViT model 1, transformers",
    rules=(
        *token_rules(_VIVIT_HUB_TOKENS, ""),
        Rule("vivit.embeddings.patch_embeddings.projection.{end}", "patch_embed.{end}"),
        *hub_block("vivit.encoder.layer.{i}", "blocks.{i}", qkv=False),
        Rule("vivit.layernorm.{end}", "norm.{end}"),
        Rule("classifier.{end}", "head.fc.{end}"),
    ),
    requires=(r"vivit\.embeddings\.cls_token", r"vivit\.encoder\.layer\.0\.attention\.attention\.query\.weight"),
    read=_read_vivit_hub,
    harmless=(r"vivit\.pooler\..*",),
    asks=("num_heads", "clip_len"),
)

VIVIT_HUB_BARE = bare(VIVIT_HUB, "vivit", axes=("embeddings.patch_embeddings.projection.weight", 5))

FAMILIES = (VIVIT_HUB, VIVIT_HUB_BARE)
