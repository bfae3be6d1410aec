"""From a name, a folder, an address or a file to a classifier.

Nothing is trusted. Names and shapes of the tensors are compared with the architecture before any memory is taken, and must
agree exactly: a checkpoint that fits "nearly" would classify, badly, without a word.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from videoswin.classifier.bundled import bundled_checkpoints, bundled_folder, loadable_names
from videoswin.classifier.catalog import Published, find
from videoswin.classifier.classifier import Classifier, check_labels
from videoswin.classifier.config_file import CONFIG_FILE, WEIGHTS_FILE, read_config, read_labels, swin_config, table
from videoswin.classifier.hub import fetch_folder, is_address
from videoswin.classifier.published import describe, image_file, video_file
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError, nearest
from videoswin.model import PRESETS, SwinConfig, VideoSwin
from videoswin.model.config import Padding, RelativeBias
from videoswin.storage.atomic import settled_folder
from videoswin.weights.checkpoint import load_checkpoint
from videoswin.weights.inflate import Bias, Embed, inflate_checkpoint
from videoswin.weights.load_report import LoadReport, first_few
from videoswin.weights.safetensors import own_float32, read_header, read_tensors, require_floats

__all__ = ["inflate", "load", "of_public_weights"]


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
    """A classifier round a public file; ``entry``: what the catalog says of it. See :mod:`videoswin.classifier.published`."""
    labels, preprocessing, notes = describe(report, entry)
    name = entry.name if entry else report.path.stem
    card = {"license": entry.licence.lower()} if entry and " " not in entry.licence else {}
    return Classifier(model, preprocessing, labels, name=name, notes=notes, card=card, report=report)


def _refuse_half_a_checkpoint(file: Path) -> None:
    """The weights of a checkpoint folder alone would get labels and preprocessing that are not theirs."""
    if file.name == WEIGHTS_FILE and (file.parent / CONFIG_FILE).is_file():
        raise ConfigError(
            f"{file} is a file, and a checkpoint is a folder with {WEIGHTS_FILE} and {CONFIG_FILE}. Give {file.parent}."
        )


def _refuse_exported(file: Path) -> None:
    if file.suffix in (".onnx", ".xml", ".pt2"):
        hint = "predict and evaluate take it as --weights; in Python: videoswin.export.runtime.load_exported"
        raise ConfigError(f"{file} is an exported file, which has no model inside that PyTorch code could use. {hint}.")


def _find(path_or_name: str | Path) -> Path:
    text = str(path_or_name)
    if text in bundled_checkpoints() and not os.path.exists(text):
        return bundled_folder(text)
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
    return [f"{len(items)} {what}: {first_few(items)}" for what, items in groups if items]


def _refuse(path: Path, differences: list[str]) -> None:
    if differences:
        hint = f"Use weights that were saved with this {CONFIG_FILE}"
        raise WeightsError(path, f"the tensors do not fit the model of {CONFIG_FILE} ({'; '.join(differences)})", hint)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
