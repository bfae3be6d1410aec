"""Pretraining on many kinds of generated motion: find what moves, follow it, and say what it does.

Three kinds of answers are asked of every clip. Where are hands, feet, heads, fingertips and things, in every frame (a cross
entropy over the tokens of the second stage, each parted in 2 x 2); where are the joints of the bodies, at every time step,
from what the last stage says on average (a regression); and what was done: by which arm, with which legs, who approached whom,
along which path (a cross entropy for each question that the clip answers). The first two are dense and carry a narrow model
over the plateau on which the third leaves it. All layers made for them are dropped afterwards: what stays is a backbone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from generated.bodies import POINTS
from generated.scenes import ABSENT, HEADS, MARKS, Scenes
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import TrainingError
from videoswin.model import VideoSwin

__all__ = ["Course", "Figures", "Pool", "View", "pretrain"]

_HEAT_STAGE, _SUB_CELLS = 1, 2
_PELVIS = POINTS.index("pelvis")
_REACH = 0.15  # a body whose pelvis is farther outside the picture than this is not asked about
_SHOWN_EVERY = 50  # steps; reading a figure waits for the device


class Pool(Protocol):
    """Drawn clips to choose from. It may grow while the pretraining runs."""

    def pick(self, plain: int, cluttered: int) -> Scenes:
        """So many random clips of each kind, plain ones first, on the device of the model."""
        ...


@dataclass(frozen=True)
class View:
    """What a batch shows of its clips: ``frames`` of each, every ``interval``-th drawn one, of ``size`` pixels."""

    frames: int
    interval: int
    size: tuple[int, int]
    batch_size: int
    share: float
    """How often batches look so."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a pretraining runs. Times are shares of the whole, which may be steps or minutes."""

    views: tuple[View, ...]
    plain_until: float = 0.25
    """Most clips are plain at first (on clutter alone the questions stay at chance for long): up to here their share is
    the first of ``plain``; then it falls to the second."""
    plain: tuple[float, float] = (0.65, 0.12)
    fading: float = 0.2
    """Time over which it falls."""
    cooling: float = 0.4
    """Time at the end over which the learning rate falls."""
    lr: float = 1.5e-3
    table_lr_ratio: float = 8.0
    """Bias tables learn this much faster: they alone say where a token is, and AdamW moves each entry by ``lr`` a step."""
    warmup_steps: int = 200
    average: float = 0.998
    """Weights that are kept are a moving average."""
    autocast: bool = False
    """Products in bf16, for a GPU."""

    def plain_share(self, done: float) -> float:
        """Of the clips of a step."""
        first, last = self.plain
        return first + (last - first) * min(max((done - self.plain_until) / self.fading, 0.0), 1.0)

    def lr_factor(self, step: int, done: float) -> float:
        """Of a step (from 0)."""
        return min(1.0, (step + 1) / self.warmup_steps) * min(1.0, max(0.02, (1 - done) / self.cooling))


@dataclass(frozen=True)
class Figures:
    """Of one step. ``right``: share of right answers by question, on cluttered clips."""

    step: int
    heat: float
    pose: float
    right: dict[str, float]


