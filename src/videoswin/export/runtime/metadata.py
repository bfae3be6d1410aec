"""What an exported file says about itself: all that turns its logits into labels.

It is one JSON object, kept where each format keeps such things: ``metadata_props`` of an ONNX file, ``rt_info`` of an
OpenVINO model, an extra file inside a ``.pt2`` package. So the file alone is enough to predict. Its fields are those of a
checkpoint's ``config.json``, and ``export``, a table of what the file is. It is read with the same suspicion: nothing in it
is believed before it is checked.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from videoswin.classifier.facts import Facts, check_labels, check_threshold
from videoswin.classifier.folder import facts_of, strict_json, to_config
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError, nearest
from videoswin.export.formats import FORMATS, FORMER_PRECISIONS, PRECISIONS, Precision
from videoswin.predict.answers import ONE_LABEL, Answer
from videoswin.predict.provenance import Training

__all__ = ["KEY", "Making", "Metadata"]

KEY = "videoswin"
"""The name under which each format keeps the JSON."""
_FORMAT, _VERSION = "videoswin-export", 2
_MAX_CHARACTERS = 16 * 2**20
_REQUIRED = ("format", "version", "model", "preprocessing", "id2label", "export")
_FIELDS = (*_REQUIRED, "name", "none_threshold", "metrics", "notes", "card", "training")
_AGAIN = "Export the checkpoint again: videoswin export"

_REQUIRED_1 = ("format", "version", "to", "precision", "preprocessing", "labels")


@dataclass(frozen=True)
class Making:
    """How a file was made: the field ``export``."""

    to: str
    """The format, a name of :data:`~videoswin.export.formats.FORMATS`."""
    precision: Precision
    num_parameters: int = 0
    max_difference: float | None = None
    """Largest difference from the model's own logits on real clips, as a part of the largest logit."""
    tolerance: float | None = None
    """What it had to stay below."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the libraries that made the file."""
    machine: Mapping[str, str] = field(default_factory=dict)
    """For native code, the processor it is for."""
    weights_sha256: str | None = None
    """Of the second file, where the format has two."""


