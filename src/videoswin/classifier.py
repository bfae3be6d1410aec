"""A classifier: the model together with what it cannot do without, the preprocessing and the names of its classes.

On disk it is one folder, a checkpoint:

    runs/wave/best/
        model.safetensors   the numbers
        config.json         everything else: architecture, preprocessing, labels, threshold, how well it did
        README.md           the model card: the same for people, made from config.json and never read

Loading trusts neither of the first two. Names and shapes of the tensors are compared with the architecture before any
memory is taken, and must agree exactly: a checkpoint that fits "nearly" would classify, badly, without a word.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from videoswin.card import check_card, model_card
from videoswin.config_file import CONFIG_FILE, FOR_HUBS, WEIGHTS_FILE, read_config, read_labels, swin_config, table
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError, nearest
from videoswin.hub import fetch_folder, is_address, push_folder
from videoswin.model import PRESETS, SwinConfig, VideoSwin
from videoswin.model.config import Padding, RelativeBias
from videoswin.predict import VideoClassifier
from videoswin.published import describe, image_file, video_file
from videoswin.weights.catalog import CATALOG, Published, find
from videoswin.weights.checkpoint import load_checkpoint
from videoswin.weights.files import (
    own_float32,
    read_header,
    read_tensors,
    replace_folder,
    require_floats,
    settled_folder,
    write_tensors,
)
from videoswin.weights.inflate import Bias, Embed, inflate_checkpoint
from videoswin.weights.report import LoadReport, some

__all__ = [
    "Classifier", "bundled_checkpoints", "check_labels", "check_threshold", "inflate", "load", "loadable_names",
    "of_public_weights",
]  # fmt: skip

CARD_FILE = "README.md"
_ASSETS = Path(__file__).parent / "assets"


@dataclass
class Classifier(VideoClassifier):
    """A model, its preprocessing and its labels; ``classifier("clip.mp4")`` gives a :class:`Prediction`.

    ``labels``: the name of each class, in the order of the model's outputs. ``none_threshold``: a best score below it
    means "none of these". ``metrics`` and ``notes``: how well it does and how it was made, kept in the checkpoint.
    ``card``: what its README.md should say and cannot be known here, such as ``{"license": "apache-2.0"}``; see
    :mod:`videoswin.card`.
    ``report``: what was loaded, if it came from a file of weights alone.

    Raises:
        ConfigError: the labels do not match the model's outputs, a value is out of range, or the model cannot take the
            clips that the preprocessing makes.
    """

    model: VideoSwin
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    name: str = "unnamed"
    none_threshold: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    report: LoadReport | None = None

    def __post_init__(self) -> None:
        self.labels = tuple(self.labels)
        check_labels(self.labels, self.model.config.num_classes)
        check_threshold(self.none_threshold)
        check_card(self.card)
        _check_clips_fit(self.model, self.preprocessing)

    def logits(self, clips: Tensor) -> Tensor:
        """Normalised clips (B, 3, T, H, W) -> logits (B, num_classes), float32 on the CPU, wherever the model is.

        In evaluation mode; a model in training goes on training afterwards.
        """
        weight = self.model.backbone.norm.weight
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                return self.model(clips.to(weight.device, weight.dtype)).float().cpu()
        finally:
            self.model.train(was_training)

    def __repr__(self) -> str:
        p = self.preprocessing
        clip = f"{p.clip_len}x{p.size[0]}x{p.size[1]}"
        return f'Classifier("{self.name}", {len(self.labels)} labels, {self.num_parameters:,} parameters, clips {clip})'

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.backbone.norm.weight.device

    @property
    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    def as_causal(self) -> "Classifier":
        """The causal classifier with these weights, sharing their memory, for :class:`~videoswin.Stream`.

        It is another classifier, and answers worse until it is fine-tuned (``videoswin train --causal``); so the threshold
        and the figures of this one do not come along.
        """
        notes = f"Causal, from the weights of {self.name}, which looks ahead; not fine-tuned."
        return Classifier(self.model.as_causal(), self.preprocessing, self.labels, f"{self.name}_causal", notes=notes)

    def to_dict(self) -> dict[str, Any]:
        """What ``config.json`` holds."""
        return {
            "format": "videoswin",
            "version": 1,
            **FOR_HUBS,
            "name": self.name,
            "model": self.model.config.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "id2label": {str(i): label for i, label in enumerate(self.labels)},
            "label2id": {label: i for i, label in enumerate(self.labels)},
            "none_threshold": self.none_threshold,
            "metrics": self.metrics,
            "notes": self.notes,
            "card": self.card,
        }

    def save(self, folder: str | Path) -> None:
        """Write the checkpoint; an older one in ``folder`` is replaced in one step, or not at all.

        Raises:
            WeightsError: ``folder`` holds something that is no checkpoint, or a weight is NaN or infinite.
        """
        with replace_folder(folder, marker=CONFIG_FILE) as new:
            self.write_files(new)

    def write_files(self, folder: Path) -> None:
        """The files of a checkpoint, into an existing folder; for callers that put more beside them."""
        write_tensors(folder / WEIGHTS_FILE, self.model.state_dict())
        try:
            text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"The metrics or notes cannot be written as JSON ({error}). Use finite numbers and text."
            ) from None
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
        (folder / CARD_FILE).write_text(model_card(self), encoding="utf-8")

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, message: str = "") -> str:
        """Upload the checkpoint to a hub as ``user/repo``, which is made if it is not there; gives its address.

        Raises:
            MissingExtraError: the extra ``hub`` is not installed.
            WeightsError: the hub refuses, or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            self.write_files(Path(folder))
            return push_folder(Path(folder), repo_id, private=private, message=message or f"Upload {self.name}")

    @classmethod
    def from_pretrained(cls, folder_or_repo: str | Path, revision: str | None = None) -> "Classifier":
        """:func:`load` for a checkpoint folder or a repository on a hub ("user/repo"). Nothing else is downloaded than
        config.json, model.safetensors and README.md, and nothing is executed."""
        if revision is None and os.path.isdir(folder_or_repo):
            return load(folder_or_repo)
        return load(f"hf://{folder_or_repo}" + (f"@{revision}" if revision else ""))


