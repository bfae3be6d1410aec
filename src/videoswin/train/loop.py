"""The training loop: clips in, a checkpoint folder per epoch out.

Every draw of a run is a function of the seed and of where the run stands: the order of an epoch of (seed, epoch), a clip of
(seed, epoch, index), dropout of (seed, epoch, step). So nothing random has to be saved, and a run that was stopped in the
middle of an epoch and resumed ends with the same weights as one that was not.

    OUT/epoch-007/        usable checkpoints (model.safetensors, config.json), the latest few
    OUT/best/             the one with the best validation accuracy (without validation: the latest)
    OUT/last/             where the run stands: a checkpoint too, with what --resume needs beside it
    OUT/metrics.csv       one line per epoch
    OUT/curves.png        the same as a picture
"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from videoswin.classifier.classifier import Classifier
from videoswin.data.dataset import ClipDataset, ClipLoader, clip_generator
from videoswin.errors import Interrupted, TrainingError
from videoswin.storage.interrupt import Interruption
from videoswin.train.adapt import Adaptation, adapt, folded, set_training
from videoswin.train.metrics import EpochRow, Tally, draw_curves, read_rows, write_rows
from videoswin.train.optim import build_optimizer, learning_rate_factor
from videoswin.train.randomness import seeded
from videoswin.train.settings import TrainSettings
from videoswin.train.state import Progress, check_state, load_state, save_state

__all__ = ["Trainer", "Watch"]


class Watch(Protocol):
    """Whoever looks on: a progress bar, a log, a test. Called from the loop; none of it changes the run."""

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        """After every optimiser step. ``epoch`` and ``step`` count from 1; ``tally`` is of this epoch so far."""

    def epoch(self, row: EpochRow, best: bool) -> None:
        """After every epoch, its checkpoint written."""


class Trainer:
    """One run. ``classifier`` is trained in place; ``train_clips`` and ``val_clips`` give (3, T, H, W) clips.

    Raises:
        TrainingError: a loss or gradient that is not finite, before it reaches the weights.
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
        WeightsError: nothing to resume, or the settings differ from the run's.
    """

    def __init__(
        self,
        classifier: Classifier,
        train_clips: ClipDataset,
        val_clips: ClipDataset | None,
        settings: TrainSettings,
        out: str | Path,
        adaptation: Adaptation | None = None,
    ) -> None:
        self.classifier = classifier
        self.model = classifier.model
        self.adaptation = adaptation or Adaptation()
        adapt(self.model, self.adaptation, settings.seed)
        self.device = next(self.model.parameters()).device
        self.train_clips = train_clips
        self.val_clips = val_clips
        self.settings = settings
        self.out = Path(out)
        self.optimizer = build_optimizer(self.model, settings.lr, settings.backbone_lr_ratio, settings.weight_decay)
        self.progress = Progress()
        self.rows: list[EpochRow] = []
        self.steps_per_epoch = -(-len(train_clips) // settings.batch_size)

    def check_resume(self, ignore: Sequence[str] = ()) -> None:
        """Compare the settings with those of the run in OUT, before a clip is decoded. ``ignore``: those that reading the
        clips may still change.

        Raises:
            WeightsError: there is no run, or it has other settings.
        """
        wanted = {name: value for name, value in self._what_shapes_the_weights().items() if name not in ignore}
        check_state(self.out / "last", wanted)

    def resume(self) -> None:
        """Continue from OUT/last, with the same settings."""
        self.progress = load_state(self.out / "last", self.model, self.optimizer, self._what_shapes_the_weights())
        self.rows = read_rows(self.out / "metrics.csv")[: self.progress.epoch]

    @property
    def done(self) -> bool:
        """Whether there is nothing left to train: all epochs are over, or the loss has not fallen for long enough."""
        return self.progress.epoch >= self.settings.epochs or self._stopped_early()

    def run(self, watch: Watch) -> list[EpochRow]:
        """Train to the end; gives one row per epoch, those of a resumed run's past included."""
        self.out.mkdir(parents=True, exist_ok=True)
        with Interruption() as interruption:
            while not self.done:
                self._train_epoch(watch, interruption)
                row = self._finish_epoch()
                watch.epoch(row, best=self.progress.best_epoch == row.epoch)
        return self.rows

    # One epoch --------------------------------------------------------------------------------------------------------

    def _train_epoch(self, watch: Watch, interruption: Interruption) -> None:
        set_training(self.model)
        progress = self.progress
        started = time.perf_counter() - progress.seconds
        for clips, labels, indices in self._batches():
            lr = self._set_learning_rate()
            loss, logits = self._learn(clips, labels, indices)
            progress.step += 1
            progress.tally.add(loss, logits, labels)
            progress.seconds = time.perf_counter() - started
            watch.step(progress.epoch + 1, progress.step, self.steps_per_epoch, progress.tally, lr)
            if interruption.asked:
                self._save_state()
                raise Interrupted(
                    f"Stopped in epoch {progress.epoch + 1} after step {progress.step}; everything is saved in "
                    f"{self.out}. Continue with the same command and --resume."
                )

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What is left of the current epoch, in its order."""
        epoch, size = self.progress.epoch, self.settings.batch_size
        order = torch.randperm(len(self.train_clips), generator=clip_generator(self.settings.seed, epoch, -1)).tolist()
        self.train_clips.set_epoch(epoch)
        return self._load(self.train_clips, _chunks(order, size)[self.progress.step :])

    def _load(self, clips: ClipDataset, batches: list[list[int]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        return iter(ClipLoader(clips, batches, num_workers=self.settings.workers))

    def _learn(self, clips: Tensor, labels: Tensor, indices: Tensor) -> tuple[float, Tensor]:
        """One optimiser step. Gives the loss and the logits (B, num_classes)."""
        draws = clip_generator(self.settings.seed, self.progress.epoch, -2 - self.progress.step).initial_seed()
        with seeded(draws, self.device):
            logits, loss = self._answers(clips, labels.to(self.device))
            self._require_finite("loss", loss, indices)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # checkpointed blocks draw once more here
        norm = clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        self._require_finite("gradient", norm, indices)  # a finite loss can have one that is not
        self.optimizer.step()
        return loss.item(), logits.detach().cpu()

    def _answers(self, clips: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, num_classes) and the loss. A causal model is asked after every time step of the second half: it is to
        know the answer before the end, but not before it can be known."""
        smoothing = self.settings.label_smoothing
        if not self.model.config.causal:
            logits = self._logits(clips)
            return logits, F.cross_entropy(logits, labels, label_smoothing=smoothing)
        with self._autocast():
            steps = self.model.forward_steps(clips.to(self.device)).float()  # (B, T', num_classes)
        late = steps[:, steps.shape[1] // 2 :]
        targets = labels[:, None].expand(-1, late.shape[1])
        return steps[:, -1], F.cross_entropy(late.transpose(1, 2), targets, label_smoothing=smoothing)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16")

    def _logits(self, clips: Tensor) -> Tensor:
        """float32 (B, num_classes), on the model's device."""
        with self._autocast():
            return self.model(clips.to(self.device)).float()

    def _require_finite(self, what: str, value: Tensor, indices: Tensor) -> None:
        if torch.isfinite(value):
            return
        names = ", ".join(str(self.train_clips.rows[i].path) for i in indices.tolist())
        raise TrainingError(
            f"The {what} became {value.item()} in epoch {self.progress.epoch + 1}, step {self.progress.step + 1}; the weights "
            f"were left as they were before it. The clips were: {names}. Lower the learning rate, or look at the clips."
        )

    def _set_learning_rate(self) -> float:
        """Sets every group's rate for the coming step; gives the head's."""
        factor = self._learning_rate_factor(self.progress.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        return self.settings.lr * factor

    def _learning_rate_factor(self, step: int) -> float:
        """Of a step (from 0) of the current epoch."""
        per_epoch = self.steps_per_epoch
        return learning_rate_factor(
            self.progress.epoch * per_epoch + step,
            self.settings.epochs * per_epoch,
            # A short run would otherwise end before its warm-up does.
            round(min(self.settings.warmup_epochs, self.settings.epochs / 4) * per_epoch),
        )

    @torch.inference_mode()
    def _validate(self) -> Tally | None:
        """One centre view of every validation clip."""
        if self.val_clips is None:
            return None
        self.model.eval()
        tally = Tally()
        batches = _chunks(list(range(len(self.val_clips))), self.settings.batch_size)
        for clips, labels, _ in self._load(self.val_clips, batches):
            logits = self._logits(clips).cpu()
            tally.add(F.cross_entropy(logits, labels).item(), logits, labels)
        return tally

    # What is written --------------------------------------------------------------------------------------------------

    def _finish_epoch(self) -> EpochRow:
        validation = self._validate()
        epoch, tally, seconds = self.progress.epoch + 1, self.progress.tally, self.progress.seconds
        row = EpochRow(
            epoch=epoch,
            train_loss=tally.loss,
            train_top1=tally.top1,
            val_loss=validation.loss if validation else None,
            val_top1=validation.top1 if validation else None,
            lr=self.settings.lr * self._learning_rate_factor(self.steps_per_epoch - 1),
            seconds=seconds,
            clips_per_s=tally.clips / max(seconds, 1e-9),
        )
        self.rows.append(row)
        self._save_checkpoint(row)
        write_rows(self.out / "metrics.csv", self.rows)  # before the state: a row too many is cut off by a resumed run
        draw_curves(self.out / "curves.png", self.rows)
        self.progress.epoch, self.progress.step, self.progress.tally, self.progress.seconds = epoch, 0, Tally(), 0.0
        self._save_state()
        return row

    def _stopped_early(self) -> bool:
        losses = [row.val_loss for row in self.rows if row.val_loss is not None]
        patience = self.settings.patience
        return bool(patience) and len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])

    def plain(self) -> Classifier:
        """The classifier as it is saved: without LoRA matrices beside the weights."""
        return replace(self.classifier, model=folded(self.model))

    def _save_checkpoint(self, row: EpochRow) -> None:
        self.classifier.metrics = {
            k: v for k, v in row.as_dict().items() if k in ("epoch", "train_top1", "val_top1") and v is not None
        }
        plain = self.plain()
        plain.save(self._epoch_folder(row.epoch))
        score = -1.0 if row.val_top1 is None else row.val_top1
        if score >= self.progress.best:  # of equals the later, which has seen more
            self.progress.best, self.progress.best_epoch = score, row.epoch
            plain.save(self.out / "best")
        for old in range(1, row.epoch - self.settings.keep_epochs + 1):
            shutil.rmtree(self._epoch_folder(old), ignore_errors=True)

    def _epoch_folder(self, epoch: int) -> Path:
        return self.out / f"epoch-{epoch:03d}"

    def _save_state(self) -> None:
        save_state(
            self.out / "last", self.plain(), self.model, self.optimizer, self.progress, self._what_shapes_the_weights()
        )

    def _what_shapes_the_weights(self) -> dict[str, Any]:
        """All that a resumed run has to share with the one it continues, in the plain values of JSON."""
        clips = self.train_clips
        # Names without their folders, so that the data may move.
        parts = [(row.path.name, row.label, *((row.start, row.end) if row.is_part else ())) for row in clips.rows]
        listed = blake2b(repr(parts).encode(), digest_size=4)
        values = {
            **self.settings.what_shapes_the_weights(),
            "train_clips": f"{len(clips)} clips, list {listed.hexdigest()}",
            "labels": self.classifier.labels,
            "augment": repr(clips.augment),
            "adapt": str(self.adaptation),
            **{f"preprocessing.{k}": v for k, v in self.classifier.preprocessing.to_dict().items()},
            **{f"model.{k}": v for k, v in self.classifier.model.config.to_dict().items()},
        }
        return json.loads(json.dumps(values))


def _chunks(indices: list[int], size: int) -> list[list[int]]:
    return [indices[i : i + size] for i in range(0, len(indices), size)]
