"""Holding out clips for validation: whole groups (people, scenes) where groups are known.

A clip of the same scene on both sides makes any model look good; so a group never stands on both sides.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import torch

from videoswin.data.annotations import Clip
from videoswin.errors import ConfigError

__all__ = ["hold_out", "k_folds"]


def hold_out(rows: Sequence[Clip], share: float, seed: int = 0) -> tuple[list[Clip], list[Clip]]:
    """Rows to train on and rows to validate on, about ``share`` of them, with all classes on both sides if possible.

    A few groups are parted more coarsely: two of them one to one. A class that stands in one group only is trained on.

    Raises:
        ConfigError: fewer than two groups (or clips), so nothing can be held out.
    """
    groups = len({row.unit for row in rows})
    folds = k_folds(rows, max(2, min(round(1 / share), groups)), seed, "Add some, or make a val split.")
    classes = {name for row in rows for name in row.classes}

    def classes_missed(number: int) -> tuple[int, int]:
        training = {n for fold in folds[:number] + folds[number + 1 :] for row in fold for n in row.classes}
        return len(classes - training), len(classes - {n for row in folds[number] for n in row.classes})

    chosen = min(range(len(folds)), key=classes_missed)
    return [row for fold in folds[:chosen] + folds[chosen + 1 :] for row in fold], folds[chosen]


def k_folds(rows: Sequence[Clip], folds: int, seed: int = 0, advice: str = "Add some.") -> list[list[Clip]]:
    """``folds`` parts of about equal size and class mix; a group is in one part only, and so are the clips of one file.

    Large groups are placed first, each where it makes the class counts most even. The seed decides between equals.

    Raises:
        ConfigError: fewer groups (or files) than that. ``advice`` is what the caller's user can do about it.
    """
    members: dict[str, list[Clip]] = defaultdict(list)
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        members[row.group or f"\0{first.setdefault(row.unit, number)}"].append(row)
    if len(members) < folds:
        raise ConfigError(f"Too few groups or single clips ({len(members)}) to make {folds} parts of. {advice}")
    names = sorted(members)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    by_size = sorted((names[i] for i in order), key=lambda name: -len(members[name]))
    parts: list[list[Clip]] = [[] for _ in range(folds)]
    counts: list[Counter[str]] = [Counter() for _ in range(folds)]
    for name in by_size:
        labels = Counter(label for row in members[name] for label in row.classes or ("",))
        # The sum of squares grows least where the group's classes are rarest and the part is smallest.
        target = min(
            range(folds), key=lambda f: sum(n * (2 * counts[f][c] + n) for c, n in labels.items()) + 0.1 * len(parts[f])
        )
        parts[target].extend(members[name])
        counts[target].update(labels)
    return parts
