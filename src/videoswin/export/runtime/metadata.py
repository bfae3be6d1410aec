"""What an exported file says about itself: all that turns its logits into labels.

It is one JSON object, kept where each format keeps such things: ``metadata_props`` of an ONNX file, ``rt_info`` of an
OpenVINO model, an extra file inside a ``.pt2`` package. So the file alone is enough to predict. It is read with the same
suspicion as a checkpoint's ``config.json``: nothing in it is believed before it is checked.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videoswin.classifier.facts import check_labels, check_threshold
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError, nearest

__all__ = ["FORMATS", "KEY", "PRECISIONS", "Metadata"]

KEY = "videoswin"
"""The name under which each format keeps the JSON."""
FORMATS = ("onnx", "openvino", "torch-export", "aot")
PRECISIONS = ("fp32", "fp16", "bf16")
_VERSION = 1
_MAX_CHARACTERS = 16 * 2**20
_REQUIRED = ("format", "version", "to", "precision", "preprocessing", "labels")
_OPTIONAL = (
    "name",
    "num_parameters",
    "none_threshold",
    "max_difference",
    "tolerance",
    "versions",
    "machine",
    "weights_sha256",
)
_AGAIN = "Export the checkpoint again: videoswin export"


@dataclass(frozen=True)
class Metadata:
    """``to``, ``precision``: what the file is. ``name``, ``preprocessing``, ``labels``, ``none_threshold``: as in a
    checkpoint. ``max_difference``: largest difference from the model's own logits on real clips, as a part of the largest
    logit; it was below ``tolerance``. ``versions``: of the libraries that made the file. ``machine``: for native code, the
    processor it is for. ``weights_sha256``: of the second file, where the format has two.
    """

    to: str
    precision: str
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    name: str = "unnamed"
    num_parameters: int = 0
    none_threshold: float | None = None
    max_difference: float | None = None
    tolerance: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    weights_sha256: str | None = None

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(3, T, H, W): what the file takes, after a batch axis of any length."""
        return 3, self.preprocessing.clip_len, *self.preprocessing.size

    def to_json(self) -> str:
        """The JSON text; :meth:`from_json` is the way back."""
        values = {
            "format": "videoswin-export",
            "version": _VERSION,
            "name": self.name,
            "num_parameters": self.num_parameters,
            "to": self.to,
            "precision": self.precision,
            "preprocessing": self.preprocessing.to_dict(),
            "labels": list(self.labels),
            "none_threshold": self.none_threshold,
            "max_difference": self.max_difference,
            "tolerance": self.tolerance,
            "versions": dict(self.versions),
            "machine": dict(self.machine),
            "weights_sha256": self.weights_sha256,
        }
        return json.dumps(values, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, path: Path, text: str | None) -> "Metadata":
        """Read and check; ``path`` is for the errors.

        Raises:
            WeightsError: there is no metadata, or something in it cannot be right.
        """
        if text is None:
            raise WeightsError(
                path, "it does not say which labels and preprocessing it has: not exported by videoswin", _AGAIN
            )
        values = _parse(path, text)
        try:
            labels = _labels(path, values["labels"])
            check_threshold(values.get("none_threshold"))
            return cls(
                to=_one_of(path, "to", values["to"], FORMATS),
                precision=_one_of(path, "precision", values["precision"], PRECISIONS),
                preprocessing=Preprocessing.from_dict(_table(path, values, "preprocessing")),
                labels=labels,
                name=str(values.get("name") or path.stem),
                num_parameters=int(_number(path, values, "num_parameters") or 0),
                none_threshold=values.get("none_threshold"),
                max_difference=_number(path, values, "max_difference"),
                tolerance=_number(path, values, "tolerance"),
                versions=_texts(path, values, "versions"),
                machine=_texts(path, values, "machine"),
                weights_sha256=_text(path, values, "weights_sha256"),
            )
        except ConfigError as error:
            reason, _, hint = str(error).partition(". ")
            raise WeightsError(path, f"its metadata cannot be right: {reason}", hint) from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    if len(text) > _MAX_CHARACTERS:
        raise WeightsError(path, f"its metadata has more than {_MAX_CHARACTERS:,} characters", _AGAIN)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(path, f"its metadata is no valid JSON ({error})", _AGAIN) from None
    if not isinstance(values, dict) or values.get("format") != "videoswin-export":
        raise WeightsError(path, 'the field "format" of its metadata is not "videoswin-export"', _AGAIN)
    if values.get("version") != _VERSION:
        reason = f"its metadata has version {values.get('version')!r}, this videoswin reads version {_VERSION}"
        raise WeightsError(path, reason, "Update videoswin: pip install --upgrade videoswin")
    for name in _REQUIRED:
        if name not in values:
            raise WeightsError(path, f'the field "{name}" of its metadata is missing', _AGAIN)
    for name in values:
        if name not in (*_REQUIRED, *_OPTIONAL):
            raise WeightsError(path, f'its metadata has no field "{name}"', nearest(name, (*_REQUIRED, *_OPTIONAL)))
    return values


def _labels(path: Path, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise WeightsError(path, 'the field "labels" of its metadata is no list of names', _AGAIN)
    check_labels(tuple(value), len(value))
    return tuple(value)


def _one_of(path: Path, name: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise WeightsError(path, f'the field "{name}" of its metadata is {value!r}', f"Known are {', '.join(known)}")
    return value


def _table(path: Path, values: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise WeightsError(path, f'the field "{name}" of its metadata is not a table', _AGAIN)
    return value


def _texts(path: Path, values: Mapping[str, Any], name: str) -> dict[str, str]:
    table = _table(path, values, name)
    if not all(isinstance(value, str) for value in table.values()):
        raise WeightsError(path, f'the field "{name}" of its metadata is no table of texts', _AGAIN)
    return table


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
