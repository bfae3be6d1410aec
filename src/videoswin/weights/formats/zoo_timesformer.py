"""TimeSformer: the names of its public files."""

from collections.abc import Mapping
from typing import Any

from videoswin.weights.formats.zoo_blocks import bare, hub_block, read_sizes, same_block, token_rules
from videoswin.weights.formats.zoo_rules import Rule, Shapes, ZooFamily, configured, depth, need_shape
from videoswin.zoo.timesformer import TimeSformerConfig

__all__ = ["FAMILIES"]

_TS_STEP = {
    "temporal_norm1": "norm",
    "temporal_attn.qkv": "attn.qkv",
    "temporal_attn.proj": "attn.proj",
    "temporal_fc": "fc",
}
_TS_TOKENS = ("cls_token", "pos_embed", "time_embed")
_OFFICIAL = (
    *(Rule(f"model.{name}", name) for name in _TS_TOKENS),
    Rule("model.patch_embed.proj.{end}", "patch_embed.proj.{end}"),
    *same_block("model.blocks.{i}", "blocks.{i}"),
    *(Rule(f"model.blocks.{{i}}.{t}.{{end}}", f"blocks.{{i}}.steps.0.{o}.{{end}}") for t, o in _TS_STEP.items()),
    Rule("model.norm.{end}", "norm.{end}"),
    Rule("model.head.{end}", "head.fc.{end}"),
)


def _kind(shapes: Shapes, time: str, step: str) -> str:
    if any(step in name for name in shapes):
        return "divided"
    return "joint" if time in shapes else "space"


def _read_official(shapes: Shapes, given: Mapping[str, Any]) -> TimeSformerConfig:
    sizes = read_sizes(
        need_shape(shapes, "model.patch_embed.proj.weight"),
        need_shape(shapes, "model.blocks.0.mlp.fc1.weight"),
        need_shape(shapes, "model.pos_embed"),
        1,
    )
    return configured(
        TimeSformerConfig,
        given,
        attention=_kind(shapes, "model.time_embed", ".temporal_"),
        clip_len=shapes.get("model.time_embed", (1, 8))[1],
        depth=depth(shapes, "model.blocks.{i}.norm1.weight"),
        num_classes=shapes.get("model.head.weight", (0,))[0],
        **sizes,
    )


TIMESFORMER_OFFICIAL = ZooFamily(
    name="timesformer_official",
    title="TimeSformer, official",
    rules=_OFFICIAL,
    requires=(r"model\.pos_embed", r"model\.blocks\.0\.attn\.qkv\.weight"),
    read=_read_official,
    asks=("num_heads",),
)

_HUB_TS = "timesformer.encoder.layer.{i}"
_TS_HUB_TOKENS = {
    "timesformer.embeddings.cls_token": "cls_token",
    "timesformer.embeddings.position_embeddings": "pos_embed",
    "timesformer.embeddings.time_embeddings": "time_embed",
}
_TS_HUB = (
    *token_rules(_TS_HUB_TOKENS, ""),
    Rule("timesformer.embeddings.patch_embeddings.projection.{end}", "patch_embed.proj.{end}"),
    *hub_block(_HUB_TS, "blocks.{i}", qkv=True),
    Rule(f"{_HUB_TS}.temporal_layernorm.{{end}}", "blocks.{i}.steps.0.norm.{end}"),
    Rule(f"{_HUB_TS}.temporal_attention.attention.qkv.{{end}}", "blocks.{i}.steps.0.attn.qkv.{end}"),
    Rule(f"{_HUB_TS}.temporal_attention.output.dense.{{end}}", "blocks.{i}.steps.0.attn.proj.{end}"),
    Rule(f"{_HUB_TS}.temporal_dense.{{end}}", "blocks.{i}.steps.0.fc.{end}"),
    Rule("timesformer.layernorm.{end}", "norm.{end}"),
    Rule("classifier.{end}", "head.fc.{end}"),
)


def _read_ts_hub(shapes: Shapes, given: Mapping[str, Any]) -> TimeSformerConfig:
    sizes = read_sizes(
        need_shape(shapes, "timesformer.embeddings.patch_embeddings.projection.weight"),
        need_shape(shapes, "timesformer.encoder.layer.0.intermediate.dense.weight"),
        need_shape(shapes, "timesformer.embeddings.position_embeddings"),
        1,
    )
    time = "timesformer.embeddings.time_embeddings"
    return configured(
        TimeSformerConfig,
        given,
        attention=_kind(shapes, time, ".temporal_"),
        clip_len=shapes.get(time, (1, 8))[1],
        depth=depth(shapes, "timesformer.encoder.layer.{i}.layernorm_before.weight"),
        num_classes=shapes.get("classifier.weight", (0,))[0],
        **sizes,
    )


