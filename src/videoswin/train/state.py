"""What a stopped run needs to go on: a checkpoint, and beside it the optimiser's moments and where the run stands.

Tensors go to safetensors and numbers to JSON, so resuming reads no pickle either. Random states are not saved: every draw
of a run is a function of (seed, epoch, step), see loop.py.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.folder import WEIGHTS_FILE
from videoswin.data.dataset import ClipDataset
from videoswin.errors import WeightsError
from videoswin.storage.atomic import replace_folder, settled_folder
from videoswin.train.adapt import Adaptation, has_adapters, learning, restore
from videoswin.train.ema import Average
from videoswin.train.metrics import Tally
from videoswin.train.processes import part_of, whole
from videoswin.train.settings import TrainSettings
from videoswin.train.spent import Spent
from videoswin.train.targets import OneLabel
from videoswin.weights.safetensors import read_tensors, write_tensors

__all__ = ["Progress", "check_state", "load_state", "require_state", "save_state", "what_shapes"]

OPTIMIZER_FILE, PROGRESS_FILE = "optimizer.safetensors", "progress.json"
LEARNING_FILE, AVERAGE_FILE = "learning.safetensors", "average.safetensors"


@dataclass
class Progress:
    """Where a run stands, between two optimiser steps."""

    epoch: int = 0
    """Epochs completed."""
    step: int = 0
    """Optimiser steps completed within the current epoch."""
    best: float = -1.0
    """Best validation accuracy (of multi-label runs mAP) so far, in [0, 1]; -1 before the first, or without validation."""
    best_epoch: int = 0
    tally: Tally = field(default_factory=Tally)
    """The figures of the current epoch so far."""
    seconds: float = 0.0
    """Spent on the current epoch so far."""
    batches: int = 0
    """That make one step: processes x accumulate when the run was started; 0: not known."""
    spent: Spent = field(default_factory=Spent)

    def start_epoch(self, completed: int, spent: Spent) -> None:
        """So many epochs are completed, and nothing of the next one; ``spent`` already counts for it."""
        self.epoch, self.step, self.tally, self.seconds, self.spent = completed, 0, Tally(), 0.0, spent


def save_state(
    folder: Path,
    classifier: Classifier,
    model: nn.Module,
    optimizer: Optimizer,
    progress: Progress,
    settings: dict[str, Any],
    average: Average | None = None,
    scaler: GradScaler | None = None,
    write: bool = True,
) -> None:
    """Replaces ``folder`` in one step; it can also be loaded as a checkpoint. ``settings`` have to be the same on resume.

    ``classifier`` is what can be loaded; ``model`` is the one that learns, which may have adapters and frozen parts. Where
    processes hold parts of the tensors all of them have to call this, and one has to ``write``.
    """
    moments: dict[str, Tensor] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            moments[f"{index}.{name}"] = whole(torch.as_tensor(value))
    averaged = {name: whole(value) for name, value in average.values.items()} if average is not None else {}
    if not write:
        return
    with replace_folder(folder, marker=PROGRESS_FILE) as new:
        classifier.write_files(new)
        if has_adapters(model):  # the checkpoint's tensors are sums, out of which a run cannot go on
            write_tensors(new / LEARNING_FILE, learning(model))
        if averaged:
            write_tensors(new / AVERAGE_FILE, averaged)
        write_tensors(new / OPTIMIZER_FILE, moments)
        scale = scaler.state_dict() if scaler is not None else {}
        text = json.dumps({"progress": asdict(progress), "settings": settings, "scaler": scale}, indent=2)
        (new / PROGRESS_FILE).write_text(text + "\n", encoding="utf-8")


def what_shapes(
    classifier: Classifier, clips: ClipDataset, settings: TrainSettings, adaptation: Adaptation, targets: OneLabel
) -> dict[str, Any]:
    """All that a resumed run has to share with the one it continues, in the plain values of JSON. ``clips``: to train on."""
    # Names without their folders, so that the data may move.
    parts = [(row.path.name, row.label, *((row.start, row.end) if row.is_part else ())) for row in clips.rows]
    listed = blake2b(repr(parts).encode(), digest_size=4)
    several = {"answer": targets.kind} if targets.kind != "one" else {}
    values = {
        **several,
        **settings.what_shapes_the_weights(),
        "train_clips": f"{len(clips)} clips, list {listed.hexdigest()}",
        "labels": classifier.labels,
        "augment": repr(clips.augment),
        "adapt": str(adaptation),
        **{f"preprocessing.{k}": v for k, v in classifier.preprocessing.to_dict().items()},
        **{f"model.{k}": v for k, v in classifier.model.config.to_dict().items()},
    }
    return json.loads(json.dumps(values))


def require_state(folder: Path) -> Path:
    """The folder, or what a cut-off save left of it; a :class:`WeightsError` if there is no run to resume."""
    folder = settled_folder(folder)
    if not (folder / PROGRESS_FILE).is_file():
        raise WeightsError(folder, "there is no run to resume here", "Start it without --resume")
    return folder


def check_state(folder: Path, settings: dict[str, Any]) -> Progress:
    """Where the run in ``folder`` stands, if it was started with these settings.

    Raises:
        WeightsError: no state there, or it belongs to a run with other settings (each named).
    """
    path = require_state(folder) / PROGRESS_FILE
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        values = saved["progress"]
        spent = Spent(**values.get("spent", {}))  # not there in older runs
        progress = Progress(**{**values, "tally": Tally(**values["tally"]), "spent": spent})
        before = dict(saved["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        raise WeightsError(path, "the file is damaged, so the run cannot be resumed", "Use another --out") from None
    before = {
        **TrainSettings().what_shapes_the_weights(),
        **before,
    }  # settings that were not there yet when it was started
    changed = [f"{k} {before.get(k)!r} -> {v!r}" for k, v in settings.items() if before.get(k) != v]
    if changed:
        reason = "the run was started with other settings: " + ", ".join(changed)
        raise WeightsError(path, reason, "Use the same ones, or another --out")
    return progress


def load_state(
    folder: Path,
    model: nn.Module,
    optimizer: Optimizer,
    settings: dict[str, Any],
    average: Average | None = None,
    scaler: GradScaler | None = None,
) -> Progress:
    """Fills the model, the optimiser, the average and the scaler, and gives the progress.

    Raises:
        WeightsError: no state there, or it belongs to a run with other settings (each named).
    """
    folder = require_state(folder)
    progress = check_state(folder, settings)
    try:
        if (folder / LEARNING_FILE).is_file():  # what does not learn is still that of the start
            restore(model, read_tensors(folder / LEARNING_FILE))
        else:
            _fill(model, read_tensors(folder / WEIGHTS_FILE))
        if average is not None:
            average.load(_parted(learning(model), read_tensors(folder / AVERAGE_FILE)))
    except (RuntimeError, KeyError) as error:
        raise WeightsError(
            folder / WEIGHTS_FILE, f"the weights are another model's ({error})", "Use another --out"
        ) from None
    state = optimizer.state_dict()
    state["state"] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, value in read_tensors(folder / OPTIMIZER_FILE).items():
        index, name = key.split(".", 1)
        own = value.clone()  # it may live in the file, which is replaced
        state["state"].setdefault(int(index), {})[name] = part_of(parameters[int(index)], own)
    optimizer.load_state_dict(state)
    if scaler is not None and scaler.is_enabled():
        saved = json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8"))
        scaler.load_state_dict(saved.get("scaler") or scaler.state_dict())
    return progress


def _fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    model.load_state_dict(_parted(model.state_dict(), tensors))


def _parted(like: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: part_of(like[name], value) if name in like else value for name, value in tensors.items()}