@dataclass(frozen=True)
class Metadata:
    """``name``, ``preprocessing``, ``labels`` and so on are those of the checkpoint."""

    made: Making
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    name: str = "unnamed"
    none_threshold: float | None = None
    config: Any = None
    """The architecture; None: the file is of before 2026-11-26, and does not say."""
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    training: Training | None = None
    answer: Answer = ONE_LABEL
    """Always one label for a video: others are not exported."""

    @classmethod
    def of(cls, facts: Facts, made: Making) -> "Metadata":
        """Of a classifier that is known whole."""
        return cls(made, **{f.name: getattr(facts, f.name) for f in fields(facts)})

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W): what the file takes, after a batch axis of any length."""
        return 3, self.preprocessing.clip_len, *self.preprocessing.size

    def with_making(self, **changes: Any) -> "Metadata":
        """The same with other values in :attr:`made`."""
        return replace(self, made=replace(self.made, **changes))

    def to_json(self) -> str:
        """The JSON text; :meth:`from_json` is the way back."""
        assert self.config is not None  # only files of before lack it, and those are not written again
        values = {f.name: getattr(self, f.name) for f in fields(Facts)}
        shared = to_config(Facts(**values))
        own = {"format": _FORMAT, "version": _VERSION, "export": asdict(self.made)}
        return json.dumps(
            {name: own.get(name, shared.get(name)) for name in _FIELDS if name in own or name in shared},
            ensure_ascii=False,
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, path: Path, text: str | None) -> "Metadata":
        """Read and check; ``path`` is for the errors.

        Raises:
            WeightsError: there is no metadata, or something in it cannot be right.
        """
        if text is None:
            reason = "it does not say which labels and preprocessing it has: not exported by videoswin"
            raise WeightsError(path, reason, _AGAIN)
        values = _parse(path, text)
        if values["version"] == 1:
            return cls(**_of_version_1(path, values))
        _require_fields(path, values, _REQUIRED, _FIELDS)
        return cls.of(facts_of(path, values, path.stem), _making(path, _table(path, values, "export")))


def _parse(path: Path, text: str) -> dict[str, Any]:
    """Fields of a version that is known. They are not checked yet."""
    if len(text) > _MAX_CHARACTERS:
        raise WeightsError(path, f"its metadata has more than {_MAX_CHARACTERS:,} characters", _AGAIN)
    try:
        values = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(path, f"its metadata is no valid JSON ({error})", _AGAIN) from error
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise WeightsError(path, f'the field "format" of its metadata is not "{_FORMAT}"', _AGAIN)
    if values.get("version") not in (1, _VERSION):
        reason = f"its metadata has version {values.get('version')!r}, this videoswin reads versions 1 and {_VERSION}"
        raise WeightsError(path, reason, "Update videoswin: pip install --upgrade videoswin")
    return values


def _of_version_1(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Which had all fields in one table, a list of labels, and other names of precisions."""
    making = [f.name for f in fields(Making)]
    _require_fields(path, values, _REQUIRED_1, (*_REQUIRED_1, *making, "name", "none_threshold"))
    labels, precision = values["labels"], values["precision"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise WeightsError(path, 'the field "labels" of its metadata is no list of names', _AGAIN)
    made = {name: values[name] for name in making if name in values}
    if isinstance(precision, str):
        made["precision"] = FORMER_PRECISIONS.get(precision, precision)
    try:
        if not labels:
            raise ConfigError("it has no labels. " + _AGAIN)
        check_labels(tuple(labels), len(labels))
        check_threshold(values.get("none_threshold"))
        preprocessing = Preprocessing.from_dict(_table(path, values, "preprocessing"))
    except ConfigError as error:
        reason, _, hint = str(error).partition(". ")
        raise WeightsError(path, f"its metadata cannot be right: {reason}", hint) from error
    return {
        "made": _making(path, made),
        "preprocessing": preprocessing,
        "labels": tuple(labels),
        "name": str(values.get("name") or path.stem),
        "none_threshold": values.get("none_threshold"),
    }


def _require_fields(path: Path, values: Mapping[str, Any], required: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in required:
        if name not in values:
            raise WeightsError(path, f'the field "{name}" of its metadata is missing', _AGAIN)
    for name in values:
        if name not in known:
            raise WeightsError(path, f'its metadata has no field "{name}"', nearest(name, known))


def _making(path: Path, values: Mapping[str, Any]) -> Making:
    _require_fields(path, values, ("to", "precision"), tuple(f.name for f in fields(Making)))
    return Making(
        to=_one_of(path, values, "to", tuple(FORMATS)),
        precision=_one_of(path, values, "precision", PRECISIONS),  # type: ignore[arg-type]
        num_parameters=int(_number(path, values, "num_parameters") or 0),
        max_difference=_number(path, values, "max_difference"),
        tolerance=_number(path, values, "tolerance"),
        versions=_texts(path, values, "versions"),
        machine=_texts(path, values, "machine"),
        weights_sha256=_text(path, values, "weights_sha256"),
    )


def _one_of(path: Path, values: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = values[name]
    if value not in known:
        raise WeightsError(path, f'the field "{name}" of its metadata is {value!r}', f"Known are {', '.join(known)}")
    return value


def _table(path: Path, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise WeightsError(path, f'the field "{name}" of its metadata is not a table', _AGAIN)
    return value


def _texts(path: Path, values: Mapping[str, Any], name: str) -> dict[str, str]:
    texts = _table(path, values, name)
    if not all(isinstance(value, str) for value in texts.values()):
        raise WeightsError(path, f'the field "{name}" of its metadata is no table of texts', _AGAIN)
    return texts


def _text(path: Path, values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise WeightsError(path, f'the field "{name}" of its metadata is no text', _AGAIN)
    return value


def _number(path: Path, values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e12):
        raise WeightsError(path, f'the field "{name}" of its metadata is {value!r}, no number from 0', _AGAIN)
    return value
