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
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from generated.hand import MotionBatch, draw_motion
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, TrainingError
from videoswin.interface.video_model import VideoModel
from videoswin.model import VideoSwin
from videoswin.model.blocks import PatchMerging

__all__ = ["MotionFigures", "Phase", "draw_clips", "learn", "normalised", "pretrain"]

_HEAT_STAGE = 1  # the second stage: fine enough to point at a fingertip, deep enough to know one
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
    pointed = Pointers(model) if _merges(model) else OnePointer(model, preprocessing.clip_len)
    for phase, clips in course:
        _run_phase(pointed, preprocessing, phase, clips, watch, dtype)


class Answers(NamedTuple):
    """To one batch."""

    logits: Tensor
    heat_loss: Tensor
    tip_loss: Tensor


class Pointers(nn.Module):
    """Any Swin, with the two layers that say where the fingertip is; each time step holds ``patch_size[0]`` frames.

    They read the map that the second stage hands on, and the last one after its norm, as the model computes them.
    """

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model
        config = model.config
        self.frames = config.patch_size[0]
        merges = _merges(model)
        stage = min(_HEAT_STAGE, len(merges) - 1)
        self.heat = nn.Linear(config.stage_dims[stage], self.frames)
        self.tip = nn.Linear(model.num_features, 2 * self.frames)
        self._seen: dict[str, Tensor] = {}
        trunk: Any = model.backbone if isinstance(model, VideoSwin) else model
        merges[stage].register_forward_pre_hook(lambda _, given: self._seen.update(fine=given[0]))
        trunk.norm.register_forward_hook(lambda _module, _given, made: self._seen.update(last=made))

    def forward(self, video: Tensor, tips: Tensor) -> Answers:
        """``video`` (B, 3, T, H, W), ``tips`` (B, T, 2) as shares of the picture."""
        features = self.model.forward_features(video).float()
        fine, last = (self._seen.pop(name).float() for name in ("fine", "last"))  # (B, T', H, W, C)
        with torch.autocast(video.device.type, enabled=False):
            return Answers(self.model.classify(features), *self._losses(fine, last, tips))

    def _losses(self, fine: Tensor, last: Tensor, tips: Tensor) -> tuple[Tensor, Tensor]:
        heat = self.heat(fine)  # (B, T', H, W, frames)
        batch, steps, height, width, frames = heat.shape
        heat = heat.permute(0, 1, 4, 2, 3).reshape(batch * steps * frames, height * width)
        column, row = (tips[..., 0] * width).floor().long(), (tips[..., 1] * height).floor().long()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        target = torch.where(inside, row * width + column, -100)  # -100: cross_entropy leaves it out
        tip = self.tip(last.mean(dim=(2, 3))).view(batch, steps * frames, 2)
        return F.cross_entropy(heat, target.flatten()), _tip_loss(tip, tips)


class OnePointer(nn.Module):
    """Any other system, with one layer that tells the fingertip's whole way from a clip's features: not all systems have maps that
    are fine enough to point at it."""

    def __init__(self, model: VideoModel, clip_len: int) -> None:
        super().__init__()
        self.model = model
        self.tip = nn.Linear(model.num_features, 2 * clip_len)

    def forward(self, video: Tensor, tips: Tensor) -> Answers:
        """As :class:`Pointers`, without a loss of heat."""
        features = self.model.forward_features(video)
        tip = self.tip(self.model.pool(features)).float()
        return Answers(self.model.classify(features).float(), tips.new_zeros(()), _tip_loss(tip.view_as(tips), tips))


def _merges(model: VideoModel) -> list[nn.Module]:
    """What lies between a Swin's stages; other systems have none."""
    return [module for module in model.modules() if isinstance(module, PatchMerging)]


def _tip_loss(found: Tensor, tips: Tensor) -> Tensor:
    return F.smooth_l1_loss(found, (tips - 0.5) * 4, beta=0.2)


def _run_phase(
    pointed: Pointers | OnePointer,
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
