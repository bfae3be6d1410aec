"""ViT, DeiT, VTN and VideoMAE: the names of their public files."""

from collections.abc import Mapping
from typing import Any

from videoswin.weights.formats.zoo_blocks import bare, hub_block, read_sizes, same_block, token_rules
from videoswin.weights.formats.zoo_rules import Rule, Shapes, ZooFamily, configured, depth, need_shape
from videoswin.zoo.vit import ViTConfig
from videoswin.zoo.vtn import VTNConfig
from videoswin.zoo.wrapped import HubVideoModelConfig

__all__ = ["FAMILIES"]

_TIMM = (
    *token_rules({"cls_token": "cls_token", "dist_token": "dist_token", "pos_embed": "pos_embed"}, "encoder."),
    Rule("patch_embed.proj.{end}", "encoder.patch_embed.proj.{end}"),
    *same_block("blocks.{i}", "encoder.blocks.{i}"),
    Rule("norm.{end}", "encoder.norm.{end}"),
    Rule("head.{end}", "head.fc.{end}"),
    Rule("head_dist.{end}", "head_dist.fc.{end}"),
)


def _read_timm(shapes: Shapes, given: Mapping[str, Any]) -> ViTConfig:
    distilled = any(name.startswith(("dist_token", "head_dist.")) for name in shapes)
    sizes = read_sizes(
        need_shape(shapes, "patch_embed.proj.weight"),
        need_shape(shapes, "blocks.0.mlp.fc1.weight"),
        need_shape(shapes, "pos_embed"),
        2 if distilled else 1,
    )
    classes = shapes.get("head.weight", (0,))[0]
    layers = depth(shapes, "blocks.{i}.norm1.weight")
    return configured(
        ViTConfig,
        given,
        depth=layers,
        distilled=distilled,
        second_head="head_dist.weight" in shapes,
        num_classes=classes,
        **sizes,
    )


VIT_TIMM = ZooFamily(
    name="vit_timm",
    title="ViT or DeiT for images, timm's and DeiT's layout",
    rules=_TIMM,
    requires=(r"patch_embed\.proj\.weight", r"pos_embed", r"blocks\.0\.attn\.qkv\.weight"),
    forbids=(r"time_embed", r"blocks\.0\.attn\.pool_k\.weight", r"temporal_encoder\..*"),
    read=_read_timm,
    asks=("num_heads",),
)


def _hub_vit(root: str, head: str, distilled: str = "") -> tuple[Rule, ...]:
    tokens = {f"{root}.embeddings.cls_token": "cls_token", f"{root}.embeddings.position_embeddings": "pos_embed"}
    if distilled:
        tokens[f"{root}.embeddings.distillation_token"] = "dist_token"
    return (
        *token_rules(tokens, "encoder."),
        Rule(f"{root}.embeddings.patch_embeddings.projection.{{end}}", "encoder.patch_embed.proj.{end}"),
        *hub_block(f"{root}.encoder.layer.{{i}}", "encoder.blocks.{i}", qkv=False),
        Rule(f"{root}.layernorm.{{end}}", "encoder.norm.{end}"),
        Rule(f"{head}.{{end}}", "head.fc.{end}"),
        *([Rule(f"{distilled}.{{end}}", "head_dist.fc.{end}")] if distilled else []),
    )


def _read_hub_vit(root: str, head: str, distilled: bool = False, second_head: bool = False) -> Any:
    def read(shapes: Shapes, given: Mapping[str, Any]) -> ViTConfig:
        sizes = read_sizes(
            need_shape(shapes, f"{root}.embeddings.patch_embeddings.projection.weight"),
            need_shape(shapes, f"{root}.encoder.layer.0.intermediate.dense.weight"),
            need_shape(shapes, f"{root}.embeddings.position_embeddings"),
            2 if distilled else 1,
        )
        layers = depth(shapes, f"{root}.encoder.layer.{{i}}.layernorm_before.weight")
        classes = shapes.get(f"{head}.weight", (0,))[0]
        return configured(
            ViTConfig,
            given,
            depth=layers,
            distilled=distilled,
            second_head=second_head,
            num_classes=classes,
            eps=1e-12,
            **sizes,
        )

    return read


