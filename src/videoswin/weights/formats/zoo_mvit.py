"""MViT v1 and v2: the names of their public files."""

from collections.abc import Mapping
from typing import Any

from videoswin.weights.formats.zoo_rules import (
    QKV,
    SAME,
    TABLE,
    VECTOR,
    Rule,
    Shapes,
    ZooFamily,
    configured,
    depth,
    need_shape,
    renamed,
)
from videoswin.zoo.mvit import MViTConfig

__all__ = ["FAMILIES"]

_OURS = "blocks.{i}"


def _block(
    theirs: str, pool: str, norm: str, proj: str, fc: tuple[str, str], widen: str, apart: bool = False
) -> list[Rule]:
    """``pool`` and ``norm``: names of a pooling convolution and its norm, with {x} for q, k and v."""
    qkv: Any = tuple(f"{theirs}.attn.{x}.{{end}}" for x in "qkv") if apart else f"{theirs}.attn.qkv.{{end}}"
    words = "{x:q|k|v}"
    return [
        *(Rule(f"{theirs}.{name}.{{end}}", f"{_OURS}.{name}.{{end}}") for name in ("norm1", "norm2")),
        Rule(qkv, f"{_OURS}.attn.qkv.{{end}}", QKV if apart else SAME),
        Rule(f"{theirs}.attn.{pool.replace('{x}', words)}.weight", f"{_OURS}.attn.pool_{{x}}.conv.weight"),
        Rule(f"{theirs}.attn.{norm.replace('{x}', words)}.{{end}}", f"{_OURS}.attn.pool_{{x}}.norm.{{end}}"),
        Rule(f"{theirs}.attn.{{r:rel_pos_h|rel_pos_w|rel_pos_t}}", f"{_OURS}.attn.{{r}}"),
        Rule(f"{theirs}.attn.{proj}.{{end}}", f"{_OURS}.attn.proj.{{end}}"),
        Rule(f"{theirs}.mlp.{fc[0]}.{{end}}", f"{_OURS}.mlp.fc1.{{end}}"),
        Rule(f"{theirs}.mlp.{fc[1]}.{{end}}", f"{_OURS}.mlp.fc2.{{end}}"),
        Rule(f"{theirs}.{widen}.{{end}}", f"{_OURS}.proj.{{end}}"),
    ]


_TORCHVISION = (
    Rule("conv_proj.{end}", "patch_embed.{end}"),
    Rule("pos_encoding.class_token", "cls_token", VECTOR),
    Rule("pos_encoding.spatial_pos", "pos_embed.spatial", TABLE),
    Rule("pos_encoding.temporal_pos", "pos_embed.temporal", TABLE),
    Rule("pos_encoding.class_pos", "pos_embed.class_pos", VECTOR),
    *_block("blocks.{i}", "pool_{x}.pool", "pool_{x}.norm_act.0", "project.0", ("0", "3"), "project"),
    Rule("norm.{end}", "norm.{end}"),
    Rule("head.1.{end}", "head.fc.{end}"),
)


def _slowfast(root: str, patch: str, norm: str, head: str) -> tuple[Rule, ...]:
    """SlowFast's names, which MMAction2 keeps but for the ends."""
    return (
        Rule(f"{root}{patch}.{{end}}", "patch_embed.{end}"),
        Rule(f"{root}cls_token", "cls_token"),
        Rule(f"{root}pos_embed_spatial", "pos_embed.spatial"),
        Rule(f"{root}pos_embed_temporal", "pos_embed.temporal"),
        Rule(f"{root}pos_embed_class", "pos_embed.class_pos"),
        *_block(f"{root}blocks.{{i}}", "pool_{x}", "norm_{x}", "proj", ("fc1", "fc2"), "proj"),
        Rule(f"{root}{norm}.{{end}}", "norm.{end}"),
        Rule(f"{head}.{{end}}", "head.fc.{end}"),
    )


