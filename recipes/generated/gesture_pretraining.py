"""Pretraining on generated motion: follow a fingertip, and name the path it drew.

Three answers are asked of every clip at once. Where is the fingertip, among the tokens of stage 2 (a cross entropy per
frame); where is it, from the pooled features of the last stage at each time step (a regression); and which path was it
(a cross entropy per clip). The first two are dense, so they carry a narrow model over the plateau on which the third alone
leaves it. Their two linear layers are dropped afterwards: what stays is the paper's model and head.

Easy clips come first (a light hand on an even ground), clutter after: each :class:`Phase` is one part of the curriculum.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from generated.hand import MotionBatch, draw_motion
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, TrainingError
from videoswin.model import VideoSwin

__all__ = ["MotionFigures", "Phase", "pretrain"]

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
    model: VideoSwin,
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
    torch.manual_seed(seed)
    pointers = _Pointers(model)
    for number, phase in enumerate(phases):
        clips = _draw(phase, preprocessing, 1_000_000 * seed + 1000 * (number + 1), processes)
        _run_phase(model, pointers, preprocessing, phase, clips, watch)


class _Pointers(nn.Module):
    """The two layers that say where the fingertip is; each time step holds ``patch_size[0]`` frames."""

    def __init__(self, model: VideoSwin) -> None:
        super().__init__()
        config = model.config
        self.frames = config.patch_size[0]
        self.heat = nn.Linear(config.stage_dims[_HEAT_STAGE], self.frames)
        self.tip = nn.Linear(config.num_features, 2 * self.frames)

    def losses(self, maps: list[Tensor], tips: Tensor) -> tuple[Tensor, Tensor]:
        """``maps`` of :meth:`forward_pyramid`, ``tips`` (B, T, 2) as shares of the picture."""
        heat = self.heat(maps[_HEAT_STAGE].permute(0, 2, 3, 4, 1))  # (B, T', H, W, frames)
        batch, steps, height, width, frames = heat.shape
        heat = heat.permute(0, 1, 4, 2, 3).reshape(batch * steps * frames, height * width)
        column, row = (tips[..., 0] * width).floor().long(), (tips[..., 1] * height).floor().long()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        target = torch.where(inside, row * width + column, -100)  # -100: cross_entropy leaves it out
        tip = self.tip(maps[-1].mean(dim=(3, 4)).transpose(1, 2)).view(batch, steps * frames, 2)
        return F.cross_entropy(heat, target.flatten()), F.smooth_l1_loss(tip, (tips - 0.5) * 4, beta=0.2)


def _run_phase(
    model: VideoSwin,
    pointers: _Pointers,
    preprocessing: Preprocessing,
    phase: Phase,
    clips: MotionBatch,
    watch: Callable[[Phase, MotionFigures], None],
) -> None:
    model.train()
    device = next(model.parameters()).device
    optimizer = _optimizer(model, pointers.to(device), phase)
    running: Tensor | None = None
    for step, (frames, tips, labels) in enumerate(_batches(clips, preprocessing.size, phase)):
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * _factor(step, phase)
        tips, labels = tips.to(device), labels.to(device)
        with torch.autocast(device.type, torch.bfloat16):
            maps = model.forward_pyramid(_normalised(frames, preprocessing).to(device))
        maps = [m.float() for m in maps]
        assert model.head is not None
        logits = model.head(maps[-1])
        heat_loss, tip_loss = pointers.losses(maps, tips)
        loss = F.cross_entropy(logits, labels, label_smoothing=0.05) + 0.5 * heat_loss + tip_loss
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The pretraining loss became {loss.item()} at step {step + 1}. Lower the learning rate."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_grad_norm_([*model.parameters(), *pointers.parameters()], 5.0)
        optimizer.step()
        accuracy = (logits.argmax(1) == labels).float().mean()
        now = torch.stack([loss.detach(), accuracy, heat_loss.detach(), tip_loss.detach()])
        running = now if running is None else 0.95 * running + 0.05 * now
        watch(phase, MotionFigures(step + 1, *running.tolist()))


def _optimizer(model: VideoSwin, pointers: _Pointers, phase: Phase) -> AdamW:
    tables, matrices, rest = [], [], []
    for name, parameter in [*model.named_parameters(), *pointers.named_parameters()]:
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


def _normalised(frames: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(B, T, H, W, 3) on 0-255 -> (B, 3, T, H, W)."""
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    return ((frames - mean) / std).permute(0, 4, 1, 2, 3)


def _draw(phase: Phase, preprocessing: Preprocessing, seed: int, processes: int) -> MotionBatch:
    """The phase's clips, a little larger than the model's so that crops have room, from several processes."""
    working = preprocessing.working_resize.size
    jobs = [
        (_CHUNK, preprocessing.clip_len, working, seed + i, phase.clutter) for i in range(-(-phase.clips // _CHUNK))
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