def pretrain(
    model: VideoSwin,
    preprocessing: Preprocessing,
    course: Course,
    pool: Pool,
    done: Callable[[int], float],
    watch: Callable[[Figures], None],
    seed: int = 0,
) -> None:
    """Trains the backbone of ``model`` in place, on the device it is on.

    Args:
        pool: clips somewhat larger than the views, which are gone through again and again, cropped, zoomed and lit anew.
        done: share of the course that is over at a step, by steps or by a clock; at 1 it ends.
        watch: gets figures every fifty steps.

    Raises:
        TrainingError: a loss that is not finite.
    """
    torch.manual_seed(seed)
    device = next(model.parameters()).device
    questions = _Questions(model).to(device)
    optimizer = _optimizer(model, questions, course)
    kept = list(model.backbone.parameters())
    averaged = [parameter.detach().clone() for parameter in kept]
    shares = torch.tensor([view.share for view in course.views])
    model.train()
    step = 0
    while (over := done(step)) < 1:
        view = course.views[int(torch.multinomial(shares, 1))]
        plain = int((torch.rand(view.batch_size) < course.plain_share(over)).sum())
        batch = _varied(pool.pick(plain, view.batch_size - plain), view, preprocessing)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * course.lr_factor(step, over)
        with torch.autocast(device.type, torch.bfloat16, enabled=course.autocast):
            maps = model.forward_pyramid(batch.frames)
        answers, right = questions.answers(maps[-1].float().mean((2, 3, 4)), batch.labels, plain)
        heat, pose = (
            questions.heat(maps[_HEAT_STAGE].float(), batch.marks),
            questions.pose(maps[-1].float(), batch.points),
        )
        loss = 0.5 * answers + 0.7 * heat + 2 * pose
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_grad_norm_([*kept, *questions.parameters()], 5.0)
        optimizer.step()
        share = min(course.average, (step + 1) / (step + 20))
        with torch.no_grad():
            for value, parameter in zip(averaged, kept, strict=True):
                value.lerp_(parameter, 1 - share)
        step += 1
        if step % _SHOWN_EVERY == 0:
            if not torch.isfinite(loss):
                raise TrainingError(f"The loss became {loss.item()} at step {step}. Lower the learning rate.")
            watch(Figures(step, heat.item(), pose.item(), {name: value.item() for name, value in right.items()}))
    with torch.no_grad():
        for parameter, value in zip(kept, averaged, strict=True):
            parameter.copy_(value)


