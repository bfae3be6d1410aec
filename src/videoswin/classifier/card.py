"""The model card: README.md of a checkpoint folder, for people and for hubs.

All of it is computed from the classifier. Hubs read the header: it says what is known and leaves out what is not, the
licence above all. What cannot be known here stands in ``Classifier.card``: ``license``, ``datasets``, ``base_model``,
``tags``, ``language``, as a hub names them, and ``text``, a paragraph of your own.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, nearest
from videoswin.model import VideoSwin

__all__ = ["HEADER_FIELDS", "check_card", "model_card"]

HEADER_FIELDS = ("license", "datasets", "base_model", "tags", "language")
_ACCURACY = re.compile(r"(?:(\w+)_)?(top1|top5|mean_class)")  # "val_top1": of which clips, and what; shares of 1
_MAX_LISTED = 50
_SAMPLING = {
    "interval": "one in {frame_interval}",
    "uniform": "spread over the whole video",
    "time": "{fps:g} frames per second",
}


class Described(Protocol):
    """What a card tells about; a :class:`~videoswin.classifier.Classifier` is all of it."""

    model: VideoSwin
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    name: str
    none_threshold: float | None
    metrics: dict[str, Any]
    notes: str
    card: dict[str, Any]

    @property
    def num_parameters(self) -> int: ...


def check_card(card: Mapping[str, Any]) -> None:
    """A :class:`ConfigError` for a field that no card has, or a value that is no text or list of texts."""
    for name, value in card.items():
        if name not in (*HEADER_FIELDS, "text"):
            raise ConfigError(f'A model card has no field "{name}". {nearest(str(name), (*HEADER_FIELDS, "text"))}')
        texts = value if isinstance(value, list) and name != "text" else [value]
        if not all(isinstance(text, str) and text for text in texts):
            raise ConfigError(f'The field "{name}" of the model card is {value!r}. Use text, or a list of texts.')


def model_card(classifier: Described) -> str:
    """The whole README.md, in Markdown with a YAML header.

    Raises :class:`ConfigError` for a field in ``classifier.card`` that cannot be used.
    """
    check_card(classifier.card)
    parts = [
        _header(classifier),
        f"# {_plain(classifier.name)}",
        _what_it_is(classifier),
        *([_plain(classifier.card["text"])] if "text" in classifier.card else []),
        "## Use",
        _how_to_use(classifier),
        "## How well it does",
        _how_well(classifier),
        "## What it looks at",
        _preprocessing(classifier),
        "## Labels",
        _labels(classifier),
        "## Limits",
        _limits(classifier),
    ]
    return "\n\n".join(parts) + "\n"


def _header(classifier: Described) -> str:
    """YAML, written as JSON values, which YAML contains: no text can break out of its place."""
    tags = classifier.card.get("tags", [])
    tags = [tags] if isinstance(tags, str) else tags
    fields: dict[str, Any] = {
        **{name: classifier.card[name] for name in HEADER_FIELDS if name in classifier.card},
        "library_name": "videoswin",
        "pipeline_tag": "video-classification",
        "tags": list(dict.fromkeys(["video-classification", "video-swin-transformer", "videoswin", *tags])),
    }
    if results := _results(classifier):
        fields["model-index"] = [{"name": classifier.name, "results": results}]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    lines = ["".join(c if c.isprintable() else " " for c in line) for line in lines]  # which YAML forbids
    return "\n".join(["---", *lines, "---"])


def _accuracies(classifier: Described) -> dict[str, dict[str, float]]:
    """The recorded accuracies, as shares of 1: of which clips ("train", "val", "test"), then which measure."""
    found: dict[str, dict[str, float]] = {}
    for name, value in classifier.metrics.items():
        match = _ACCURACY.fullmatch(name)
        if match and _is_share(value):
            found.setdefault(match[1] or "test", {})[match[2]] = float(value)
    return found


def _results(classifier: Described) -> list[dict[str, Any]]:
    """One entry for each part of the data, as hubs want them. Accuracy on training clips says nothing to anybody."""
    datasets = classifier.card.get("datasets", [])
    dataset = datasets if isinstance(datasets, str) else next(iter(datasets), "own videos")
    return [
        {
            "task": {"type": "video-classification"},
            "dataset": {"name": dataset, "type": dataset, "split": part},
            "metrics": [
                {"type": "accuracy" if measure == "top1" else measure, "name": f"{part}_{measure}", "value": value}
                for measure, value in measures.items()
            ],
        }
        for part, measures in _accuracies(classifier).items()
        if part != "train"
    ]


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _what_it_is(classifier: Described) -> str:
    c = classifier.model.config
    window, depths = "x".join(map(str, c.window_size)), "-".join(map(str, c.depths))
    text = (
        f"A Video Swin Transformer (Liu et al., 2021, arXiv 2106.13230) that gives one of {len(classifier.labels)} labels to a "
        f"video. {classifier.num_parameters:,} parameters: {c.embed_dim} channels, {depths} blocks, attention windows of "
        f"{window} tokens."
    )
    return f"{text}\n\n{_plain(classifier.notes)}" if classifier.notes else text


def _how_to_use(classifier: Described) -> str:
    return """```sh
pip install videoswin
videoswin predict clip.mp4 --weights FOLDER
```

