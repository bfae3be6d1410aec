"""A checkpoint folder: its only reader and its only writer.

    runs/wave/best/
        model.safetensors   the numbers
        config.json         everything else: architecture, preprocessing, labels, threshold, how well it did
        README.md           the model card: the same for people, made from config.json and never read

Reading trusts neither of the first two. No field of config.json is believed before it is checked, and an unknown one is an
error. Names and shapes of the tensors are compared with the architecture before any memory is taken, and must agree
exactly: a checkpoint that fits "nearly" would classify, badly, without a word.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videoswin.classifier.card import model_card
from videoswin.classifier.facts import Facts, count_blocks
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError, nearest
from videoswin.interface.model_config import ModelConfig
from videoswin.interface.video_model import VideoModel
from videoswin.predict.answers import answer_of
from videoswin.predict.provenance import Training
from videoswin.storage.atomic import replace_folder
from videoswin.weights.assemble import empty_model, fill, require_same_tensors
from videoswin.weights.safetensors import read_header, read_tensors, write_tensors
from videoswin.zoo.registry import config_from_dict, config_to_dict

__all__ = [
    "CARD_FILE", "CONFIG_FILE", "FILES", "WEIGHTS_FILE", "facts_of", "half_of", "read_facts", "read_model", "replace_checkpoint",
    "require_fitting_weights", "strict_json", "to_config", "write_files",
]  # fmt: skip

CONFIG_FILE, WEIGHTS_FILE, CARD_FILE = "config.json", "model.safetensors", "README.md"
FILES = (CONFIG_FILE, WEIGHTS_FILE, CARD_FILE)
"""All that a checkpoint folder holds."""
VERSION = 1
"""Of the format of config.json."""
_FOR_HUBS = {"model_type": "videoswin", "architectures": ["VideoSwin"]}  # how a hub sorts models; not read here
_MAX_CONFIG_BYTES = 16 * 2**20
_REQUIRED = ("format", "version", "model", "preprocessing", "id2label")
_OPTIONAL = (
    "name",
    "label2id",
    "none_threshold",
    "metrics",
    "notes",
    "card",
    "training",
    "answer",
    "thresholds",
    *_FOR_HUBS,
)
_COPY_AGAIN = "Copy or download the checkpoint again"


def half_of(file: Path) -> Path | None:
    """The checkpoint folder that a file is the weights of; these alone would get labels that are not theirs. A config.json of
    the transformers library, beside a file of the same name, makes no folder of ours."""
    config = file.parent / CONFIG_FILE
    if file.name != WEIGHTS_FILE or not config.is_file():
        return None
    try:
        settings = (
            json.loads(config.read_text(encoding="utf-8")) if config.stat().st_size <= _MAX_CONFIG_BYTES else None
        )
    except (OSError, ValueError, RecursionError):
        return file.parent  # damaged: the folder's reader says how
    theirs = isinstance(settings, dict) and "format" not in settings and "model_type" in settings
    return None if theirs else file.parent


# Reading --------------------------------------------------------------------------------------------------------------


def read_facts(folder: Path) -> Facts:
    """What ``config.json`` says, checked; the weights are not looked at.

    Raises:
        WeightsError: the file is missing, unreadable, of another version, or something in it cannot be right.
    """
    path = folder / CONFIG_FILE
    return facts_of(path, _read_json(path), folder.resolve().name)


def facts_of(path: Path, settings: Mapping[str, Any], name: str) -> Facts:
    """From the fields of a ``config.json``, or of what else describes a classifier with the same fields.

    Args:
        path: for the errors.
        name: of the classifier, where the fields give none.

    Raises:
        WeightsError: a value cannot be right.
    """
    config = _model_config(path, settings["model"])
    labels = _labels(path, settings)
    try:
        return Facts(
            config=config,
            preprocessing=Preprocessing.from_dict(_table(path, settings, "preprocessing")),
            labels=labels,
            name=str(settings.get("name") or name),
            none_threshold=settings.get("none_threshold"),
            metrics=_table(path, settings, "metrics"),
            notes=str(settings.get("notes", "")),
            card=_table(path, settings, "card"),
            training=Training.from_dict(_table(path, settings, "training")) if settings.get("training") else None,
            answer=answer_of(settings, labels),
        )
    except ConfigError as error:
        reason, _, hint = str(error).partition(". ")
        raise WeightsError(path, reason, hint) from error


def read_model(folder: Path, config: ModelConfig) -> VideoModel:
    """The model with the folder's weights, in evaluation mode, in float32, on the CPU.

    Raises:
        WeightsError: the file is missing or damaged, its tensors are not exactly the model's, or a number is not finite.
    """
    model = require_fitting_weights(folder, config)
    path = folder / WEIGHTS_FILE
    return fill(model, read_tensors(path), path)


def require_fitting_weights(folder: Path, config: ModelConfig) -> VideoModel:
    """Compare names and shapes in the weights' header with the architecture; gives the model, still without numbers.

    Raises:
        WeightsError: the file is missing or damaged, or its tensors are not exactly the model's.
    """
    path = folder / WEIGHTS_FILE
    found = {name: info.shape for name, info in read_header(path).items()}
    blocks = count_blocks(config)
    if blocks > len(found):  # perhaps thousands of blocks: the model is not even built
        counts = f"the model has {blocks} blocks, the file {len(found)} tensors"
        raise WeightsError(path, f"the tensors do not fit the model of {CONFIG_FILE} ({counts})", _hint())
    try:
        model = empty_model(config, found)
    except (RuntimeError, OverflowError, MemoryError) as error:
        reason = f'the field "model" is too large to build ({error})'
        raise WeightsError(folder / CONFIG_FILE, reason, _COPY_AGAIN) from error
    require_same_tensors(model, found, path, f"the model of {CONFIG_FILE}", _hint())
    return model


def _hint() -> str:
    return f"Use weights that were saved with this {CONFIG_FILE}"


def _read_json(path: Path) -> dict[str, Any]:
    """All fields that must be there, and none that is unknown. Their values are not checked yet."""
    if not path.is_file():
        best = path.parent / "best"  # of a training run, people give the run's folder
        what_it_is = f"A checkpoint is a folder with {WEIGHTS_FILE} and {CONFIG_FILE}"
        hint = f"Did you mean {best}?" if (best / CONFIG_FILE).is_file() else what_it_is
        raise WeightsError(path, "the file was not found", hint)
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise WeightsError(path, f"it has more than {_MAX_CONFIG_BYTES:,} bytes", "This is no videoswin checkpoint")
        settings = strict_json(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(path, f"this is no valid JSON ({error})", _COPY_AGAIN) from error
    except OSError as error:
        raise WeightsError(path, f"the file cannot be read ({error.strerror})", "Check its rights (ls -l)") from error
    if not isinstance(settings, dict) or settings.get("format") != "videoswin":
        raise WeightsError(path, 'its field "format" is not "videoswin"', "Give a checkpoint that videoswin saved")
    if settings.get("version") != VERSION:
        reason = f'its field "version" is {settings.get("version")!r}, this videoswin reads version {VERSION}'
        raise WeightsError(path, reason, "Update videoswin: pip install --upgrade videoswin")
    for name in _REQUIRED:
        if name not in settings:
            raise WeightsError(path, f'the field "{name}" is missing', _COPY_AGAIN)
    for name in settings:
        if name not in (*_REQUIRED, *_OPTIONAL):
            raise WeightsError(path, f'there is no field "{name}"', nearest(name, (*_REQUIRED, *_OPTIONAL)))
    return settings


def strict_json(text: str) -> Any:
    """The value of a JSON text; a :class:`ValueError` or :class:`RecursionError` if it is none."""
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    """NaN and Infinity are no JSON, and 1e999 would become infinity."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _table(path: Path, settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = settings.get(name, {})
    if not isinstance(value, dict):
        raise WeightsError(path, f'the field "{name}" is not a table', _COPY_AGAIN)
    return value


