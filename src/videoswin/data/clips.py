"""What a list of clips is made of: its rows, what is known of all of them, and what was wrong."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videoswin.errors import ConfigError

__all__ = ["Clip", "ClipList", "Problems", "first_few", "name_of", "names_of"]

_MAX_LISTED = 50


@dataclass(frozen=True)
class Clip:
    """One labelled clip: a video, or some seconds of one."""

    path: Path
    """Existing file, absolute."""
    label: str
    split: str = ""
    """"" where none is given."""
    group: str = ""
    """The person or scene, "" where none is given."""
    line: int = 0
    """In the CSV, from 1; 0 for a folder of class folders."""
    start: float = 0.0
    """Seconds from the first frame of the video."""
    end: float | None = None
    """Seconds, not included; None is the end of the video."""
    several: tuple[str, ...] | None = None
    """Its classes, in a list in which a clip may have several, or none; ``label`` is then the whole cell."""

    @property
    def classes(self) -> tuple[str, ...]:
        """``(label,)``, or ``several``."""
        return (self.label,) if self.several is None else self.several

    @property
    def is_part(self) -> bool:
        """Whether it is less than a whole video, as far as the list says."""
        return self.start > 0 or self.end is not None

    @property
    def unit(self) -> str:
        """What must not stand on both sides of a split: the group, or else the file (of which there may be several parts)."""
        return self.group or f"\0{self.path}"


@dataclass(frozen=True)
class ClipList:
    """The chosen clips, and what is known of the whole list."""

    rows: tuple[Clip, ...]
    labels: tuple[str, ...]
    """Class names; a class is its place here. They are those of all splits, so that every split numbers them alike."""
    root: Path
    """The folder of the list."""
    splits: Mapping[str, int]
    """Number of clips of each split, "" included; empty if there is no such column or folder."""
    shared_groups: tuple[str, ...]
    """Groups (people, scenes) found in more than one split, whose clips make a test look too good."""
    notes: tuple[str, ...] = ()
    """What a person should know before the list is used, a line each: files passed over, labels that look alike."""

    def __len__(self) -> int:
        return len(self.rows)

    def require_two_classes(self) -> None:
        """Raises :class:`ConfigError` if there is nothing to tell apart."""
        if len(self.labels) < 2:
            name = f'"{self.labels[0]}"' if self.labels else "none"
            raise ConfigError(
                f"{self.root}: all clips are of one class, {name}, so there is nothing to learn. "
                "Add clips of at least one other class, such as clips in which it does not happen."
            )


class Problems:
    """Collects what is wrong, to report it all at once."""

    def __init__(self, source: Path, found: list[tuple[int, str]] | None = None, name: str = "") -> None:
        self._source = source
        self._found: list[tuple[int, str]] = [] if found is None else found
        self._name = f"{name}, " if name else ""

    def of(self, name: str) -> "Problems":
        """The same collection, for one of several lists, which is then named with each line."""
        return Problems(self._source, self._found, name)

    def add(self, line: int, text: str) -> None:
        self._found.append((line, f"{self._name}line {line}: {text}" if line else text))

    def raise_if_any(self) -> None:
        if not self._found:
            return
        count = len(self._found)
        what = "1 entry" if count == 1 else f"{count} entries"
        lines = [f"{self._source}: {what} cannot be used. Correct or remove what is listed here:"]
        lines += [f"  {text}" for _, text in sorted(self._found, key=lambda found: found[0])[:_MAX_LISTED]]
        if count > _MAX_LISTED:
            lines.append(f"  ... and {count - _MAX_LISTED} more")
        raise ConfigError("\n".join(lines))


def first_few(items: Iterable[str], count: int = 5) -> str:
    """``a, b, c and 4 more``."""
    names = list(items)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def name_of(clip: Clip) -> str:
    """The file's name, with the seconds where it is a part of a video."""
    end = "the end" if clip.end is None else f"{clip.end:g} s"
    return clip.path.name + (f", {clip.start:g} s to {end}" if clip.is_part else "")


def names_of(clips: Sequence[Clip]) -> list[str]:
    """The same for each clip, with the file's folder where another file has its name: class folders often hold ``01.mp4`` each."""
    shared = Counter(path.name for path in {clip.path for clip in clips})
    return [f"{clip.path.parent.name}/" * (shared[clip.path.name] > 1) + name_of(clip) for clip in clips]
