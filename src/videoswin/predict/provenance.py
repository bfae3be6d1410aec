"""What a classifier learnt from, kept in its checkpoint: so that nobody measures it by clips that it knows by heart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from videoswin.data.clips import Clip
from videoswin.data.fingerprints import bytes_sum
from videoswin.errors import ConfigError, nearest

__all__ = ["Training", "known_clips", "short_sum", "sums_of"]

_DIGITS = 16  # of a sum that are kept: two of a billion files agree in them by chance once in 40


@dataclass(frozen=True)
class Training:
    """A run, in plain values.

    Raises:
        ConfigError: a value that cannot be right.
    """

    start: str
    """The weights it began with, or "fresh weights of" an architecture."""
    data: str
    """The list or folder of clips, by its name alone."""
    clips: int
    classes: int
    groups: int = 0
    """People or scenes; 0: not known."""
    clip_seconds: float | None = None
    """Nine in ten of the clips were no longer."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the optimisation, by name."""
    sums: tuple[str, ...] = ()
    """Of each clip, the first digits of the SHA-256 of its file's bytes; ":start-end" follows for a part of a file."""

    def __post_init__(self) -> None:
        for name, kind in (
            ("start", str),
            ("data", str),
            ("clips", int),
            ("classes", int),
            ("groups", int),
            ("settings", dict),
        ):
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"training.{name} is {getattr(self, name)!r}. Use a {kind.__name__}.")
        seconds = self.clip_seconds
        if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds < 1e9):
            raise ConfigError(f"training.clip_seconds is {seconds!r}. Use seconds above 0, or none.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the sums on one line."""
        return {**asdict(self), "sums": " ".join(self.sums)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Training":
        """The way back of :meth:`to_dict`. ConfigError for a field that is unknown, missing or cannot be right."""
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(f'training has no field "{name}". {nearest(str(name), known)}')
        for name in ("start", "data", "clips", "classes"):
            if name not in values:
                raise ConfigError(f'training has no field "{name}". Add it, or leave the table out.')
        sums = values.get("sums", "")
        if not isinstance(sums, str):
            raise ConfigError(f"training.sums is {type(sums).__name__}. Use one text with spaces between the sums.")
        return cls(**{**values, "sums": tuple(sums.split())})


def short_sum(clip: Clip) -> str:
    """What is kept of a clip. OSError if its file cannot be read."""
    content, colon, part = bytes_sum(clip).partition(":")
    return content[:_DIGITS] + colon + part


def known_clips(training: Training | None, rows: Sequence[Clip]) -> list[bool]:
    """For each row, whether the run has learnt from it, or from seconds of it: by the files' bytes, whatever their names."""
    if training is None or not training.sums:
        return [False] * len(rows)
    known: dict[str, list[str]] = {}
    for one in training.sums:
        content, _, part = one.partition(":")
        known.setdefault(content, []).append(part)
    found = []
    for row in rows:
        try:
            content, _, part = short_sum(row).partition(":")
        except OSError:  # it is reported where it is read
            content, part = "", ""
        found.append(any(_overlap(part, other) for other in known.get(content, ())))
    return found


def _overlap(one: str, other: str) -> bool:
    """Whether parts "start-end" of a file have a moment in common; "" is the whole file, and no end its end."""
    (a, b), (c, d) = _seconds(one), _seconds(other)
    return a < d and c < b


def _seconds(part: str) -> tuple[float, float]:
    start, _, end = part.partition("-")
    try:
        return float(start or 0), float(end) if end else float("inf")
    except ValueError:
        return 0.0, float("inf")


def sums_of(rows: Iterable[Clip]) -> tuple[str, ...]:
    """Of all clips that can be read."""
    found = []
    for row in rows:
        try:
            found.append(short_sum(row))
        except OSError:
            continue
    return tuple(found)
