"""``videoswin info``: what a model or a checkpoint is, and what it costs."""

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from videoswin.cli.output import DONE, add_row, show, table
from videoswin.errors import ConfigError

if TYPE_CHECKING:
    from videoswin.classifier.classifier import Classifier
    from videoswin.model import SwinConfig

__all__ = ["info"]

_LONGEST = 4096  # frames or pixels: counting what is executed lists the boxes, which takes memory


def info(
    model: Annotated[str, Parameter(name="MODEL")],
    /,
    *,
    num_classes: int | None = None,
    frames: int | None = None,
    size: int | None = None,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Show what a model is and what it costs.

    Parameters, multiply-adds (MACs) of one view, the shape after each stage; for a checkpoint also its labels,
    preprocessing and accuracy. MACs are counted as in the paper, each token against a full window; "executed" is what
    this implementation really does, which is less at the borders.

    For example:

        videoswin info swin3d_t
        videoswin info swin3d_b --num-classes 174 --frames 16 --size 112
        videoswin info runs/mine/best --json

    Parameters
    ----------
    model
        A preset such as swin3d_t, a checkpoint folder or file, or a name that videoswin models lists.
    num_classes
        Outputs of the head; for presets only, since a checkpoint has its own.
    frames
        Frames of the clip; by default what the checkpoint takes, or 32.
    size
        Height and width of the clip in pixels; by default what the checkpoint takes, or what the preset was made for.
    json_only
        Print one JSON object and nothing else.
    """
    subject = _find(model, num_classes)
    facts = _facts(subject, _clip(subject, frames, size))
    if json_only:
        print(json.dumps(facts))
    else:
        _show(facts)
    return DONE


@dataclass(frozen=True)
class _Subject:
    name: str
    config: "SwinConfig"
    classifier: "Classifier | None"


def _find(model: str, num_classes: int | None) -> _Subject:
    from videoswin.classifier.bundled import loadable_names
    from videoswin.classifier.loading import load
    from videoswin.errors import nearest
    from videoswin.model import PRESETS

    names = loadable_names()
    if model in PRESETS and not os.path.isdir(model):
        config = PRESETS[model]
        return _Subject(model, config if num_classes is None else config.replace(num_classes=num_classes), None)
    if not os.path.exists(model) and model not in names and os.path.basename(model) == model:
        raise ConfigError(f'There is no model or checkpoint "{model}". {nearest(model, (*PRESETS, *names))}')
    classifier = load(model)
    if num_classes is not None:
        raise ConfigError(
            f"num_classes={num_classes} is for presets; the checkpoint {model} has {len(classifier.labels)}."
        )
    return _Subject(classifier.name, classifier.model.config, classifier)


def _clip(subject: _Subject, frames: int | None, size: int | None) -> tuple[int, int, int]:
    """(T, H, W) of the clip to count for."""
    if subject.classifier is not None:
        preprocessing = subject.classifier.preprocessing
        default = (preprocessing.clip_len, *preprocessing.size)
    else:
        side = 384 if subject.name.endswith("_384") else 224
        default = (32, side, side)
    given = (frames, size, size)
    return tuple(d if g is None else g for g, d in zip(given, default, strict=True))  # type: ignore[return-value]


def _facts(subject: _Subject, clip: tuple[int, int, int]) -> dict[str, Any]:
    import torch

    from videoswin.kernels import engine_in_force
    from videoswin.model import VideoSwin, count_macs, stage_grids

    for name, n in zip(("frames", "size", "size"), clip, strict=True):
        if not 1 <= n <= _LONGEST:
            raise ConfigError(f"{name}={n} must be from 1 to {_LONGEST}.")
    with torch.device("meta"):  # shapes without memory: the large models take a second and 800 MB otherwise
        network = VideoSwin(subject.config)
        network.backbone.checked(torch.empty(1, subject.config.in_channels, *clip))
    macs = count_macs(subject.config, *clip)
    grids = stage_grids(subject.config, *clip)
    facts: dict[str, Any] = {
        "name": subject.name,
        "parameters": sum(p.numel() for p in network.parameters()),
        "macs": macs.paper,
        "macs_executed": macs.executed,
        "clip": list(clip),
        "stages": [[dim, *grid] for dim, grid in zip(subject.config.stage_dims, grids, strict=True)],
        "config": subject.config.to_dict(),
        "engine": engine_in_force()._asdict(),
    }
    if subject.classifier is not None:
        c = subject.classifier
        facts |= {
            "labels": list(c.labels),
            "none_threshold": c.none_threshold,
            "preprocessing": c.preprocessing.to_dict(),
            "metrics": c.metrics,
            "notes": c.notes,
        }
    return facts


def _show(facts: dict[str, Any]) -> None:
    summary = table("what", "value", header=False)
    add_row(summary, "name", facts["name"])
    add_row(summary, "parameters", f"{facts['parameters']:,}")
    add_row(summary, "classes", f"{facts['config']['num_classes']:,}")
    add_row(summary, "clip", _shape(facts["clip"]) + "  (frames x height x width)")
    add_row(summary, "MACs", f"{_macs(facts['macs'])}  (as the paper counts)")
    add_row(summary, "", f"{_macs(facts['macs_executed'])}  (executed)")
    engine = facts["engine"]
    add_row(summary, "engine", f"{engine['name']}  (attention on this CPU: {engine['reason'] or 'compiled'})")
    if facts.get("none_threshold") is not None:
        add_row(summary, "threshold", f"a best score below {facts['none_threshold']:g} means none of these")
    for name, value in facts.get("metrics", {}).items():
        add_row(summary, name, f"{value:.4g}" if isinstance(value, float) else str(value))
    if facts.get("notes"):
        add_row(summary, "notes", facts["notes"])
    show(summary)
    show()
    _show_stages(facts)
    for title in ("preprocessing", "labels"):
        if title in facts:
            show()
            _show_details(title, facts[title])


def _show_stages(facts: dict[str, Any]) -> None:
    columns = ("stage", "channels", "grid", "blocks", "heads")
    stages = table(*columns, right=["stage", "channels", "blocks", "heads"])
    config = facts["config"]
    rows = zip(facts["stages"], config["depths"], config["num_heads"], strict=True)
    for number, ((channels, *grid), depth, heads) in enumerate(rows, start=1):
        add_row(stages, str(number), str(channels), _shape(grid), str(depth), str(heads))
    show(stages)


def _show_details(title: str, details: dict[str, Any] | list[str]) -> None:
    pairs = details.items() if isinstance(details, dict) else enumerate(details)
    listing = table(title, "", header=True)
    for name, value in pairs:
        if value is not None:
            add_row(listing, str(name), _plain(value))
    show(listing)


def _macs(count: int) -> str:
    return f"{count / 1e9:,.2f} G" if count >= 1e9 else f"{count / 1e6:,.2f} M"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _shape(sizes: list[int]) -> str:
    return "x".join(map(str, sizes))