_HUB_EPS = "layer norms have eps 1e-12, the library's default, unless its config.json says otherwise"
VIT_HUB = ZooFamily(
    name="vit_transformers",
    title="ViT for images, transformers",
    rules=_hub_vit("vit", "classifier"),
    requires=(r"vit\.embeddings\.cls_token", r"vit\.encoder\.layer\.0\.attention\.attention\.query\.weight"),
    read=_read_hub_vit("vit", "classifier"),
    harmless=(r"vit\.pooler\..*",),
    asks=("num_heads",),
    says=(_HUB_EPS,),
)
DEIT_HUB = ZooFamily(
    name="deit_transformers",
    title="DeiT with one head for images, transformers",
    rules=_hub_vit("deit", "classifier", "distillation_classifier"),
    requires=(r"deit\.embeddings\.distillation_token",),
    forbids=(r"(distillation|cls)_classifier\..*",),
    read=_read_hub_vit("deit", "classifier", distilled=True),
    harmless=(r"deit\.pooler\..*",),
    asks=("num_heads",),
    says=(_HUB_EPS,),
)
DEIT_DISTILLED_HUB = ZooFamily(
    name="deit_distilled_transformers",
    title="DeiT with two heads for images, transformers",
    rules=_hub_vit("deit", "cls_classifier", "distillation_classifier"),
    requires=(r"deit\.embeddings\..*", r"distillation_classifier\..*"),
    read=_read_hub_vit("deit", "cls_classifier", distilled=True, second_head=True),
    asks=("num_heads",),
    says=(_HUB_EPS,),
)

_HUB_PATCH = "embeddings.patch_embeddings.projection.weight"
VIT_HUB_BARE = bare(VIT_HUB, "vit", forbids=(r"embeddings\.distillation_token",), axes=(_HUB_PATCH, 4))
DEIT_HUB_BARE = bare(DEIT_HUB, "deit", axes=(_HUB_PATCH, 4))

# VTN.

_LF = "temporal_encoder.encoder.layer.{i}"
_LF_LAYER = {
    **{f"attention.self.{name}": f"attn.{name}" for part in ("query", "key", "value") for name in (part, f"{part}_global")},
    "attention.output.dense": "attn.out",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "norm2",
}  # fmt: skip
_VTN = (
    Rule("cls_token", "cls_token"),
    *(Rule(f"backbone.{name}", f"encoder.{name}") for name in ("cls_token", "pos_embed")),
    Rule("backbone.patch_embed.proj.{end}", "encoder.patch_embed.proj.{end}"),
    *same_block("backbone.blocks.{i}", "encoder.blocks.{i}"),
    Rule("backbone.norm.{end}", "encoder.norm.{end}"),
    Rule("temporal_encoder.embeddings.position_embeddings.weight", "position_embed.weight"),
    Rule("temporal_encoder.embeddings.token_type_embeddings.weight", "type_embed.weight"),
    Rule("temporal_encoder.embeddings.LayerNorm.{end}", "embed_norm.{end}"),
    *(Rule(f"{_LF}.{t}.{{end}}", f"layers.{{i}}.{o}.{{end}}") for t, o in _LF_LAYER.items()),
    Rule("mlp_head.0.{end}", "head.norm.{end}"),
    Rule("mlp_head.1.{end}", "head.hidden.{end}"),
    Rule("mlp_head.4.{end}", "head.fc.{end}"),
)


def _read_vtn(shapes: Shapes, given: Mapping[str, Any]) -> VTNConfig:
    sizes = read_sizes(
        need_shape(shapes, "backbone.patch_embed.proj.weight"),
        need_shape(shapes, "backbone.blocks.0.mlp.fc1.weight"),
        need_shape(shapes, "backbone.pos_embed"),
        1,
    )
    hidden = need_shape(shapes, "temporal_encoder.encoder.layer.0.intermediate.dense.weight")
    return configured(
        VTNConfig,
        given,
        depth=depth(shapes, "backbone.blocks.{i}.norm1.weight"),
        temporal_depth=depth(shapes, f"{_LF}.intermediate.dense.weight"),
        temporal_mlp_ratio=hidden[0] / hidden[1],
        positions=need_shape(shapes, "temporal_encoder.embeddings.position_embeddings.weight")[0],
        num_classes=shapes.get("mlp_head.4.weight", (0,))[0],
        **sizes,
    )


