"""``config.json`` of a checkpoint folder, read with suspicion: nothing in it is believed before it is checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videoswin.errors import WeightsError, nearest
from videoswin.model import SwinConfig

__all__ = ["CONFIG_FILE", "FOR_HUBS", "WEIGHTS_FILE", "read_config", "read_labels", "swin_config", "table"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FOR_HUBS = {"model_type": "videoswin", "architectures": ["VideoSwin"]}
"""How a hub sorts models; not read here."""
_MAX_CONFIG_BYTES = 16 * 2**20
_WHAT_IT_IS = f"A checkpoint is a folder with {WEIGHTS_FILE} and {CONFIG_FILE}"
_REQUIRED = ("format", "version", "model", "preprocessing", "id2label")
_OPTIONAL = ("name", "label2id", "none_threshold", "metrics", "notes", "card", *FOR_HUBS)


def read_config(path: Path) -> dict[str, Any]:
    """The fields of a ``config.json``: all that must be there, and none that is unknown. Their values are not checked yet.

    Raises:
        WeightsError: it is missing, unreadable, or not written by videoswin.
    """
    if not path.is_file():
        best = path.parent / "best"  # of a training run, people give the run's folder
        hint = f"Did you mean {best}?" if (best / CONFIG_FILE).is_file() else _WHAT_IT_IS
        raise WeightsError(path, "the file was not found", hint)
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise WeightsError(
                path, f"it has more than {_MAX_CONFIG_BYTES:,} bytes", "This is not a videoswin checkpoint"
            )
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(path, f"this is no valid JSON ({error})", "Copy or download the checkpoint again") from None
    except OSError as error:
        raise WeightsError(path, f"the file cannot be read ({error.strerror})", "Check its rights (ls -l)") from None
    if not isinstance(settings, dict) or settings.get("format") != "videoswin":
        raise WeightsError(path, 'its field "format" is not "videoswin"', "Give a checkpoint that videoswin saved")
    if settings.get("version") != 1:
        reason = f'its field "version" is {settings.get("version")!r}, this videoswin reads version 1'
        raise WeightsError(path, reason, "Update videoswin: pip install --upgrade videoswin")
    _check_fields(path, settings)
    return settings


def _check_fields(path: Path, settings: Mapping[str, Any]) -> None:
    for name in _REQUIRED:
        if name not in settings:
            raise WeightsError(path, f'the field "{name}" is missing', "Copy or download the checkpoint again")
    for name in settings:
        if name not in (*_REQUIRED, *_OPTIONAL):
            raise WeightsError(path, f'there is no field "{name}"', nearest(name, (*_REQUIRED, *_OPTIONAL)))


def table(path: Path, settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A field that holds a table; empty if it is not there."""
    value = settings.get(name, {})
    if not isinstance(value, dict):
        raise WeightsError(path, f'the field "{name}" is not a table', "Copy or download the checkpoint again")
    return value


def swin_config(path: Path, values: Any) -> SwinConfig:
    """The field "model"."""
    try:
        return SwinConfig.from_dict(values)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:  # ConfigError is a ValueError
        reason = str(error).rstrip(".")
        raise WeightsError(
            path, f'the field "model" describes no model ({reason})', "Correct it, or copy it again"
        ) from None


def read_labels(path: Path, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The field "id2label", in the order of the numbers."""
    id2label = table(path, settings, "id2label")
    numbers = [str(i) for i in range(len(id2label))]
    if set(id2label) != set(numbers) or not all(isinstance(label, str) for label in id2label.values()):
        reason = f'the field "id2label" does not give one name to each of the numbers 0 to {len(id2label) - 1}'
        raise WeightsError(path, reason, 'Write it as {"0": "name", "1": "name", ...}')
    labels = tuple(id2label[number] for number in numbers)
    label2id = settings.get("label2id")
    if label2id is not None and label2id != {label: i for i, label in enumerate(labels)}:
        raise WeightsError(
            path, 'the fields "label2id" and "id2label" contradict each other', "Correct one, or drop label2id"
        )
    return labels
