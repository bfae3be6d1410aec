"""From a name, a folder, an address or a file to a classifier, or to the file of weights behind it."""

from pathlib import Path
from typing import Any

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.facts import Facts
from videoswin.classifier.folder import WEIGHTS_FILE, half_of, read_facts, read_model
from videoswin.classifier.hub import fetch_folder
from videoswin.classifier.public_weights import classifier_of, published_file, published_zoo_file
from videoswin.classifier.resolve import (
    Bundled,
    Exported,
    Folder,
    Hub,
    Preset,
    Published,
    PublishedZoo,
    Target,
    WeightsFile,
    resolve,
)
from videoswin.errors import ConfigError
from videoswin.model.config import Padding, RelativeBias
from videoswin.weights.any_file import load_file
from videoswin.weights.checkpoint import load_checkpoint
from videoswin.weights.inflate import Bias, Embed, inflate_checkpoint

__all__ = ["checkpoint_folder", "inflate", "load", "weights_of"]


def load(
    path_or_name: str | Path,
    num_classes: int | None = None,
    *,
    relative_bias: RelativeBias | None = None,
    padding: Padding | None = None,
    like: str | None = None,
    **settings: Any,
) -> Classifier:
    """Load a classifier: the folder that a training run made ("runs/wave/best"); a checkpoint that comes with the
    package, or a published one that is downloaded once, by name (``videoswin models`` lists both); a folder on a hub
    ("hf://user/repo"); or a public file of weights (``.pth``, ``.pt``, ``.safetensors``) of the official code, MMAction2 or
    torchvision, or of any system of the zoo (docs/zoo.md).

    The model is in evaluation mode, in float32, on the CPU. Published files are known with their labels and test
    preprocessing. Any other file says nothing about them: it gets the labels of Kinetics-400, Kinetics-600 or
    Something-Something v2 if it has as many classes, else "class 0", "class 1" ..., and the test preprocessing of the
    public code. ``report`` tells what was loaded.

    Args:
        path_or_name: a folder, a name, an address, or a file. What exists under a name on the disk comes first.
        num_classes, relative_bias, padding: for files of weights alone, see
            :func:`~videoswin.weights.checkpoint.load_checkpoint`; a checkpoint folder knows its own.
        like, settings: for files of weights alone, what no tensor tells: the name of a model that is like it, and fields of
            the configuration, ``load(FILE, like="timesformer_b_divided", num_heads=4)``; see
            :func:`~videoswin.weights.any_file.load_file`.

    Raises:
        ConfigError: there is no such folder, file or name, or an option was given for a folder.
        WeightsError: the checkpoint cannot be downloaded, is damaged, of another kind, or its parts do not agree.

    >>> classifier = load("swin3d_micro_gestures")  # doctest: +SKIP
    >>> classifier = load("swin3d_t_k400")  # doctest: +SKIP
    """
    target = resolve(path_or_name)
    match target:
        case WeightsFile(path):
            if folder := half_of(path):
                raise ConfigError(
                    f"{path} is a file, and a checkpoint is a folder with {WEIGHTS_FILE} and config.json. Give {folder}."
                )
            file = load_file(
                path, num_classes, like=like, settings=settings, relative_bias=relative_bias, padding=padding
            )
            return classifier_of(*file)
        case Published(name, model):
            if model.kind == "image":
                hint = f'Inflate it to a video model: videoswin.inflate("{name}")'
                raise ConfigError(f'"{name}" is a model for images. {hint}')
            if like is not None or settings:
                option = "like" if like is not None else next(iter(settings))
                raise ConfigError(f'{option} is for files of weights; "{name}" is known. Leave it out.')
            file = published_file(model)
            network, report = load_checkpoint(file, num_classes, relative_bias=relative_bias, padding=padding)
            model.require_architecture(report)
            return classifier_of(network, report, model)
        case PublishedZoo(name, model):
            others = {"like": like, "relative_bias": relative_bias, "padding": padding, **settings}
            if given := [option for option, value in others.items() if value is not None]:
                raise ConfigError(f'{given[0]} is for files of weights; "{name}" is known. Leave it out.')
            told = {"like": model.model, "settings": dict(model.told)}
            network, report = load_file(published_zoo_file(model), num_classes, **told)
            if num_classes is None:
                model.require_file(report)
            return classifier_of(network, report, model)
        case Exported(path):
            hint = "predict and evaluate take it as --weights; in Python: videoswin.export.runtime.load_exported"
            raise ConfigError(
                f"{path} is an exported file, which has no model inside that PyTorch code could use. {hint}."
            )
        case Preset(name):
            raise _without_weights(name)
    options = {"num_classes": num_classes, "relative_bias": relative_bias, "padding": padding, "like": like, **settings}
    for option, value in options.items():
        if value is not None:
            raise ConfigError(f"{option} is for files of weights; a checkpoint folder has its own. Leave it out.")
    folder = checkpoint_folder(target)
    facts = read_facts(folder)  # first: an error should be about its cause
    return Classifier.of(read_model(folder, facts.config), facts)


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
    target = resolve(path_or_name)
    model = target.model if isinstance(target, Published) else None
    if model is not None and model.kind == "video":
        raise ConfigError(f'"{model.name}" is a video model already. Load it: videoswin.load("{model.name}")')
    path, _ = weights_of(target)
    network, report = inflate_checkpoint(path, num_classes, window_frames=window_frames, embed=embed, bias=bias)
    if model is not None:
        model.require_architecture(report)
    return classifier_of(network, report, model)


def weights_of(target: Target) -> tuple[Path, Facts | None]:
    """The file of weights that is meant, downloaded if need be; of a checkpoint folder, or the weights in one, also what its
    config.json says, which knows what tensors cannot tell.

    Raises:
        ConfigError: there are no weights that could be read as tensors.
        WeightsError: it cannot be downloaded, or config.json cannot be used.
    """
    match target:
        case WeightsFile(path):
            return path, read_facts(folder) if (folder := half_of(path)) else None
        case Published(_, model):
            return published_file(model), None
        case PublishedZoo(_, model):
            return published_zoo_file(model), None
        case Exported(path):
            raise ConfigError(
                f"{path} is an exported file: a program, not weights. Give the checkpoint that it is from."
            )
        case Preset(name):
            raise _without_weights(name)
    folder = checkpoint_folder(target)
    return folder / WEIGHTS_FILE, read_facts(folder)


def checkpoint_folder(target: Bundled | Folder | Hub) -> Path:
    """Where the folder stands; one on a hub is downloaded first."""
    return fetch_folder(target.repo, target.revision) if isinstance(target, Hub) else target.folder


def _without_weights(name: str) -> ConfigError:
    return ConfigError(f'"{name}" is an architecture without weights. Train it: videoswin train DATA --model {name}')