def _model_config(path: Path, values: Any) -> ModelConfig:
    try:
        return config_from_dict(values)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:  # ConfigError is a ValueError
        reason = f'the field "model" describes no model ({str(error).rstrip(".")})'
        raise WeightsError(path, reason, "Correct it, or copy it again") from error


def _labels(path: Path, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The field "id2label", in the order of the numbers."""
    id2label = _table(path, settings, "id2label")
    numbers = [str(i) for i in range(len(id2label))]
    if set(id2label) != set(numbers) or not all(isinstance(label, str) for label in id2label.values()):
        reason = f'the field "id2label" does not give one name to each of the numbers 0 to {len(id2label) - 1}'
        raise WeightsError(path, reason, 'Write it as {"0": "name", "1": "name", ...}')
    labels = tuple(id2label[number] for number in numbers)
    label2id = settings.get("label2id")
    if label2id is not None and label2id != {label: i for i, label in enumerate(labels)}:
        reason = 'the fields "label2id" and "id2label" contradict each other'
        raise WeightsError(path, reason, "Correct one, or drop label2id")
    return labels


# Writing --------------------------------------------------------------------------------------------------------------


def to_config(facts: Facts) -> dict[str, Any]:
    """What ``config.json`` holds; :func:`read_facts` is the way back."""
    return {
        "format": "videoswin",
        "version": VERSION,
        **_FOR_HUBS,
        "name": facts.name,
        "model": config_to_dict(facts.config),
        "preprocessing": facts.preprocessing.to_dict(),
        "id2label": {str(i): label for i, label in enumerate(facts.labels)},
        "label2id": {label: i for i, label in enumerate(facts.labels)},
        "none_threshold": facts.none_threshold,
        "metrics": facts.metrics,
        "notes": facts.notes,
        "card": facts.card,
        **({"training": facts.training.to_dict()} if facts.training else {}),
        **facts.answer.to_dict(facts.labels),
    }


def replace_checkpoint(folder: str | Path, model: VideoModel, facts: Facts) -> None:
    """Write the folder; an older checkpoint there is replaced in one step, or not at all.

    Raises:
        WeightsError: ``folder`` holds something that is no checkpoint, or a weight is NaN or infinite.
        ConfigError: the metrics or notes are no JSON.
        OutputError: the disk is full, or the folder cannot be written there.
    """
    with replace_folder(folder, marker=CONFIG_FILE) as new:
        write_files(new, model, facts)


def write_files(folder: Path, model: VideoModel, facts: Facts) -> None:
    """The files of a checkpoint, into an existing folder; for callers that put more beside them."""
    try:
        text = json.dumps(to_config(facts), indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The metrics or notes cannot be written as JSON ({error}). Use finite numbers and text."
        ) from error
    write_tensors(folder / WEIGHTS_FILE, model.state_dict())
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    card = model_card(facts, sum(p.numel() for p in model.parameters()))
    (folder / CARD_FILE).write_text(card, encoding="utf-8")
