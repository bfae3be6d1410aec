"""Pretraining on many kinds of generated motion: find what moves, follow it, and say what it does.

Three kinds of answers are asked of every clip. Where are hands, feet, heads, fingertips and things, in every frame (a cross
entropy over the tokens of the second stage, each parted in 2 x 2); where are the joints of the bodies, at every time step,
from what the last stage says on average (a regression); and what was done: by which arm, with which legs, who approached whom,
along which path (a cross entropy for each question that the clip answers). The first two are dense and carry a narrow model
over the plateau on which the third leaves it. All layers made for them are dropped afterwards: what stays is a backbone.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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

__all__ = ["Course", "Figures", "pretrain"]

_HEAT_STAGE, _SUB_CELLS = 1, 2
_PELVIS = POINTS.index("pelvis")
_REACH = 0.15  # a body whose pelvis is farther outside the picture than this is not asked about


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a pretraining runs. Most clips are plain at first: on clutter alone the questions stay at chance for long."""

    steps: int
    plain_until: int
    """Up to this step the share of plain clips is the first of ``plain``; then it falls to the second."""
    plain: tuple[float, float] = (0.65, 0.15)
    fading: int = 1000
    """Steps over which it falls."""
    cooling: int = 1200
    """Steps at the end over which the learning rate falls."""
    batch_size: int = 16
    lr: float = 8e-4
    table_lr_ratio: float = 8.0
    """Bias tables learn this much faster: they alone say where a token is, and AdamW moves each entry by ``lr`` a step."""
    warmup: int = 100
    average: float = 0.998
    """Weights that are kept are a moving average."""

    def plain_share(self, step: int) -> float:
        """Of the clips of a step."""
        first, last = self.plain
        return first + (last - first) * min(max((step - self.plain_until) / self.fading, 0.0), 1.0)

    def lr_factor(self, step: int) -> float:
        """Of a step (from 0)."""
        return min(1.0, (step + 1) / self.warmup) * min(1.0, max(0.02, (self.steps - step) / self.cooling))


@dataclass(frozen=True)
class Figures:
    """Running means. ``right``: share of right answers by question, on cluttered clips."""

    step: int
    heat: float
    pose: float
    right: dict[str, float]


def pretrain(
    model: VideoSwin,
    preprocessing: Preprocessing,
    course: Course,
    plain: Scenes,
    cluttered: Scenes,
    watch: Callable[[Figures], None],
    seed: int = 0,
) -> None:
    """Trains the backbone of ``model`` in place. ``plain`` and ``cluttered``: clips somewhat larger than the preprocessing's
    size, which are gone through again and again, cropped, zoomed and lit anew.

    Raises:
        TrainingError: a loss that is not finite.
    """
    torch.manual_seed(seed)
    questions = _Questions(model)
    optimizer = _optimizer(model, questions, course)
    averaged = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    running: dict[str, float] = {}
    model.train()
    for step in range(course.steps):
        is_plain = torch.rand(course.batch_size) < course.plain_share(step)
        batch = _batch(plain, cluttered, is_plain, preprocessing)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * course.lr_factor(step)
        maps = model.forward_pyramid(batch[0])
        answers, right = questions.answers(maps[-1].mean((2, 3, 4)), batch[3], is_plain)
        heat, pose = questions.heat(maps[_HEAT_STAGE], batch[2]), questions.pose(maps[-1], batch[1])
        loss = 0.5 * answers + 0.7 * heat + 2 * pose
        if not torch.isfinite(loss):
            raise TrainingError(f"The loss became {loss.item()} at step {step + 1}. Lower the learning rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_grad_norm_([*model.backbone.parameters(), *questions.parameters()], 5.0)
        optimizer.step()
        share = min(course.average, (step + 1) / (step + 20))
        for name, value in model.backbone.state_dict().items():
            averaged[name].lerp_(value, 1 - share)
        figures: dict[str, float] = {"heat": heat.detach().item(), "pose": pose.detach().item(), **right}
        for name, figure in figures.items():
            running[name] = 0.98 * running.get(name, figure) + 0.02 * figure
        shown = {name: value for name, value in running.items() if name in HEADS}
        watch(Figures(step + 1, running["heat"], running["pose"], shown))
    model.backbone.load_state_dict(averaged)


class _Questions(nn.Module):
    """The layers that are dropped afterwards."""

    def __init__(self, model: VideoSwin) -> None:
        super().__init__()
        config = model.config
        self.frames = config.patch_size[0]
        self.what = nn.Linear(config.num_features, sum(HEADS.values()))
        self.where = nn.Linear(config.stage_dims[_HEAT_STAGE], self.frames * len(MARKS) * _SUB_CELLS**2)
        self.joints = nn.Linear(config.num_features, self.frames * 2 * len(POINTS) * 2)

    def answers(self, features: Tensor, labels: Tensor, is_plain: Tensor) -> tuple[Tensor, dict[str, float]]:
        """Loss over all questions, each weighted by how many clips answer it, and the shares that are right."""
        loss, right = features.new_zeros(()), {}
        for number, (name, logits) in enumerate(
            zip(HEADS, self.what(features).split(list(HEADS.values()), dim=1), strict=True)
        ):
            wanted = labels[:, number]
            asked = wanted >= 0
            if not asked.any():
                continue
            part = F.cross_entropy(logits[asked], wanted[asked], label_smoothing=0.05)
            loss = loss + part * asked.float().mean()
            if (shown := asked & ~is_plain).any():
                right[name] = float((logits.argmax(1) == wanted)[shown].float().mean())
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


def _batch(plain: Scenes, cluttered: Scenes, is_plain: Tensor, preprocessing: Preprocessing) -> Scenes:
    """As many clips as ``is_plain`` has entries, normalised float frames (B, 3, T, H, W)."""
    return Scenes(*(torch.stack(c) for c in zip(*_clips(plain, cluttered, is_plain, preprocessing), strict=True)))


def _clips(plain: Scenes, cluttered: Scenes, is_plain: Tensor, preprocessing: Preprocessing) -> Iterator[Scenes]:
    mean, std = (torch.tensor(v).view(3, 1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    size = preprocessing.size
    for chosen in is_plain.tolist():
        source = plain if chosen else cluttered
        i = int(torch.randint(len(source.frames), ()))
        whole = torch.tensor(source.frames.shape[2:4])
        side = math.floor(int(whole.min()) * (0.78 + 0.22 * float(torch.rand(()))))  # a window at another scale
        top, left = (int(torch.randint(int(n) - side + 1, ())) for n in whole)
        frames = source.frames[i, :, top : top + side, left : left + side].permute(0, 3, 1, 2).float()
        frames = F.interpolate(frames, size=size, mode="bilinear", align_corners=False, antialias=side > min(size))
        light = (0.7 + 0.6 * torch.rand(1)) * (0.9 + 0.2 * torch.rand(3))
        frames = (frames * light.view(1, 3, 1, 1) + 20 * torch.randn(1)).clamp(0, 255)
        if torch.rand(()) < 0.15:
            frames = frames.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        window, shape = torch.tensor([left, top]), whole.flip(0)
        points, marks = source.points[i], source.marks[i]
        moved = torch.cat([(points[:, :, :-1] * shape - window) / side, points[:, :, -1:] * shape / side], dim=2)
        yield Scenes(
            (frames.transpose(0, 1) - mean) / std,
            torch.where(points > ABSENT / 2, moved, points),
            torch.where(marks > ABSENT / 2, (marks * shape - window) / side, marks),
            source.labels[i],
        )
