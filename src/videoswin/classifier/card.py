"""The model card: README.md of a checkpoint folder, for people and for hubs.

All of it is computed from the checkpoint; the text stands in ``templates/card.md``. Hubs read the header: it says what is
known and leaves out what is not, the licence above all. What cannot be known here stands in ``Classifier.card``:
``license``, ``datasets``, ``base_model``, ``tags``, ``language``, as a hub names them, and ``text``, a paragraph of your own.
"""

import json
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from videoswin.classifier.facts import CARD_HEADER, Facts
from videoswin.predict.answers import SeveralLabels
from videoswin.zoo.papers import paper_of

__all__ = ["model_card"]

_ACCURACY = re.compile(r"(?:(\w+)_)?(top1|top5|mean_class|map)")  # "val_top1": of which clips, and what; shares of 1
_MAX_LISTED = 50


def model_card(facts: Facts, num_parameters: int) -> str:
    """The whole README.md, in Markdown with a YAML header."""
    environment = Environment(  # Markdown: the filters below escape what is not ours
        loader=PackageLoader("videoswin.classifier"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= {"plain": _plain, "cell": _cell, "code": _code}
    results = _results(facts)
    return environment.get_template("card.md").render(
        header=_header(facts, results),
        name=facts.name,
        config=facts.config,
        paper=paper_of(facts.config),
        num_parameters=num_parameters,
        notes=facts.notes,
        text=facts.card.get("text", ""),
        metrics=[(name, _figure(name, value)) for name, value in facts.metrics.items()],
        training=facts.training,
        calibrated="calibration_error" in facts.metrics,
        validated=any(name.startswith("val_") for name in facts.metrics),
        measured=bool(results),
        p=facts.preprocessing,
        threshold=facts.none_threshold,
        several=isinstance(facts.answer, SeveralLabels),
        labels=facts.labels,
        most_labels=_MAX_LISTED,
    )


def _header(facts: Facts, results: list[dict[str, Any]]) -> str:
    """YAML, written as JSON values, which YAML contains: no text can break out of its place."""
    tags = facts.card.get("tags", [])
    own = "video-classification", paper_of(facts.config).tag, "videoswin"
    fields: dict[str, Any] = {
        **{name: facts.card[name] for name in CARD_HEADER if name in facts.card},
        "library_name": "videoswin",
        "pipeline_tag": "video-classification",
        "tags": list(dict.fromkeys([*own, *([tags] if isinstance(tags, str) else tags)])),
    }
    if results:
        fields["model-index"] = [{"name": facts.name, "results": results}]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join("".join(c if c.isprintable() else " " for c in line) for line in lines)  # others, YAML forbids


def _results(facts: Facts) -> list[dict[str, Any]]:
    """One entry for each part of the data, as hubs want them. Accuracy on training clips is no result."""
    datasets = facts.card.get("datasets", [])
    dataset = datasets if isinstance(datasets, str) else next(iter(datasets), "own videos")
    parts: dict[str, list[dict[str, Any]]] = {}
    for name, value in facts.metrics.items():
        match = _ACCURACY.fullmatch(name)
        if match and _is_share(value) and match[1] != "train":
            part, measure = match[1] or "test", match[2]
            kind = "accuracy" if measure == "top1" else measure
            parts.setdefault(part, []).append({"type": kind, "name": f"{part}_{measure}", "value": float(value)})
    return [
        {
            "task": {"type": "video-classification"},
            "dataset": {"name": dataset, "type": dataset, "split": part},
            "metrics": metrics,
        }
        for part, metrics in parts.items()
    ]


def _figure(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{100 * value:.1f} %" if _ACCURACY.fullmatch(name) and _is_share(value) else f"{value:.4g}"
    return str(value)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _plain(text: str) -> str:
    """On one line, and no heading, HTML or header of its own."""
    return " ".join(text.split()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{_plain(text).replace('`', ' ')}`"