def load(
    path_or_name: str | Path,
    num_classes: int | None = None,
    *,
    relative_bias: RelativeBias | None = None,
    padding: Padding | None = None,
) -> Classifier:
    """Load a classifier: the folder that a training run made ("runs/wave/best"); a checkpoint that comes with the
    package, or a published one that is downloaded once, by name (``videoswin models`` lists both); a folder on a hub
    ("hf://user/repo"); or a public file of weights (``.pth``, ``.pt``, ``.safetensors``) of the official code, MMAction2 or
    torchvision.

    The model is in evaluation mode, in float32, on the CPU. Published files are known with their labels and test
    preprocessing. Any other file says nothing about them: it gets the labels of Kinetics-400, Kinetics-600 or
    Something-Something v2 if it has as many classes, else "class 0", "class 1" ..., and the test preprocessing of the
    public code. ``report`` tells what was loaded.

    Args:
        path_or_name: a folder, a name, an address, or a file. What exists under a name comes before the catalog's.
        num_classes, relative_bias, padding: for files of weights alone, see
            :func:`~videoswin.weights.checkpoint.load_checkpoint`; a checkpoint folder knows its own.

    Raises:
        ConfigError: there is no such folder, file or name, or an option was given for a folder.
        WeightsError: the checkpoint cannot be downloaded, is damaged, of another kind, or its parts do not agree.

    >>> classifier = load("swin3d_micro_gestures")  # doctest: +SKIP
    >>> classifier = load("swin3d_t_k400")  # doctest: +SKIP
    """
    if "\0" not in str(path_or_name) and ((entry := find(path_or_name)) or os.path.isfile(path_or_name)):
        file = video_file(entry) if entry else Path(path_or_name)
        _refuse_half_a_checkpoint(file)
        _refuse_exported(file)
        model, report = load_checkpoint(file, num_classes, relative_bias=relative_bias, padding=padding)
        return of_public_weights(model, report, entry)
    options = {"num_classes": num_classes, "relative_bias": relative_bias, "padding": padding}
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"{name} is for files of weights; a checkpoint folder has its own. Leave it out.")
    folder = fetch_folder(path_or_name) if is_address(path_or_name) else _find(path_or_name)
    config_path, weights_path = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    settings = read_config(config_path)
    model_config = swin_config(config_path, settings["model"])
    try:
        preprocessing = Preprocessing.from_dict(table(config_path, settings, "preprocessing"))
        labels = read_labels(config_path, settings)
        # Compared before the weights are read: the error should be about the cause.
        check_labels(labels, model_config.num_classes)
        model = _load_model(model_config, weights_path)
        return Classifier(
            model=model,
            preprocessing=preprocessing,
            labels=labels,
            name=str(settings.get("name") or folder.resolve().name),
            none_threshold=settings.get("none_threshold"),
            metrics=table(config_path, settings, "metrics"),
            notes=str(settings.get("notes", "")),
            card=table(config_path, settings, "card"),
        )
    except ConfigError as error:
        reason, _, hint = str(error).partition(". ")
        raise WeightsError(config_path, reason, hint) from None


