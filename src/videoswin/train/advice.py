"""What the figures of a run say about it, and what to try: one line each."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from videoswin.data.annotations import Clip
from videoswin.data.preprocessing import Preprocessing
from videoswin.train.metrics import EpochRow

__all__ = ["about_sampling", "about_threads", "advise", "at_chance", "resolution"]

_FEW_HELD_OUT = 50
_FEW_OF_A_CLASS = 8
_LEARNT = 0.85
_STILL_FALLING = 0.1
_EATEN = 0.5
_SHOWN = 0.6  # of a clip; less can miss the action
_DENSE_ENOUGH = 5.0  # frames a second
_SLOWED = 3.0


def resolution(clips: int) -> str:
    """What one clip is worth: ``"13 clips: one clip is 7.7 points"``."""
    return f"{clips} clips: one clip is {100 / clips:.1f} points"


def at_chance(correct: Sequence[bool], rows: Sequence[Clip]) -> bool:
    """Whether naming the commonest class every time would do as well, as far as so many clips can tell: the accuracy is not
    above that share by 1.64 standard errors (one side, 19 times in 20)."""
    share = max(Counter(row.label for row in rows).values()) / len(rows)
    accuracy = sum(correct) / len(correct)
    return accuracy <= share + 1.64 * (share * (1 - share) / len(rows)) ** 0.5


def advise(
    epochs: Sequence[EpochRow], train_rows: Sequence[Clip], confusion: Tensor | None, labels: Sequence[str]
) -> list[str]:
    """Lines for people. ``epochs``: of the run that is kept; ``confusion``: int64 (K, K) of held-out clips, true class in
    rows; None if nothing was held out."""
    lines = []
    if epochs:
        lines += _about_learning(epochs)
    counts = Counter(row.label for row in train_rows)
    rare = [f"{label} {n}" for label, n in sorted(counts.items(), key=lambda item: item[1]) if n < _FEW_OF_A_CLASS]
    if rare:
        lines.append(f"few clips: {', '.join(rare[:5])}. A class needs ten or more, of several people or scenes.")
    if counts and max(counts.values()) > 4 * min(counts.values()):
        most = max(counts, key=lambda label: counts[label])
        lines.append(f'uneven classes: "{most}" has {counts[most]} clips, the rarest {min(counts.values())}.')
    if confusion is not None:
        lines += _about_confusion(confusion, labels)
    return lines


def _about_learning(epochs: Sequence[EpochRow]) -> list[str]:
    last = epochs[-1]
    lines = []
    span = -(-len(epochs) // 5)
    before, now = (_mean_loss(part) for part in (epochs[-2 * span : -span], epochs[-span:]))
    falling = len(epochs) >= 3 and before > 0 and (before - now) / before > _STILL_FALLING
    if falling:
        lines.append(
            f"the training loss was still falling ({before:.2f} to {now:.2f}): try --epochs {2 * len(epochs)}."
        )
    elif last.train_top1 < _LEARNT:
        lines.append(
            f"the training accuracy stayed at {last.train_top1:.0%}: try more --epochs, a higher --backbone-lr-ratio or "
            "--lr, or --augment gentle."
        )
    if last.val_top1 is not None and last.train_top1 - last.val_top1 > 0.25 and not falling:
        lines.append(
            f"training clips {last.train_top1:.0%}, held-out ones {last.val_top1:.0%}: it learns the clips by heart. More "
            "people and scenes help most; then --augment strong, or --adapt last:2."
        )
    return lines


def about_sampling(preprocessing: Preprocessing, seconds: float, fps: float) -> list[str]:
    """A line if a clip shows too little of the usual video, ``seconds`` long at ``fps`` frames a second, or too few frames of it."""
    if not seconds or not fps:
        return []
    frames = preprocessing.clip_len
    if preprocessing.sampling == "uniform":
        rate = min(frames / seconds, fps)
        if rate < min(_DENSE_ENOUGH, fps):
            return [
                f"{frames} frames over {seconds:.1f} s are {rate:.1f} a second, too few to follow a quick motion: try "
                f"--clip-len {2 * frames}, or --sampling time --fps 8."
            ]
        return []
    step = (
        preprocessing.frame_interval / fps if preprocessing.sampling == "interval" else 1 / (preprocessing.fps or fps)
    )
    if frames * step < _SHOWN * seconds:
        return [
            f"a clip shows {frames * step:.1f} s of a video of {seconds:.1f} s and may miss the action: try --sampling uniform, or "
            f"--clip-len {2 * frames}."
        ]
    return []


def about_threads(epochs: Sequence[EpochRow], threads: int, load: float, cores: int) -> list[str]:
    """A line if other work takes the cores: ``threads`` of PyTorch wait for each other at every step then.

    ``load``: processes that want a core now; ``cores``: how many there are.
    """
    rates = [row.clips_per_s for row in epochs if row.clips_per_s > 0]
    slowed = len(rates) > 2 and max(rates) > _SLOWED * rates[-1]
    if threads < 2 or not (slowed or load > 2 * cores):
        return []
    why = (
        f"{max(rates):.1f} clips a second became {rates[-1]:.1f}"
        if slowed
        else f"{load:.0f} processes want {cores} cores"
    )
    return [
        f"the machine is busy ({why}): {threads} threads that wait for each other can be 30 times as slow; try "
        "OMP_NUM_THREADS=1 in front of the command."
    ]


def _mean_loss(epochs: Sequence[EpochRow]) -> float:
    return sum(row.train_loss for row in epochs) / max(len(epochs), 1)


def _about_confusion(confusion: Tensor, labels: Sequence[str]) -> list[str]:
    lines = []
    for i, label in enumerate(labels):
        total = int(confusion[i].sum())
        others = confusion[i].clone()
        others[i] = 0
        j = int(torch.argmax(others))
        if total >= 3 and int(others[j]) > _EATEN * total:
            lines.append(
                f'"{label}" is taken for "{labels[j]}" in {int(others[j])} of {total} clips: are they told apart?'
            )
    return lines[:3]
