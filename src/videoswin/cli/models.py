"""``videoswin models``: every name that can be loaded, and what stands behind it."""

import json
from typing import Annotated, Any

from cyclopts import Parameter

from videoswin.cli.output import DONE, add_row, show, table

__all__ = ["models"]


def models(
    *,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """List the models that have a name.

    Checkpoints that come with videoswin; published ones, which are downloaded when they are first used; image models to
    inflate; and architectures without weights. Accuracies of published models are their publishers', each by the test
    protocol beside it, so that those of two publishers do not compare. This command asks no network.

    For example:

        videoswin models
        videoswin predict clip.mp4 --weights swin3d_t_k400
        videoswin train DATA --weights swin3d_t_k400 --out runs/mine

    Parameters
    ----------
    json_only
        Print one JSON object, with addresses, licences and sources, and nothing else.
    """
    facts = _facts()
    if json_only:
        print(json.dumps(facts))
    else:
        _show(facts)
    return DONE


def _facts() -> dict[str, Any]:
    from videoswin.classifier.bundled import bundled_checkpoints
    from videoswin.classifier.published import PUBLISHED
    from videoswin.classifier.published_zoo import PUBLISHED_ZOO
    from videoswin.model.presets import PRESETS
    from videoswin.storage.cache import cache_folder
    from videoswin.storage.download import cached_file
    from videoswin.zoo.names import ZOO_NAMES

    published = [_described(entry, cached_file(entry.file)) for entry in PUBLISHED.values()]
    zoo = [_described(entry, cached_file(entry.file)) for entry in PUBLISHED_ZOO.values()]
    return {
        "bundled": list(bundled_checkpoints()),
        "published": published,
        "zoo": zoo,
        "architectures": [*PRESETS, *ZOO_NAMES],
        "cache": str(cache_folder()),
    }


def _described(entry: Any, cached: Any) -> dict[str, Any]:
    return entry.to_dict() | {"cached": str(cached) if cached else None}


def _show(facts: dict[str, Any]) -> None:
    show(f"With videoswin: {', '.join(facts['bundled']) or 'none'}")
    for kind, title in (
        ("video", "Published video models"),
        ("image", "Published image models, for videoswin.inflate"),
    ):
        show()
        show(f"{title}:")
        show()
        _show_published([entry for entry in facts["published"] if entry["kind"] == kind])
    show()
    show("Published models of other systems (docs/zoo.md), by publisher:")
    show()
    _show_published(facts["zoo"])
    show()
    show(f"Architectures without weights: {', '.join(facts['architectures'])}")
    show(f"Downloads are kept in {facts['cache']}")


def _show_published(entries: list[dict[str, Any]]) -> None:
    numbers = ("top-1", "M params", "GMACs")
    listing = table("name", "data", "top-1", "tested by", "M params", "GMACs", "licence", "here", right=numbers)
    for entry in entries:
        add_row(
            listing,
            entry["name"],
            entry["data"],
            "" if entry["top1"] is None else f"{entry['top1']:.1f}",
            _views(entry),
            f"{entry['parameters_m']:.1f}",
            "" if entry["gmacs"] is None else f"{entry['gmacs']:.1f}",
            entry["licence"].partition(" (")[0],
            "yes" if entry["cached"] else "",
        )
    show(listing)


def _views(entry: dict[str, Any]) -> str:
    """The protocol, short: views and the short side of the frames, which make most of the difference."""
    if not entry["views"]:
        return ""
    side = entry["preprocessing"].get("short_side")
    return entry["views"] + (f", {side} px" if side else "")