def inflate(
    path_or_name: str | Path,
    num_classes: int | None = None,
    *,
    window_frames: int = 8,
    embed: Embed = "inflate",
    bias: Bias = "duplicate",
) -> Classifier:
    """A video classifier from a file of image weights (Microsoft, timm, torchvision, Hugging Face), or from the name of a
    published one ("swin2d_t_in1k"), which is downloaded once; a start for training.

    See :func:`~videoswin.weights.inflate.inflate_checkpoint` for the options and the errors.
    """
    entry = find(path_or_name)
    path = image_file(entry) if entry else path_or_name
    model, report = inflate_checkpoint(path, num_classes, window_frames=window_frames, embed=embed, bias=bias)
    return of_public_weights(model, report, entry)


def of_public_weights(model: VideoSwin, report: LoadReport, entry: Published | None = None) -> Classifier:
    """A classifier round a public file; ``entry``: what the catalog says of it. See :mod:`videoswin.published`."""
    labels, preprocessing, notes = describe(report, entry)
    name = entry.name if entry else report.path.stem
    card = {"license": entry.licence.lower()} if entry and " " not in entry.licence else {}
    return Classifier(model, preprocessing, labels, name=name, notes=notes, card=card, report=report)


def bundled_checkpoints() -> tuple[str, ...]:
    """Names of the checkpoints that come with the package."""
    if not _ASSETS.is_dir():
        return ()
    return tuple(sorted(path.parent.name for path in _ASSETS.glob(f"*/{CONFIG_FILE}")))


def loadable_names() -> tuple[str, ...]:
    """All names that :func:`load` knows: bundled checkpoints, and published video models, which it downloads."""
    return (*bundled_checkpoints(), *(entry.name for entry in CATALOG.values() if entry.kind == "video"))


def sample_videos() -> list[Path]:
    """The sample clips that come with the package."""
    return sorted((_ASSETS / "samples").glob("*.mp4"))


def _refuse_half_a_checkpoint(file: Path) -> None:
    """The weights of a checkpoint folder alone would get labels and preprocessing that are not theirs."""
    if file.name == WEIGHTS_FILE and (file.parent / CONFIG_FILE).is_file():
        raise ConfigError(
            f"{file} is a file, and a checkpoint is a folder with {WEIGHTS_FILE} and {CONFIG_FILE}. Give {file.parent}."
        )