TIMESFORMER_HUB = ZooFamily(
    name="timesformer_transformers",
    title="TimeSformer, transformers",
    rules=_TS_HUB,
    requires=(
        r"timesformer\.embeddings\.cls_token",
        r"timesformer\.encoder\.layer\.0\.attention\.attention\.qkv\.weight",
    ),
    read=_read_ts_hub,
    asks=("num_heads",),
    says=("space only: averaged over the frames, as the official code, where transformers answers for each frame",),
)
TIMESFORMER_HUB_BARE = bare(TIMESFORMER_HUB, "timesformer")

_MM_LAYER = "backbone.transformer_layers.layers.{i}"


def _mm_attention(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}.attn.in_proj_{{end}}", f"{ours}.qkv.{{end}}"),
        Rule(f"{theirs}.attn.out_proj.{{end}}", f"{ours}.proj.{{end}}"),
    ]


def _mm_timesformer(divided: bool) -> tuple[Rule, ...]:
    rules = [Rule(f"backbone.{name}", name) for name in _TS_TOKENS]
    rules += [Rule("backbone.patch_embed.projection.{end}", "patch_embed.proj.{end}")]
    layer = _MM_LAYER
    if divided:
        rules += [
            Rule(f"{layer}.attentions.0.norm.{{end}}", "blocks.{i}.steps.0.norm.{end}"),
            *_mm_attention(f"{layer}.attentions.0", "blocks.{i}.steps.0.attn"),
            Rule(f"{layer}.attentions.0.temporal_fc.{{end}}", "blocks.{i}.steps.0.fc.{end}"),
            Rule(f"{layer}.attentions.1.norm.{{end}}", "blocks.{i}.norm1.{end}"),
            *_mm_attention(f"{layer}.attentions.1", "blocks.{i}.attn"),
            Rule(f"{layer}.ffns.0.norm.{{end}}", "blocks.{i}.norm2.{end}"),
        ]
    else:
        rules += [
            Rule(f"{layer}.norms.0.{{end}}", "blocks.{i}.norm1.{end}"),
            *_mm_attention(f"{layer}.attentions.0", "blocks.{i}.attn"),
            Rule(f"{layer}.norms.1.{{end}}", "blocks.{i}.norm2.{end}"),
        ]
    return (
        *rules,
        Rule(f"{layer}.ffns.0.layers.0.0.{{end}}", "blocks.{i}.mlp.fc1.{end}"),
        Rule(f"{layer}.ffns.0.layers.1.{{end}}", "blocks.{i}.mlp.fc2.{end}"),
        Rule("backbone.norm.{end}", "norm.{end}"),
        Rule("cls_head.fc_cls.{end}", "head.fc.{end}"),
    )


def _read_ts_mm(shapes: Shapes, given: Mapping[str, Any]) -> TimeSformerConfig:
    sizes = read_sizes(
        need_shape(shapes, "backbone.patch_embed.projection.weight"),
        need_shape(shapes, "backbone.transformer_layers.layers.0.ffns.0.layers.0.0.weight"),
        need_shape(shapes, "backbone.pos_embed"),
        1,
    )
    step = ".temporal_fc."
    return configured(
        TimeSformerConfig,
        given,
        attention=_kind(shapes, "backbone.time_embed", step),
        clip_len=shapes.get("backbone.time_embed", (1, 8))[1],
        depth=depth(shapes, f"{_MM_LAYER}.ffns.0.layers.1.weight"),
        num_classes=shapes.get("cls_head.fc_cls.weight", (0,))[0],
        **sizes,
    )


TIMESFORMER_MMACTION2 = ZooFamily(
    name="timesformer_mmaction2",
    title="TimeSformer, divided, MMAction2",
    rules=_mm_timesformer(divided=True),
    requires=(r"backbone\.transformer_layers\.layers\.0\.attentions\.0\.temporal_fc\..*",),
    read=_read_ts_mm,
    asks=("num_heads",),
)
TIMESFORMER_MMACTION2_PLAIN = ZooFamily(
    name="timesformer_mmaction2_plain",
    title="TimeSformer, joint or space only, MMAction2",
    rules=_mm_timesformer(divided=False),
    requires=(r"backbone\.transformer_layers\.layers\.0\.norms\.0\..*",),
    read=_read_ts_mm,
    asks=("num_heads",),
)

FAMILIES = (
    TIMESFORMER_OFFICIAL,
    TIMESFORMER_HUB,
    TIMESFORMER_HUB_BARE,
    TIMESFORMER_MMACTION2,
    TIMESFORMER_MMACTION2_PLAIN,
)
