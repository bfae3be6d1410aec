"""The training loop: clips in, a checkpoint folder per epoch out.

Every draw of a run is a function of the seed and of where the run stands: the order of an epoch of (seed, epoch), a clip of
(seed, epoch, index), dropout of (seed, epoch, step, batch). So nothing random has to be saved, and a run that was stopped in
the middle of an epoch and resumed ends with the same weights as one that was not.

    OUT/epoch-007/        usable checkpoints (model.safetensors, config.json), the latest few
    OUT/best/             the one with the best validation accuracy (without validation: the latest)
    OUT/last/             where the run stands: a checkpoint too, with what --resume needs beside it
    OUT/metrics.csv       one line per epoch
    OUT/curves.png        the same as a picture
    OUT/clips.json        what the clips' files hold, compared on --resume
"""

import copy
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from videoswin.classifier.classifier import Classifier
from videoswin.data.dataset import ClipDataset, ClipLoader, clip_generator
from videoswin.errors import Interrupted, TrainingError
from videoswin.storage.interrupt import Interruption
from videoswin.train.adapt import Adaptation, adapt, folded, set_training
from videoswin.train.contents import check_contents, keep_contents
from videoswin.train.ema import Average
from videoswin.train.lock import locked_run
from videoswin.train.metrics import EpochRow, Tally, draw_curves, read_rows, write_rows
from videoswin.train.mishaps import as_one_line
from videoswin.train.mixing import Mixing
from videoswin.train.optim import build_optimizer, rate_factor
from videoswin.train.order import Batch, class_shares, epoch_order, steps_of
from videoswin.train.processes import Processes, settle, whole
from videoswin.train.randomness import generator_at, seeded
from videoswin.train.settings import TrainSettings
from videoswin.train.spent import Spent
from videoswin.train.state import Progress, check_state, load_state, save_state, what_shapes
from videoswin.train.targets import Answers, Judge, targets_of
from videoswin.train.validation import validate
from videoswin.train.watching import Watch

__all__ = ["Trainer"]

_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LEAST_SCALE = 1.0  # of fp16 losses; gradients that are too large even so are no accident


