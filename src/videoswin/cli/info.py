"""``videoswin info``: what a model or a checkpoint is, and what it costs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from videoswin.cli.options import Size
from videoswin.cli.output import DONE, add_row, show, table
from videoswin.errors import ConfigError

if TYPE_CHECKING:
    from videoswin.classifier.resolve import Target
    from videoswin.data.preprocessing import Preprocessing
    from videoswin.predict.answers import Answer
    from videoswin.predict.provenance import Training

__all__ = ["info"]

_LONGEST = 4096  # frames or pixels: counting what is executed lists the boxes, which takes memory


def info(
    weights: Annotated[str, Parameter(name="--weights")],
    *,
    num_classes: int | None = None,
    clip_len: int | None = None,
    size: Size | None = None,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Show what a model is and what it costs.

    Parameters, multiply-adds (MACs) of one view, the shape after each stage; for a checkpoint also its labels,
    preprocessing and accuracy. MACs are counted as in the paper, each token against a full window; "executed" is what
    this implementation really does, which is less at the borders.

    For example:

        videoswin info swin3d_t
        videoswin info swin3d_b --num-classes 174 --clip-len 16 --size 112
        videoswin info runs/mine/best --json

    Parameters
    ----------
    weights
        A checkpoint folder, a file of weights, an exported file, an address on a hub, or a name that videoswin models lists.
    num_classes
        Outputs of the head; for presets only, since a checkpoint has its own.
    clip_len
        Frames of a clip; by default what the checkpoint takes, or 32.
    size
        Height and width of a clip in pixels, one number or two as 128x171; by default what the checkpoint takes, or what the preset was made for.
    json_only
        Print one JSON object and nothing else.
    """
    from videoswin.classifier.resolve import Exported, resolve

    target = resolve(weights)
    if isinstance(target, Exported):
        for option, value in {"num_classes": num_classes, "clip_len": clip_len, "size": size}.items():
            if value is not None:
                raise ConfigError(f"{option}={_given(value)}: an exported file has its own. Leave it out.")
        facts = _exported(target.path)
    else:
        facts = _facts(_subject(target, as_architecture=num_classes is not None), num_classes, clip_len, size)
    if json_only:
        print(json.dumps(facts, allow_nan=False))
    else:
        _show(facts)
    return DONE


@dataclass(frozen=True)
class _Subject:
    """What can be known of a model without its numbers."""

    name: str
    config: Any
    preprocessing: "Preprocessing | None" = None
    """None: an architecture; the others are then empty."""
    labels: tuple[str, ...] = ()
    none_threshold: float | None = None
    metrics: dict[str, Any] | None = None
    notes: str = ""
    answer: "Answer | None" = None
    training: "Training | None" = None

    def described(self) -> dict[str, Any]:
        """What only checkpoints have."""
        if self.preprocessing is None:
            return {}
        return {
            "labels": list(self.labels),
            "none_threshold": self.none_threshold,
            "preprocessing": self.preprocessing.to_dict(),
            "metrics": self.metrics or {},
            "notes": self.notes,
            **(self.answer.to_dict(self.labels) if self.answer else {}),
            **({"training": _without_sums(self.training)} if self.training else {}),
        }


def _without_sums(training: "Training") -> dict[str, Any]:
    """One number for each clip says nothing to people."""
    return {name: value for name, value in training.to_dict().items() if name != "sums"}


def _subject(target: "Target", as_architecture: bool) -> _Subject:
    """Nothing is downloaded for it but what stands on a hub.

    Args:
        as_architecture: of a published model, leave out what its own classes mean.
    """
    from videoswin.classifier.resolve import Bundled, Folder, Hub, Preset, Published, PublishedZoo, WeightsFile

    if isinstance(target, Preset):
        return _Subject(target.name, target.config)
    from videoswin.classifier.folder import read_facts, require_fitting_weights
    from videoswin.classifier.loading import checkpoint_folder, load
    from videoswin.classifier.public_weights import describe

    match target:
        case Published(name, model) if as_architecture:
            return _Subject(name, model.config)
        case Published(name, model):
            labels, preprocessing, notes = describe(model.config, model)
            return _Subject(name, model.config, preprocessing, labels, notes=notes)
        case PublishedZoo(name, entry) if as_architecture:
            return _Subject(name, entry.config)
        case PublishedZoo(name, entry):
            labels, preprocessing, notes = describe(entry.config, entry, family=entry.family)
            return _Subject(name, entry.config, preprocessing, labels, notes=notes)
        case Bundled() | Folder() | Hub():
            folder = checkpoint_folder(target)
            facts = read_facts(folder)
            require_fitting_weights(folder, facts.config)
            known = (facts.labels, facts.none_threshold, facts.metrics, facts.notes)
            return _Subject(facts.name, facts.config, facts.preprocessing, *known, facts.answer, facts.training)
        case WeightsFile(path):
            c = load(path)
            return _Subject(c.name, c.model.config, c.preprocessing, c.labels, c.none_threshold, c.metrics, c.notes)
    raise TypeError(target)


def _facts(
    subject: _Subject, num_classes: int | None, clip_len: int | None, size: tuple[int, int] | None
) -> dict[str, Any]:
    import torch

    from videoswin.kernels import engine_in_force
    from videoswin.weights.assemble import empty_model
    from videoswin.zoo import config_to_dict

    config = subject.config
    if num_classes is not None:
        if subject.preprocessing is not None:
            raise ConfigError(
                f"num_classes={num_classes} is for presets; the checkpoint {subject.name} has {len(subject.labels)}."
            )
        config = config.replace(num_classes=num_classes)
    clip = _clip(subject, clip_len, size)
    for name, n in zip(("clip_len", "size", "size"), clip, strict=True):
        if not 1 <= n <= _LONGEST:
            raise ConfigError(f"{name}={n} must be from 1 to {_LONGEST}.")
    network = empty_model(config)  # shapes without memory: the large models take a second and 800 MB otherwise
    network.checked(torch.empty(1, config.in_channels, *clip, device="meta"))
    return {
        "name": subject.name,
        "parameters": sum(p.numel() for p in network.parameters()),
        **_costs(config, clip),
        "clip": list(clip),
        "config": config_to_dict(config),
        "engine": engine_in_force()._asdict(),
        **subject.described(),
    }