def _refuse_exported(file: Path) -> None:
    if file.suffix in (".onnx", ".xml", ".pt2"):
        hint = "predict and evaluate take it as --weights; in Python: videoswin.runtime.load_exported"
        raise ConfigError(f"{file} is an exported file, which has no model inside that PyTorch code could use. {hint}.")


def _find(path_or_name: str | Path) -> Path:
    text = str(path_or_name)
    if text in bundled_checkpoints() and not os.path.exists(text):
        return _ASSETS / text
    if "\0" in text:
        raise ConfigError(f"{text!r} is no path. Give a checkpoint folder.")
    folder = settled_folder(path_or_name)
    if os.path.isdir(folder):
        return folder
    if text in PRESETS:
        raise ConfigError(f'"{text}" is an architecture without weights. Train it: videoswin train DATA --model {text}')
    hint = nearest(text, loadable_names())
    hint = (
        hint
        if hint.startswith("Did you")
        else "Give a folder or a file, or one of the names that videoswin models lists."
    )
    raise ConfigError(f'There is no checkpoint "{text}", neither a folder nor a name known to videoswin. {hint}')


def _load_model(config: SwinConfig, path: Path) -> VideoSwin:
    """The model with the file's weights, in float32; names and shapes are compared first, without taking memory."""
    header = read_header(path)
    if sum(config.depths) > len(header):  # more blocks than tensors, perhaps billions: do not even build it
        _refuse(path, [f"the model has {sum(config.depths)} blocks, the file {len(header)} tensors"])
    try:
        with torch.device("meta"):
            model = VideoSwin(config)
    except (RuntimeError, OverflowError, MemoryError) as error:
        raise WeightsError(path.with_name(CONFIG_FILE), f'the field "model" is too large to build ({error})') from None
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    _refuse(path, _differences(expected, {name: info.shape for name, info in header.items()}))
    tensors = read_tensors(path)
    require_floats(path, tensors)
    model.load_state_dict({name: own_float32(tensor) for name, tensor in tensors.items()}, assign=True)
    return model.requires_grad_(True).eval()


def _differences(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> list[str]:
    """What keeps a file's tensors from being a model's, in words; empty if nothing does."""
    shapes = [
        f"{name} is {_shape(found[name])}, not {_shape(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    groups = [
        ("missing", [name for name in expected if name not in found]),
        ("not part of the model", [name for name in found if name not in expected]),
        ("of another shape", shapes),
    ]
    return [f"{len(items)} {what}: {some(items)}" for what, items in groups if items]


def _refuse(path: Path, differences: list[str]) -> None:
    if differences:
        hint = f"Use weights that were saved with this {CONFIG_FILE}"
        raise WeightsError(path, f"the tensors do not fit the model of {CONFIG_FILE} ({'; '.join(differences)})", hint)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def check_labels(labels: tuple[str, ...], num_classes: int) -> None:
    """One name for each output, no name twice; else a :class:`ConfigError`."""
    if len(labels) != num_classes or not labels:
        raise ConfigError(
            f"The model has {num_classes} outputs and there are {len(labels)} labels; give one label for each."
        )
    twice = sorted({label for label in labels if labels.count(label) > 1}) if len(set(labels)) < len(labels) else []
    if twice:
        raise ConfigError(f'The label "{twice[0]}" is used for more than one class; give each its own.')


def check_threshold(threshold: Any) -> None:
    """A score or None; else a :class:`ConfigError`."""
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if threshold is not None and not (is_number and 0 <= threshold <= 1):
        raise ConfigError(f"none_threshold={threshold!r} must be a score between 0 and 1, or None.")


def _check_clips_fit(model: VideoSwin, preprocessing: Preprocessing) -> None:
    clip = torch.empty((1, model.config.in_channels, preprocessing.clip_len, *preprocessing.size), device="meta")
    model.backbone.checked(clip)
    if model.config.in_channels != 3:
        raise ConfigError(f"in_channels={model.config.in_channels}, and videos have 3 colour channels; use 3.")
