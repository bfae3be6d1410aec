"""Names of transformer blocks that several families share: timm's, and those of the transformers library."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from videoswin.weights.formats.zoo_rules import QKV, SAME, Rule, Shapes, ZooFamily

__all__ = ["bare", "hub_block", "read_sizes", "same_block", "token_rules"]

_PARTS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


def same_block(theirs: str, ours: str, parts: tuple[str, ...] = _PARTS) -> list[Rule]:
    """A block whose parts have our names: timm's, the official TimeSformer's."""
    return [Rule(f"{theirs}.{part}.{{end}}", f"{ours}.{part}.{{end}}") for part in parts]


def hub_block(theirs: str, ours: str, qkv: bool) -> list[Rule]:
    """A block as transformers writes it: queries, keys and values apart, or (TimeSformer) together."""
    inner = f"{theirs}.attention.attention"
    apart: Any = f"{inner}.qkv.{{end}}" if qkv else tuple(f"{inner}.{p}.{{end}}" for p in ("query", "key", "value"))
    return [
        Rule(f"{theirs}.layernorm_before.{{end}}", f"{ours}.norm1.{{end}}"),
        Rule(apart, f"{ours}.attn.qkv.{{end}}", SAME if qkv else QKV),
        Rule(f"{theirs}.attention.output.dense.{{end}}", f"{ours}.attn.proj.{{end}}"),
        Rule(f"{theirs}.layernorm_after.{{end}}", f"{ours}.norm2.{{end}}"),
        Rule(f"{theirs}.intermediate.dense.{{end}}", f"{ours}.mlp.fc1.{{end}}"),
        Rule(f"{theirs}.output.dense.{{end}}", f"{ours}.mlp.fc2.{{end}}"),
    ]


def token_rules(theirs: Mapping[str, str], root: str) -> list[Rule]:
    """Tensors by their full names; ours below ``root``."""
    return [Rule(name, f"{root}{ours}") for name, ours in theirs.items()]


def read_sizes(patch: tuple[int, ...], fc1: tuple[int, ...], positions: tuple[int, ...], extra: int) -> dict[str, Any]:
    """Sizes that the shapes of the patch embedding, the first MLP and the positions tell."""
    return {
        "embed_dim": patch[0],
        "in_channels": patch[1],
        "patch_size": patch[-1],
        "mlp_ratio": fc1[0] / patch[0],
        "crop_size": patch[-1] * round((positions[1] - extra) ** 0.5),
    }


def bare(family: ZooFamily, root: str, **changes: Any) -> ZooFamily:
    """A family of the transformers library as it writes the model without its head (``ViTModel``): names lack their root."""

    def without(name: str) -> str:
        return name.removeprefix(f"{root}.").removeprefix(rf"{root}\.")

    def read(shapes: Shapes, given: Mapping[str, Any]) -> Any:
        try:
            return family.read({f"{root}.{name}": shape for name, shape in shapes.items()}, given)
        except KeyError as error:
            raise KeyError(without(str(error.args[0]))) from error

    def renamed(rule: Rule) -> Rule:
        names = rule.theirs
        return replace(rule, theirs=without(names) if isinstance(names, str) else tuple(map(without, names)))

    own = replace(
        family,
        name=family.name.replace("_transformers", "_bare_transformers"),
        title=f"{family.title}, without a head",
        rules=tuple(renamed(rule) for rule in family.rules),
        requires=tuple(map(without, family.requires)),
        harmless=tuple(map(without, family.harmless)),
        read=read,
        in_the_open=True,
    )
    return replace(own, **changes)