def _costs(config: Any, clip: tuple[int, int, int]) -> dict[str, Any]:
    """Multiply-adds of a clip; of Video Swin, also what is executed of them, and the stages."""
    from videoswin.model import SwinConfig
    from videoswin.zoo import count_macs as count_any
    from videoswin.zoo.swin_macs import count_macs, stage_grids

    if not isinstance(config, SwinConfig):
        return {"macs": count_any(config, clip)}
    macs, grids = count_macs(config, *clip), stage_grids(config, *clip)
    stages = [[dim, *grid] for dim, grid in zip(config.stage_dims, grids, strict=True)]
    return {"macs": macs.paper, "macs_executed": macs.executed, "stages": stages}


def _clip(subject: _Subject, clip_len: int | None, size: tuple[int, int] | None) -> tuple[int, int, int]:
    """(T, H, W) of the clip to count for."""
    own = getattr(subject.config, "clip", None)  # of a system of the zoo
    if own is not None and subject.preprocessing is None:
        default = own
    elif own is None and subject.config.patch_size[0] == 1:  # a published image model
        default = (1, 224, 224) if subject.config.window_size[1] != 12 else (1, 384, 384)
    elif subject.preprocessing is not None:
        default = (subject.preprocessing.clip_len, *subject.preprocessing.size)
    else:
        side = 384 if subject.name.endswith("_384") else 224
        default = (32, side, side)
    given = (clip_len, *(size or (None, None)))
    return tuple(d if g is None else g for g, d in zip(given, default, strict=True))  # type: ignore[return-value]


def _exported(path: Path) -> dict[str, Any]:
    """What an exported file says of itself; nothing is compiled and no program is run for it."""
    from videoswin.export.formats import FORMATS
    from videoswin.export.runtime import read_metadata

    m = read_metadata(path)
    form = FORMATS[m.made.to]
    files = [path, *(path.with_suffix(suffix) for suffix in form.beside)]
    file = {
        **asdict(m.made),
        "files": [str(part) for part in files],
        "bytes": sum(part.stat().st_size for part in files),
        "runtimes": list(form.runtimes),
    }
    known = (m.preprocessing, m.labels, m.none_threshold, m.metrics, m.notes)
    if m.config is None:  # a file of before does not hold it
        described = _Subject(m.name, None, *known).described()  # type: ignore[arg-type]
        clip = list(m.clip_shape[1:])
        return {"name": m.name, "parameters": m.made.num_parameters, "clip": clip, **described, "export": file}
    facts = _facts(_Subject(m.name, m.config, *known), None, None, None)
    del facts["engine"]  # a library of its own computes an exported file
    return {**facts, "export": file}


def _show(facts: dict[str, Any]) -> None:
    summary = table("what", "value", header=False)
    add_row(summary, "name", facts["name"])
    add_row(summary, "parameters", f"{facts['parameters']:,}")
    classes = facts["config"]["num_classes"] if "config" in facts else len(facts["labels"])
    add_row(summary, "classes", f"{classes:,}")
    add_row(summary, "clip", _shape(facts["clip"]) + "  (frames x height x width)")
    if file := facts.get("export"):
        add_row(summary, "exported", f"{file['to']}, {file['precision']}, {file['bytes'] / 1e6:,.1f} MB")
        add_row(summary, "run by", " or ".join(file["runtimes"]))
        if file["max_difference"] is not None:
            add_row(summary, "checked", f"its logits were within {file['max_difference']:.0e} of the model's")
    if "macs" in facts:
        add_row(summary, "MACs", f"{_macs(facts['macs'])}  (as the paper counts)")
    if "macs_executed" in facts:
        add_row(summary, "", f"{_macs(facts['macs_executed'])}  (executed)")
    if engine := facts.get("engine"):
        add_row(summary, "engine", f"{engine['name']}  (attention on this CPU: {engine['reason'] or 'compiled'})")
    if facts.get("none_threshold") is not None:
        add_row(summary, "threshold", f"a best score below {facts['none_threshold']:g} means none of these")
    if facts.get("answer") == "several":
        add_row(summary, "answer", "several labels (multi-label), by a threshold for each")
    for name, value in facts.get("metrics", {}).items():
        add_row(summary, name, f"{value:.4g}" if isinstance(value, float) else str(value))
    if training := facts.get("training"):
        of = f"{training['groups']} people or scenes, " if training["groups"] else ""
        classes = f"{training['clips']:,} clips of {training['classes']:,} classes"
        add_row(summary, "learnt from", f"{training['data']}: {classes}, {of}beginning with {training['start']}")
    if facts.get("notes"):
        add_row(summary, "notes", facts["notes"])
    show(summary)
    if "stages" in facts:
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


def _given(value: int | tuple[int, int]) -> str:
    """As it is written on the command line."""
    return str(value) if isinstance(value, int) else _shape(sorted(set(value), key=value.index))


def _macs(count: int) -> str:
    return f"{count / 1e9:,.2f} G" if count >= 1e9 else f"{count / 1e6:,.2f} M"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _shape(sizes: list[int]) -> str:
    return "x".join(map(str, sizes))