class _Questions(nn.Module):
    """The layers that are dropped afterwards."""

    def __init__(self, model: VideoSwin) -> None:
        super().__init__()
        config = model.config
        self.frames = config.patch_size[0]
        self.what = nn.Linear(config.num_features, sum(HEADS.values()))
        self.where = nn.Linear(config.stage_dims[_HEAT_STAGE], self.frames * len(MARKS) * _SUB_CELLS**2)
        self.joints = nn.Linear(config.num_features, self.frames * 2 * len(POINTS) * 2)

    def answers(self, features: Tensor, labels: Tensor, plain: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss over all questions, each weighted by how many clips answer it, and shares that are right among the clips after
        the first ``plain``."""
        loss, right = features.new_zeros(()), {}
        for number, (name, logits) in enumerate(
            zip(HEADS, self.what(features).split(list(HEADS.values()), dim=1), strict=True)
        ):
            wanted = labels[:, number]
            # Clips that do not answer are ignored; the mean over the batch weighs the question.
            loss = loss + F.cross_entropy(logits, wanted, label_smoothing=0.05, reduction="sum") / len(labels)
            shown = wanted[plain:]
            right[name] = (logits[plain:].argmax(1) == shown).sum() / (shown >= 0).sum()
        return loss, right

    def heat(self, stage_map: Tensor, marks: Tensor) -> Tensor:
        """Cross entropy of each mark's place. ``stage_map`` (B, C, T', H, W); ``marks`` (B, T, MARKS, 4, 2)."""
        batch, _, steps, height, width = stage_map.shape
        cells = self.where(stage_map.permute(0, 2, 3, 4, 1))
        cells = cells.view(batch, steps, height, width, self.frames, len(MARKS), _SUB_CELLS, _SUB_CELLS)
        cells = cells.permute(0, 1, 4, 5, 2, 6, 3, 7)  # (B, T', frames, marks, H, 2, W, 2)
        height, width = height * _SUB_CELLS, width * _SUB_CELLS
        scores = cells.reshape(batch, steps * self.frames, len(MARKS), height * width).log_softmax(-1)
        column, row = (marks[..., 0] * width).floor().long(), (marks[..., 1] * height).floor().long()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        found = scores.gather(-1, (row * width + column).clamp(0, height * width - 1))
        return -(found * inside).sum() / inside.sum().clamp(min=1)

    def pose(self, last_map: Tensor, points: Tensor) -> Tensor:
        """Error of the joints, in body heights about the pelvis, and of the pelvis in the picture.

        ``last_map`` (B, C, T', H, W); ``points`` (B, T, 2, POINTS + 1, 2).
        """
        said = self.joints(last_map.mean((3, 4)).transpose(1, 2))
        said = said.view(len(points), -1, 2, len(POINTS), 2)
        pelvis, scale = points[:, :, :, _PELVIS : _PELVIS + 1], points[:, :, :, -1:].clamp(min=0.02)
        wanted = (points[:, :, :, :-1] - pelvis) / scale * 4
        wanted[:, :, :, _PELVIS : _PELVIS + 1] = (pelvis - 0.5) * 4
        asked = ((pelvis > -_REACH) & (pelvis < 1 + _REACH)).all(-1, keepdim=True).float()
        error = F.smooth_l1_loss(said, wanted, beta=0.2, reduction="none") * asked
        return error.sum() / (asked.sum() * len(POINTS) * 2).clamp(min=1)


def _optimizer(model: VideoSwin, questions: _Questions, course: Course) -> AdamW:
    tables, matrices, rest = [], [], []
    for name, parameter in [*model.backbone.named_parameters(), *questions.named_parameters()]:
        kind = tables if "relative_position_bias_table" in name else matrices if parameter.ndim > 1 else rest
        kind.append(parameter)
    groups = [
        {"params": tables, "base_lr": course.lr * course.table_lr_ratio, "weight_decay": 0.0},
        {"params": matrices, "base_lr": course.lr, "weight_decay": 0.05},
        {"params": rest, "base_lr": course.lr, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=course.lr, betas=(0.9, 0.98))


def _varied(clips: Scenes, view: View, preprocessing: Preprocessing) -> Scenes:
    """The clips as the model sees them: normalised float frames (B, 3, T, H, W), a window of each at another scale, in other
    light; places moved along."""
    device, batch = clips.frames.device, len(clips.frames)
    uniform = lambda *shape: torch.rand(*shape, device=device)  # noqa: E731
    spare = clips.frames.shape[1] - (view.frames - 1) * view.interval
    first = int(torch.randint(max(spare, 1), ()))
    moments = slice(first, first + (view.frames - 1) * view.interval + 1, view.interval)
    frames = clips.frames[:, moments].permute(0, 1, 4, 2, 3).flatten(0, 1).float()  # (B * T, 3, H, W)
    side = 0.78 + 0.22 * uniform(batch, 1)  # of the window, as a share of the picture
    corner = uniform(batch, 2) * (1 - side)  # left, top
    centre = 2 * (corner + side / 2) - 1
    theta = torch.zeros(batch, 2, 3, device=device)
    theta[:, 0, 0] = theta[:, 1, 1] = side[:, 0]
    theta[:, :, 2] = centre
    height, width = view.size
    drawn = frames.shape[-2]
    finer = max(drawn // height, 1)  # sample at about the drawn density, then average: small views stay free of shimmer
    grid = F.affine_grid(theta, [batch, 3, height * finer, width * finer], align_corners=False)
    frames = F.grid_sample(frames, grid.repeat_interleave(view.frames, 0), padding_mode="border", align_corners=False)
    if finer > 1:
        frames = F.avg_pool2d(frames, finer)
    frames = frames.view(batch, view.frames, 3, height, width)
    light = (0.7 + 0.6 * uniform(batch, 1)) * (0.9 + 0.2 * uniform(batch, 3))
    offset = 20 * torch.randn(batch, 1, 1, 1, 1, device=device)
    frames = (frames * light.view(batch, 1, 3, 1, 1) + offset).clamp(0, 255)
    grey = frames.mean(2, keepdim=True).expand_as(frames)
    frames = torch.where(uniform(batch, 1, 1, 1, 1) < 0.15, grey, frames).transpose(1, 2)
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    points, marks = clips.points[:, moments], clips.marks[:, moments]
    window = side[:, None, None, :]
    moved = torch.cat(
        [
            (points[..., :-1, :] - corner[:, None, None, None]) / window[..., None],
            points[..., -1:, :] / window[..., None],
        ],
        dim=3,
    )
    moved_marks = (marks - corner[:, None, None, None]) / window[..., None]
    return Scenes(
        (frames - mean) / std,
        torch.where(points > ABSENT / 2, moved, points),
        torch.where(marks > ABSENT / 2, moved_marks, marks),
        clips.labels,
    )
