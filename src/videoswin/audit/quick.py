"""The part of an audit that costs nothing beside a training: what the bytes of the files and the list itself say."""

from collections import defaultdict
from collections.abc import Sequence

from videoswin.data.clips import Clip, first_few, names_of
from videoswin.data.fingerprints import bytes_sum

__all__ = ["quick_look"]

_MOST = 5


def quick_look(rows: Sequence[Clip]) -> list[str]:
    """Lines on what can be seen without decoding: the same bytes under two names, above all on both sides of a split or group."""
    sums = []
    for row in rows:
        try:
            sums.append(bytes_sum(row))
        except OSError:  # said where it is read
            sums.append(str(row.path))
    together: dict[str, list[Clip]] = defaultdict(list)
    for row, one in zip(rows, sums, strict=True):
        together[one].append(row)
    lines = []
    for alike in together.values():
        if len(alike) < 2:
            continue
        what = "have the same bytes"
        if len({row.label for row in alike}) > 1:
            what += " and different labels"
        if len({row.split for row in alike}) > 1 or len({row.group for row in alike if row.group}) > 1:
            what += ", in several splits or groups"
        lines.append(f"{first_few(names_of(alike))} {what}")
    if len(lines) > _MOST:
        lines = [*lines[:_MOST], f"{len(lines) - _MOST} more sets of clips have the same bytes"]
    return [f"beware: {line}. videoswin audit shows more." for line in lines]