class Trainer:
    """One run. ``classifier`` is trained in place; ``train_clips`` and ``val_clips`` give (3, T, H, W) clips.

    Raises:
        TrainingError: a loss or gradient that is not finite, before it reaches the weights; memory that ran out, a worker that
            was killed.
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
        OutputError: another process writes the run in ``out``; the disk is full.
        WeightsError: nothing to resume, or the settings or the clips differ from the run's.
    """

    def __init__(
        self,
        classifier: Classifier,
        train_clips: ClipDataset,
        val_clips: ClipDataset | None,
        settings: TrainSettings,
        out: str | Path,
        adaptation: Adaptation | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.classifier = classifier
        self.model = classifier.model
        self.adaptation = adaptation or Adaptation()
        self.processes = processes or Processes()
        self._kind = type(self.model)
        adapt(self.model, self.adaptation, settings.seed)
        if settings.checkpointing:
            self.model.set_grad_checkpointing()
        self.device = next(self.model.parameters()).device
        self.train_clips = train_clips
        self.val_clips = val_clips
        self.settings = settings
        self.out = Path(out)
        self.processes.split(self.model)
        self.answers = self.processes.wrapped(Answers(self.model), self.device)
        self.optimizer = build_optimizer(
            self.model,
            settings.lr,
            settings.backbone_lr_ratio,
            settings.weight_decay,
            settings.parameter_rule,
            settings.layer_decay,
            settings.optimizer,
            settings.momentum,
        )
        self.average = Average(self.model, settings.ema) if settings.ema else None
        self.targets = targets_of(train_clips, settings)
        self.classifier.answer = self.targets.answer()
        self.mixing = Mixing(settings.mixup, settings.cutmix)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.progress = Progress(batches=settings.accumulate * self.processes.world)
        self.rows: list[EpochRow] = []

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps."""
        settings = self.settings
        return -(-len(self.train_clips) * settings.repeat // (settings.batch_size * self.progress.batches))

    def check_resume(self, ignore: Sequence[str] = ()) -> None:
        """Compare the settings with those of the run in OUT, before a clip is decoded. ``ignore``: those that reading the
        clips may still change.

        Raises:
            WeightsError: there is no run, or it has other settings.
        """
        wanted = {name: value for name, value in self._what_shapes_the_weights().items() if name not in ignore}
        check_state(self.out / "last", wanted)

    def resume(self) -> None:
        """Continue from OUT/last, with the same settings and clips; the number of processes may be another one."""
        here = self.progress.batches
        self.progress = load_state(
            self.out / "last", self.model, self.optimizer, self._what_shapes_the_weights(), self.average, self.scaler
        )
        self.progress.batches = self.progress.batches or here
        check_contents(self.out, self._all_rows())
        self.rows = read_rows(self.out / "metrics.csv")[: self.progress.epoch]

    @property
    def done(self) -> bool:
        """Whether there is nothing left to train: all epochs are over, or the loss has not fallen for long enough."""
        return self.progress.epoch >= self.settings.epochs or self._stopped_early()

    def run(self, watch: Watch) -> list[EpochRow]:
        """Train to the end, looked on by ``watch`` (:mod:`videoswin.train.watching`); gives one row per epoch, those of a resumed run's past included."""
        with self._alone(), as_one_line(self._where), Interruption() as interruption:
            if self.processes.first and not (self.progress.epoch or self.progress.step):
                keep_contents(self.out, self._all_rows())
            while not self.done:
                self._train_epoch(watch, interruption)
                row = self._finish_epoch(interruption)
                if self.processes.first:
                    watch.epoch(row, best=self.progress.best_epoch == row.epoch)
        return self.rows

    def _alone(self):
        return locked_run(self.out) if self.processes.first else nullcontext()

    def _where(self) -> str:
        return f"in epoch {self.progress.epoch + 1}, step {self.progress.step + 1}"

    # One epoch --------------------------------------------------------------------------------------------------------

    def _train_epoch(self, watch: Watch, interruption: Interruption) -> None:
        set_training(self.model)
        progress = self.progress
        started = time.perf_counter() - progress.seconds
        saved = time.monotonic()
        steps = self.steps_ahead()
        batches = self.batches_of(steps)
        for step in steps:
            lr = self._set_learning_rate()
            clips, loss, right = self.learn(step, batches)
            progress.step += 1
            is_due = 0 < self.settings.save_every * 60 <= time.monotonic() - saved and self.processes.first
            clips, loss, right, asked, due = self.processes.sum([clips, loss, right, interruption.asked, is_due])
            progress.tally.count(round(clips), loss, round(right))
            progress.seconds = time.perf_counter() - started
            if self.processes.first:
                watch.step(progress.epoch + 1, progress.step, self.steps_per_epoch, progress.tally, lr)
            if asked or (interruption.asked and self.processes.world == 1):
                self._stop()
            if due:
                with progress.spent.on("write_s"):
                    self._save_state()
                saved = time.monotonic()

    def _stop(self) -> None:
        self._save_state()
        step = self.progress.step
        where = "before its validation" if step == self.steps_per_epoch else f"after step {step}"
        raise Interrupted(
            f"Stopped in epoch {self.progress.epoch + 1} {where}; everything is saved in "
            f"{self.out}. Go on with --resume and the same --out."
        )

    def steps_ahead(self) -> list[list[Batch]]:
        """What is left of the current epoch for this process, in its order."""
        settings, epoch = self.settings, self.progress.epoch
        weights = (
            class_shares([row.classes for row in self.train_clips.rows]) if settings.balance == "sampling" else None
        )
        order = epoch_order(len(self.train_clips), settings.seed, epoch, weights, settings.repeat)
        self.train_clips.set_epoch(epoch)
        processes = self.processes
        return steps_of(order, settings.batch_size, self.progress.batches, processes.rank, processes.world)[
            self.progress.step :
        ]

    def batches_of(self, steps: list[list[Batch]]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        draws = [list(batch.draws) for step in steps for batch in step]
        return iter(ClipLoader(self.train_clips, draws, num_workers=self.settings.workers))

    def learn(self, step: list[Batch], batches: Iterator[tuple[Tensor, Tensor, Tensor]]) -> tuple[float, float, float]:
        """One optimiser step over batches of this process. Gives their clips, the sum of their losses, and how many are right."""
        seen, loss_sum, right = 0, 0.0, 0
        spent = self.progress.spent
        self.optimizer.zero_grad(set_to_none=True)
        indices = torch.empty(0, dtype=torch.int64)
        for number, batch in enumerate(step):
            with spent.on("data_s"):
                clips, labels, indices = next(batches)
            with spent.on("step_s"), self.processes.apart(self.answers, until=number == len(step) - 1):
                loss, logits = self._gradients(batch, clips, labels, indices)
            if batch.share:
                seen += len(labels)
                loss_sum += loss * len(labels)
                right += self.targets.right(logits, labels)
        with spent.on("step_s"):
            self._update(indices)
        return seen, loss_sum, right

    def _update(self, indices: Tensor) -> None:
        """The weights, by the gradients that are there. ``indices``: clips to name if these are not finite."""
        self.scaler.unscale_(self.optimizer)
        norm = whole(clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm or float("inf")))
        if not self.scaler.is_enabled() or self.scaler.get_scale() < _LEAST_SCALE:
            self._require_finite("gradient", norm, indices)  # a finite loss can have one that is not
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.progress.epoch * self.steps_per_epoch + self.progress.step + 1)

    def _gradients(self, batch: Batch, clips: Tensor, labels: Tensor, indices: Tensor) -> tuple[float, Tensor]:
        """Adds those of a batch. Gives the loss and the logits (B, num_classes)."""
        seed, epoch, step = self.settings.seed, self.progress.epoch, self.progress.step
        draws = clip_generator(seed, epoch, -2 - step - (batch.number << 40)).initial_seed()
        labels = labels.to(self.device)
        clips = clips.to(self.device)
        if self.mixing.on:
            generator = generator_at(seed, epoch, "mixing", step, batch.number)
            clips, labels = self.mixing(clips, self.targets.shares(labels), generator)
        with seeded(draws, self.device):
            answers = self._logits(self.answers, clips)
            loss = self.targets.loss(answers, labels)
            self._require_finite("loss", loss, indices)
            # The processes' gradients are averaged, and a step's are to be those of the mean over its clips.
            weighed = loss * (batch.share * self.processes.world)
            self.scaler.scale(weighed).backward()  # checkpointed blocks draw once more here
        return loss.item(), answers.detach()[:, -1].cpu() if answers.ndim == 3 else answers.detach().cpu()

    def _logits(self, model: nn.Module, clips: Tensor) -> Tensor:
        """float32, on the model's device."""
        dtype = _DTYPES[self.settings.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32):
            return model(clips.to(self.device)).float()

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
        return rate_factor(self.settings, self.progress.epoch * per_epoch + step, per_epoch)

    def _validate(self, interruption: Interruption) -> tuple[Tally, Judge] | None:
        if self.val_clips is None:
            return None
        self.model.eval()
        found = validate(
            lambda clips: self._logits(self.model, clips),
            self.val_clips,
            self.targets,
            self.processes,
            self.average.in_place() if self.average is not None else nullcontext(),
            lambda: interruption.asked,
            self.settings.batch_size,
            self.settings.workers,
        )
        if found is None:
            self._stop()
        return found

    # What is written --------------------------------------------------------------------------------------------------

    def _finish_epoch(self, interruption: Interruption) -> EpochRow:
        spent = self.progress.spent
        with spent.on("val_s"):
            validation, judge = self._validate(interruption) or (None, Judge())
        self.classifier.answer = judge.answer or self.classifier.answer
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
            val_map=judge.mean_average_precision,
        )
        with spent.on("write_s"):
            self._save_checkpoint(row)
        row = replace(row, **asdict(spent))
        self.rows.append(row)
        later = Spent()
        with later.on("write_s"):
            if self.processes.first:  # before the state: a row too many is cut off by a resumed run
                write_rows(self.out / "metrics.csv", self.rows)
                draw_curves(self.out / "curves.png", self.rows)
            self.progress.start_epoch(epoch, later)
            self._save_state()
        return row

    def _stopped_early(self) -> bool:
        losses = [row.val_loss for row in self.rows if row.val_loss is not None]
        patience = self.settings.patience
        return bool(patience) and len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])

    def plain(self) -> Classifier:
        """The classifier as it is kept: the averaged weights if there are such, and no LoRA matrices beside the weights."""
        if self.average is None:
            return self._plain()
        with self.average.in_place():
            plain = self._plain()
            return replace(plain, model=copy.deepcopy(plain.model)) if plain.model is self.model else plain

    def _plain(self) -> Classifier:
        settle(self.model)
        if not self.processes.shares:
            return replace(self.classifier, model=folded(self.model))
        state = {name: whole(value.detach()) for name, value in self.model.state_dict().items()}
        with torch.device("meta"):
            model = self._kind(self.model.config)
        model.load_state_dict(state, assign=True)
        return replace(self.classifier, model=model)

    def _save_checkpoint(self, row: EpochRow) -> None:
        self.classifier.metrics = {
            k: v
            for k, v in row.as_dict().items()
            if k in ("epoch", "train_top1", "val_top1", "val_map") and v is not None
        }
        plain = self.plain()
        held_out = row.val_top1 if self.targets.kind == "one" else row.val_map
        score = -1.0 if held_out is None else held_out
        is_best = score >= self.progress.best  # of equals the later, which has seen more
        if is_best:
            self.progress.best, self.progress.best_epoch = score, row.epoch
        if not self.processes.first:
            return
        plain.save(self._epoch_folder(row.epoch))
        if is_best:
            plain.save(self.out / "best")
        for old in range(1, row.epoch - self.settings.keep_epochs + 1):
            shutil.rmtree(self._epoch_folder(old), ignore_errors=True)

    def _epoch_folder(self, epoch: int) -> Path:
        return self.out / f"epoch-{epoch:03d}"

    def _save_state(self) -> None:
        save_state(
            self.out / "last",
            self._plain(),
            self.model,
            self.optimizer,
            self.progress,
            self._what_shapes_the_weights(),
            self.average,
            self.scaler,
            write=self.processes.first,
        )
        self.processes.wait()

    def _all_rows(self) -> list[Any]:
        return [*self.train_clips.rows, *(self.val_clips.rows if self.val_clips is not None else ())]

    def _what_shapes_the_weights(self) -> dict[str, Any]:
        return what_shapes(self.classifier, self.train_clips, self.settings, self.adaptation, self.targets)