_SLOWFAST = _slowfast("", "patch_embed.proj", "norm", "head.projection")
# The final norm carries the number of the last stage: 3 in all published models.
_MMACTION2 = {n: _slowfast("backbone.", "patch_embed.projection", f"norm{n}", "cls_head.fc_cls") for n in (1, 2, 3)}
_PYTORCHVIDEO = (
    Rule("patch_embed.patch_model.{end}", "patch_embed.{end}"),
    Rule("cls_positional_encoding.cls_token", "cls_token"),
    Rule("cls_positional_encoding.pos_embed_spatial", "pos_embed.spatial"),
    Rule("cls_positional_encoding.pos_embed_temporal", "pos_embed.temporal"),
    Rule("cls_positional_encoding.pos_embed_class", "pos_embed.class_pos"),
    *_block("blocks.{i}", "pool_{x}", "norm_{x}", "proj", ("fc1", "fc2"), "proj", apart=True),
    Rule("norm_embed.{end}", "norm.{end}"),
    Rule("head.proj.{end}", "head.fc.{end}"),
)


def _reader(rules: tuple[Rule, ...]) -> Any:
    def read(shapes: Shapes, given: Mapping[str, Any]) -> MViTConfig:
        ours = renamed(rules, shapes)
        patch = need_shape(ours, "patch_embed.weight")
        blocks = depth(ours, "blocks.{i}.attn.proj.weight")
        v2 = any(".attn.rel_pos_" in name for name in ours)
        widths = [need_shape(ours, f"blocks.{i}.mlp.fc2.weight")[0] for i in range(blocks)]
        widens = [i for i in range(blocks) if widths[i] != ([patch[0], *widths][i])]
        hidden = need_shape(ours, "blocks.0.mlp.fc1.weight")
        if v2:
            side = (need_shape(ours, "blocks.0.attn.rel_pos_h")[0] + 1) // 2
            steps = (need_shape(ours, "blocks.0.attn.rel_pos_t")[0] + 1) // 2
        else:
            side = round(_rows(need_shape(ours, "pos_embed.spatial")) ** 0.5)
            steps = _rows(need_shape(ours, "pos_embed.temporal"))
        return configured(
            MViTConfig,
            given,
            version=2 if v2 else 1,
            embed_dim=patch[0],
            in_channels=patch[1],
            depth=blocks,
            num_heads=patch[0] // need_shape(ours, "blocks.0.attn.pool_k.conv.weight")[0],
            scale_at=tuple(widens if v2 else [i + 1 for i in widens]),
            mlp_ratio=hidden[0] / hidden[1],
            clip_len=2 * steps,
            crop_size=4 * side,
            num_classes=ours.get("head.fc.weight", (0,))[0],
        )

    return read


def _rows(shape: tuple[int, ...]) -> int:
    """Of a table (N, C) or (1, N, C)."""
    return shape[-2]


def _family(name: str, title: str, rules: tuple[Rule, ...], requires: tuple[str, ...], **rest: Any) -> ZooFamily:
    strides = (
        "height and width are halved where the channels double; keys and values stride by kv_stride in the first block",
    )
    return ZooFamily(
        name=name,
        title=title,
        rules=rules,
        requires=requires,
        read=_reader(rules),
        asks=("kv_stride",),
        says=strides,
        **rest,
    )


MVIT_TORCHVISION = _family(
    "mvit_torchvision", "MViT, torchvision", _TORCHVISION, (r"conv_proj\.weight", r"pos_encoding\.class_token")
)
MVIT_SLOWFAST = _family(
    "mvit_slowfast", "MViT, SlowFast", _SLOWFAST, (r"patch_embed\.proj\.weight", r"blocks\.0\.attn\.pool_k\.weight"),
    forbids=(r"cls_positional_encoding\..*",),
)  # fmt: skip
MVIT_MMACTION2, *MVIT_MMACTION2_SHORT = (
    _family(
        "mvit_mmaction2" + ("" if n == 3 else f"_{n}"), "MViT, MMAction2", _MMACTION2[n],
        (r"backbone\.patch_embed\.projection\.weight", r"backbone\.blocks\.0\.attn\.pool_k\.weight", rf"backbone\.norm{n}\.weight"),
    )
    for n in (3, 2, 1)
)  # fmt: skip
MVIT_PYTORCHVIDEO = _family(
    "mvit_pytorchvideo", "MViT, pytorchvideo", _PYTORCHVIDEO, (r"patch_embed\.patch_model\.weight",),
    harmless=(r"blocks\.\d+\.attn\._attention_pool_[qkv]\..*",),  # the pooling layers, stored a second time
)  # fmt: skip

FAMILIES = (MVIT_TORCHVISION, MVIT_SLOWFAST, MVIT_MMACTION2, *MVIT_MMACTION2_SHORT, MVIT_PYTORCHVIDEO)