VTN_OFFICIAL = ZooFamily(
    name="vtn_official",
    title="VTN, official",
    rules=_VTN,
    requires=(r"temporal_encoder\..*", r"backbone\.blocks\.0\..*"),  # below "backbone." it is a whole ViT
    read=_read_vtn,
    harmless=(r"temporal_encoder\.embeddings\.position_ids", r"temporal_encoder\.embeddings\.word_embeddings\..*",
              r"temporal_encoder\.pooler\..*"),
    asks=("num_heads", "window", "frame_interval"),
)  # fmt: skip

# VideoMAE. The model is the library's own, which keeps these names but for two biases.

_MAE_ATTENTION = "videomae.encoder.layer.{i}.attention.attention"


def _read_videomae(shapes: Shapes, given: Mapping[str, Any]) -> HubVideoModelConfig:
    patch = need_shape(shapes, "videomae.embeddings.patch_embeddings.projection.weight")
    hidden = need_shape(shapes, "videomae.encoder.layer.0.intermediate.dense.weight")
    return configured(
        HubVideoModelConfig,
        given,
        embed_dim=patch[0],
        in_channels=patch[1],
        patch_size=patch[3],
        mlp_ratio=hidden[0] / patch[0],
        depth=depth(shapes, "videomae.encoder.layer.{i}.layernorm_before.weight"),
        num_classes=shapes.get("classifier.weight", (0,))[0],
    )


VIDEOMAE_HUB = ZooFamily(
    name="videomae_transformers",
    title="VideoMAE, transformers",
    rules=(
        Rule(f"{_MAE_ATTENTION}.q_bias", f"net.{_MAE_ATTENTION}.query.bias"),
        Rule(f"{_MAE_ATTENTION}.v_bias", f"net.{_MAE_ATTENTION}.value.bias"),
        Rule("videomae.{rest:.+}", "net.videomae.{rest}"),
        Rule("fc_norm.{end}", "net.fc_norm.{end}"),
        Rule("classifier.{end}", "head.fc.{end}"),
    ),
    requires=(r"videomae\.embeddings\.patch_embeddings\.projection\.weight", r"fc_norm\.weight"),
    read=_read_videomae,
    asks=("num_heads", "clip_len", "crop_size"),
)


def _read_vjepa2(shapes: Shapes, given: Mapping[str, Any]) -> HubVideoModelConfig:
    patch = need_shape(shapes, "vjepa2.encoder.embeddings.patch_embeddings.proj.weight")
    hidden = need_shape(shapes, "vjepa2.encoder.layer.0.mlp.fc1.weight")
    return configured(
        HubVideoModelConfig,
        given,
        architecture="vjepa2",
        embed_dim=patch[0],
        in_channels=patch[1],
        patch_size=patch[3],
        mlp_ratio=hidden[0] / patch[0],
        depth=depth(shapes, "vjepa2.encoder.layer.{i}.norm1.weight"),
        eps=1e-6,
        num_classes=shapes.get("classifier.weight", (0,))[0],
    )


VJEPA2_HUB = ZooFamily(
    name="vjepa2_transformers",
    title="V-JEPA 2, transformers",
    rules=(
        Rule("vjepa2.{rest:.+}", "net.vjepa2.{rest}"),
        Rule("pooler.{rest:.+}", "net.pooler.{rest}"),
        Rule("classifier.{end}", "head.fc.{end}"),
    ),
    requires=(r"vjepa2\.encoder\.embeddings\.patch_embeddings\.proj\.weight", r"pooler\.query_tokens"),
    read=_read_vjepa2,
    asks=("num_heads", "clip_len", "crop_size"),
)

FAMILIES = (
    VIT_TIMM, VIT_HUB, VIT_HUB_BARE, DEIT_HUB, DEIT_HUB_BARE, DEIT_DISTILLED_HUB, VTN_OFFICIAL, VIDEOMAE_HUB, VJEPA2_HUB,
)  # fmt: skip