```python
import videoswin

classifier = videoswin.load("FOLDER")  # this folder; or hf://user/repo
print(classifier("clip.mp4").predictions)
```"""


def _how_well(classifier: Described) -> str:
    if not classifier.metrics:
        return "Nothing was recorded. Measure it on videos of your own: `videoswin evaluate DATA --weights FOLDER`."
    rows = [f"| {_cell(name)} | {_cell(_figure(name, value))} |" for name, value in classifier.metrics.items()]
    table = "\n".join(["| what | value |", "| --- | ---: |", *rows])
    if any(name.startswith("val_") for name in classifier.metrics):
        table += (
            "\n\n`val` clips were held out of training, and chose the epoch: expect somewhat less on new ones. "
            "`train` clips were learnt from."
        )
    return table


def _figure(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{100 * value:.1f} %" if _ACCURACY.fullmatch(name) and _is_share(value) else f"{value:.4g}"
    return str(value)


def _preprocessing(classifier: Described) -> str:
    p = classifier.preprocessing
    frames = _SAMPLING[p.sampling].format(frame_interval=p.frame_interval, fps=p.fps or 0.0)
    height, width = p.size
    if p.short_side is None:
        space = f"each frame is stretched to {height} x {width} pixels"
    else:
        space = (
            f"the shorter side of each frame becomes {p.short_side} pixels, of which {height} x {width} are looked at"
        )
    text = f"{p.clip_len} frames, {frames}; {space}. No sound."
    if classifier.none_threshold is not None:
        text += f" A best score below {classifier.none_threshold:g} means none of these labels."
    return text


def _labels(classifier: Described) -> str:
    shown = [f"`{_plain(label).replace('`', ' ')}`" for label in classifier.labels[:_MAX_LISTED]]
    more = len(classifier.labels) - len(shown)
    return ", ".join(shown) + (f" and {more} more, in config.json." if more else ".")


def _limits(classifier: Described) -> str:
    text = "- It knows the labels above and nothing else"
    if classifier.none_threshold is None:
        text += ": a video of something else gets one of them too, perhaps with a high score.\n"
    else:
        text += "; the threshold for none of these was set on some other videos, and will not catch all.\n"
    if not _results(classifier):
        text += "- No accuracy on held-out videos is recorded here.\n"
    return text + (
        "- Figures hold for videos like those they were measured on. Other cameras, places and people may do worse.\n"
        "- Scores are no probabilities that the label is right."
    )


def _plain(text: str) -> str:
    """On one line, and no heading, HTML or header of its own."""
    return " ".join(text.split()).replace("<", "&lt;")


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")
