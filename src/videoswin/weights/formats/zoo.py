"""All families of the zoo's public files, and which of them a table of tensors is."""

from collections import Counter
from collections.abc import Iterator

from videoswin.weights.formats import zoo_caffe2, zoo_conv, zoo_mvit, zoo_resnet, zoo_timesformer, zoo_vit, zoo_vivit
from videoswin.weights.formats.zoo_rules import Shapes, ZooFamily, occurs

__all__ = ["ZOO_FAMILIES", "nearly", "recognise_zoo", "zoo_prefixes"]

ZOO_FAMILIES: tuple[ZooFamily, ...] = (
    *zoo_conv.FAMILIES,
    *zoo_resnet.FAMILIES,
    *zoo_caffe2.FAMILIES,
    *zoo_vit.FAMILIES,
    *zoo_timesformer.FAMILIES,
    *zoo_vivit.FAMILIES,
    *zoo_mvit.FAMILIES,
)
"""Of videos, and of images whose features are averaged over the frames; scenic's ViViT beside them, whose rules depend on the
number of heads."""
_MAX_PREFIXES = 10


def recognise_zoo(shapes: Shapes) -> ZooFamily | None:
    """The family of a file with these tensors; None if no family claims it."""
    return next((family for family in _families(shapes) if family.claims(shapes)), None)


def nearly(shapes: Shapes) -> tuple[ZooFamily, str] | None:
    """The family that almost all of these names are of, and a tensor without which they are no file of it; None: there is
    no such family. For the error alone: it compares every name with every rule."""
    best: tuple[float, ZooFamily] | None = None
    for family in _families(shapes):
        known = sum(family.knows(name) for name in shapes) / max(len(shapes), 1)
        if known > 0.9 and (best is None or known > best[0]):
            best = known, family
    if best is None:
        return None
    missing = [pattern for pattern in best[1].requires if not occurs(pattern, shapes)]
    return (best[1], missing[0].replace("\\", "")) if missing else None


def zoo_prefixes(names: Shapes) -> list[str]:
    """What the names of a model may begin with, the likeliest first: nothing, or attributes that a training put it below."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        counts.update(".".join(parts[:depth]) + "." for depth in (1, 2) if len(parts) > depth)
    return ["", *(prefix for prefix, _ in counts.most_common(_MAX_PREFIXES))]


def _families(shapes: Shapes) -> Iterator[ZooFamily]:
    yield from ZOO_FAMILIES
    # The kernel of the queries is (in, heads, c).
    heads = next((shape[1] for name, shape in shapes.items() if name.endswith("/query/kernel") and len(shape) == 3), 0)
    if heads:
        yield from (zoo_vivit.vivit_scenic(heads, model) for model in (2, 3, 1, 4))
