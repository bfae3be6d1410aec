"""Pretraining on generated motion: follow a fingertip, and name the path it drew.

Three answers are asked of every clip at once. Where is the fingertip, among the tokens of stage 2 (a cross entropy per
frame); where is it, from the pooled features of the last stage at each time step (a regression); and which path was it
(a cross entropy per clip). The first two are dense, so they carry a narrow model over the plateau on which the third alone
leaves it. Their two linear layers are dropped afterwards: what stays is the paper's model and head.

Easy clips come first (a light hand on an even ground), clutter after: each :class:`Phase` is one part of the curriculum.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from generated.hand import MotionBatch, draw_motion
from generated.pointing import Pointers, pointers_for
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, TrainingError
from videoswin.interface.video_model import VideoModel

__all__ = ["MotionFigures", "Phase", "draw_clips", "learn", "normalised", "pretrain"]

_CHUNK = 50  # clips a process draws at a time


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One part of the curriculum. ``clips`` are drawn once and gone through again and again, cropped and lit anew."""

    clips: int
    steps: int
    clutter: float
    lr: float = 7e-4
    table_lr_ratio: float = 5.0
    """Bias tables learn this much faster: they alone say where a token is, and AdamW moves each entry by about ``lr`` a
    step, too slowly for the few hundred steps there are."""
    batch_size: int = 16
    warmup_steps: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= self.clips:
            raise ConfigError(f"batch_size={self.batch_size} must be from 1 to the phase's {self.clips} clips.")


@dataclass(frozen=True)
class MotionFigures:
    """Running means over the last steps of a phase."""

    step: int
    loss: float
    accuracy: float
    """Share of clips whose path is named right, in [0, 1]."""
    heat_loss: float
    tip_loss: float


def pretrain(
    model: VideoModel,
    preprocessing: Preprocessing,
    phases: list[Phase],
    seed: int,
    processes: int,
    watch: Callable[[Phase, MotionFigures], None],
) -> None:
    """Trains ``model`` in place; its head has one class per path of GESTURES and one more for any other.

    ``preprocessing`` gives the clip length, size and normalisation. ``processes`` draw the clips.

    Raises:
        TrainingError: a loss that is not finite.
    """
    course = ((phase, draw_clips(phase, preprocessing, seed, n, processes)) for n, phase in enumerate(phases))
    learn(model, preprocessing, course, seed, watch, torch.bfloat16)


def learn(
    model: VideoModel,
    preprocessing: Preprocessing,
    course: Iterable[tuple[Phase, MotionBatch]],
    seed: int,
    watch: Callable[[Phase, MotionFigures], None],
    dtype: torch.dtype = torch.float32,
) -> None:
    """As :func:`pretrain`, from clips that are there; ``dtype``: of the products."""
    torch.manual_seed(seed)
    pointed = pointers_for(model, preprocessing.clip_len, preprocessing.size)
    for phase, clips in course:
        _run_phase(pointed, preprocessing, phase, clips, watch, dtype)
    pointed.let_go()


def _run_phase(
    pointed: Pointers,
    preprocessing: Preprocessing,
    phase: Phase,
    clips: MotionBatch,
    watch: Callable[[Phase, MotionFigures], None],
    dtype: torch.dtype,
) -> None:
    pointed.train()
    device = next(pointed.parameters()).device
    optimizer = _optimizer(pointed.to(device), phase)
    running: Tensor | None = None
    for step, (frames, tips, labels) in enumerate(_batches(clips, preprocessing.size, phase)):
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * _factor(step, phase)
        labels = labels.to(device)
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            logits, heat_loss, tip_loss = pointed(normalised(frames, preprocessing).to(device), tips.to(device))
        loss = F.cross_entropy(logits, labels, label_smoothing=0.05) + 0.5 * heat_loss + tip_loss
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The pretraining loss became {loss.item()} at step {step + 1}. Lower the learning rate."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_grad_norm_(pointed.parameters(), 5.0)
        optimizer.step()
        accuracy = (logits.argmax(1) == labels).float().mean()
        now = torch.stack([loss.detach(), accuracy, heat_loss.detach(), tip_loss.detach()])
        running = now if running is None else 0.95 * running + 0.05 * now
        watch(phase, MotionFigures(step + 1, *running.tolist()))


def _optimizer(pointed: nn.Module, phase: Phase) -> AdamW:
    tables, matrices, rest = [], [], []
    for name, parameter in pointed.named_parameters():
        kind = tables if "relative_position_bias_table" in name else matrices if parameter.ndim > 1 else rest
        kind.append(parameter)
    groups = [
        {"params": tables, "base_lr": phase.lr * phase.table_lr_ratio, "weight_decay": 0.0},
        {"params": matrices, "base_lr": phase.lr, "weight_decay": 0.05},
        {"params": rest, "base_lr": phase.lr, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=phase.lr, betas=(0.9, 0.98))


def _factor(step: int, phase: Phase) -> float:
    """Linear warm-up, then a cosine that ends at 2 %."""
    return min(1.0, (step + 1) / phase.warmup_steps) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / phase.steps)))


def _batches(clips: MotionBatch, size: tuple[int, int], phase: Phase) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """``phase.steps`` batches of float frames (B, T, H, W, 3), tips and labels: a random crop of the drawn clips, in a
    random light."""
    count, _, height, width, _ = clips.frames.shape
    order = torch.randperm(count)
    for step in range(phase.steps):
        start = step * phase.batch_size % (count - phase.batch_size + 1)
        if start < phase.batch_size:
            order = torch.randperm(count)
        chosen = order[start : start + phase.batch_size]
        frames, tips = [], []
        for i in chosen.tolist():
            top = int(torch.randint(height - size[0] + 1, ()))
            left = int(torch.randint(width - size[1] + 1, ()))
            crop = clips.frames[i, :, top : top + size[0], left : left + size[1]].float()
            light = (0.7 + 0.6 * torch.rand(1)) * (0.9 + 0.2 * torch.rand(3))
            frames.append((crop * light + 20 * torch.randn(1)).clamp(0, 255))
            moved = clips.tips[i] * torch.tensor([width, height]) - torch.tensor([left, top])
            tips.append(moved / torch.tensor([size[1], size[0]]))
        yield torch.stack(frames), torch.stack(tips), clips.labels[chosen]


def normalised(frames: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(B, T, H, W, 3) on 0-255 -> (B, 3, T, H, W)."""
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    return ((frames - mean) / std).permute(0, 4, 1, 2, 3)


def draw_clips(phase: Phase, preprocessing: Preprocessing, seed: int, number: int, processes: int) -> MotionBatch:
    """The clips of phase ``number`` (from 0) of a course, a little larger than the model's so that crops have room, from several
    processes."""
    first = 1_000_000 * seed + 1000 * (number + 1)
    working = preprocessing.working_resize.size
    jobs = [
        (_CHUNK, preprocessing.clip_len, working, first + i, phase.clutter) for i in range(-(-phase.clips // _CHUNK))
    ]
    with get_context("spawn").Pool(processes) as pool:
        parts = [MotionBatch(*map(torch.from_numpy, arrays)) for arrays in pool.imap(_draw_chunk, jobs)]
    return MotionBatch(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _draw_chunk(job: tuple[int, int, tuple[int, int], int, float]) -> tuple[object, ...]:
    """Arrays, since tensors would be sent between processes through shared memory, a file each."""
    count, clip_len, size, seed, clutter = job
    torch.set_num_threads(1)
    batch = draw_motion(count, clip_len, size, torch.Generator().manual_seed(seed), clutter)
    return tuple(tensor.numpy() for tensor in batch)
