"""What a list of clips says before one looks at it: balance, groups, lengths, and what so few test clips can tell."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from statistics import median

from videoswin.data.clips import Clip, ClipList, first_few
from videoswin.data.fingerprints import Fingerprint
from videoswin.train.advice import resolution

__all__ = ["about_list", "half_width", "odd_ones"]

_FEW = 10  # clips of a class
_UNEVEN = 4
_FEW_HELD_OUT = 50


def half_width(clips: int, share: float = 0.8) -> float:
    """Half of the range, 19 times in 20, in which an accuracy of ``share`` over so many clips is known. Clips of one group count
    less."""
    return 1.96 * (share * (1 - share) / clips) ** 0.5


def about_list(index: ClipList) -> list[str]:
    """Lines for people on the classes, the groups and the splits of a list."""
    rows = index.rows
    lines = []
    counts = Counter(name for row in rows for name in row.classes)
    rare = [f"{label} {n}" for label, n in sorted(counts.items(), key=lambda item: item[1]) if n < _FEW]
    if rare:
        lines.append(f"few clips: {first_few(rare)}. A class needs ten or more, of several people or scenes.")
    if counts and max(counts.values()) > _UNEVEN * min(counts.values()):
        most = max(counts, key=lambda label: counts[label])
        lines.append(f'uneven classes: "{most}" has {counts[most]} clips, the rarest {min(counts.values())}.')
    for name, count in index.splits.items():
        if name in ("test", "val", "valid", "validation") and count < 10 * _FEW_HELD_OUT:
            split = [row for row in rows if row.split == name]
            missing = sorted(set(index.labels) - {name for row in split for name in row.classes})
            without = f"; none of {first_few(missing)}" if missing else ""
            lines.append(
                f'"{name}" has {resolution(count)}; an accuracy of 80 % is known to ± {100 * half_width(count):.0f} points{without}.'
            )
    if not any(row.group for row in rows):
        lines.append(
            'no groups are given: a column "group" says which person, scene or recording a clip is of; without it clips of one '
            "stand on both sides."
        )
    elif index.shared_groups:
        lines.append(f"groups in more than one split: {first_few(index.shared_groups)}.")
    lines += _tied(rows)
    return lines


def _tied(rows: Sequence[Clip]) -> list[str]:
    """Groups that hold one class alone, if most do: then the group gives the class away, and no split can hold it out."""
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.group:
            labels[row.group].update(row.classes)
    alone = [group for group, found in labels.items() if len(found) == 1]
    if len(labels) > 2 and len(alone) > 0.8 * len(labels):
        return [
            f"{len(alone)} of {len(labels)} groups hold clips of one class only: the scene may give the class away."
        ]
    return []


def odd_ones(rows: Sequence[Clip], prints: Sequence[Fingerprint | None]) -> tuple[list[str], list[tuple[int, str]]]:
    """Lines on lengths, rates and sizes, and the clips (number, why) that are not like the others."""
    known = [(n, one) for n, one in enumerate(prints) if one is not None]
    if not known:
        return [], []
    usual = median(one.seconds for _, one in known)
    odd = []
    for number, one in known:
        if one.seconds > 3 * usual or one.seconds < usual / 3:
            odd.append((number, f"{one.seconds:.1f} s long, the others {usual:.1f} s"))
        elif one.fps == 0:
            odd.append((number, "a single frame"))
    lines = [f"{len(odd)} clips are three times as long as the others, or a third."] if odd else []
    properties: dict[str, Callable[[Fingerprint], str]] = {
        "frames a second": lambda one: f"{one.fps:.0f}" if one.fps else "a single frame",
        "pixels": lambda one: f"{one.width} x {one.height}",
    }
    for what, value in properties.items():
        lines += _values(what, [(name, value(one)) for n, one in known for name in rows[n].classes])
    return lines, odd


def _values(what: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A line on the values that occur, and one on a value that gives a class away."""
    counts = Counter(value for _, value in pairs)
    if len(counts) < 2:
        return []
    lines = [f"{what}: {first_few(f'{value} ({n} clips)' for value, n in counts.most_common())}."]
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for label, value in pairs:
        labels[value][label] += 1
    classes = Counter(label for label, _ in pairs)
    for value, found in labels.items():
        label, n = found.most_common(1)[0]
        if len(found) == 1 and n >= 5 and n > 0.5 * classes[label] and len(classes) > 1:
            lines.append(f'{value} {what} are of "{label}" alone: a model can learn that in place of the action.')
    return lines
