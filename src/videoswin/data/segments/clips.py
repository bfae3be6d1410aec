"""Segments of other tools as a list of clips to train or evaluate on."""

from pathlib import Path

from videoswin.data.clips import Clip, Problems
from videoswin.data.folders import VIDEO_SUFFIXES
from videoswin.data.segments.formats import format_of
from videoswin.data.segments.tables import kind_of_table
from videoswin.errors import ConfigError

__all__ = ["are_segments", "clips_of_segments", "find_video"]

_BEGINNING = 2**16  # characters, in which a table says what it is


def are_segments(source: Path) -> bool:
    """Whether a file holds segments where a list is expected: an .eaf or .vtt, or a JSON or table of a format that we know. A
    table with a column ``path`` is a list of ours."""
    suffix = source.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _is_table_of_segments(source)
    if suffix != ".json" or not source.is_file():
        return suffix in (".eaf", ".vtt")
    try:
        return format_of(source).suffix == ".json"
    except ConfigError:  # the reader of lists says what is wrong with it
        return False


def _is_table_of_segments(source: Path) -> bool:
    try:
        with source.open(encoding="utf-8-sig", errors="replace") as file:
            return kind_of_table(file.read(_BEGINNING)) in ("boris", "createml")
    except OSError:  # the reader of lists says what is wrong with it
        return False


def clips_of_segments(source: Path, root: Path, problems: Problems) -> tuple[list[Clip], bool]:
    """The clips, and whether they have splits. ``root``: absolute, the folder of the file.

    Raises:
        ConfigError: the file is of no known format.
    """
    clips: list[Clip] = []
    seen: set[tuple[Path, float, float]] = set()
    tracks = format_of(source).read(source)
    for track in tracks:
        path = find_video(track.path or source.stem, root)
        if path is None:
            problems.add(0, f'the video "{track.path or source.stem}" is not below {root}')
            continue
        for mark in track.marks:
            if mark.end_s <= mark.start_s:
                problems.add(0, f'"{path.name}": "{mark.label}" at {mark.start_s:g} s has no length')
            elif (path, mark.start_s, mark.end_s) in seen:
                problems.add(0, f'"{path.name}": two labels from {mark.start_s:g} to {mark.end_s:g} s; a clip has one')
            else:
                seen.add((path, mark.start_s, mark.end_s))
                clips.append(Clip(path, mark.label, track.split, start=mark.start_s, end=mark.end_s))
    return clips, any(track.split for track in tracks)


def find_video(name: str, root: Path) -> Path | None:
    """The file that a name means: a path, or a name without suffix, in the folder itself, in ``data/`` or ``videos/``. Names that
    lead out of the folder mean nothing, absolute ones what they say."""
    if not name or "\0" in name:
        return None
    given = Path(name)
    if given.is_absolute():
        return given if given.is_file() else None
    for folder in (root, root / "data", root / "videos"):
        for candidate in (folder / given, *(folder / f"{name}{suffix}" for suffix in sorted(VIDEO_SUFFIXES))):
            if candidate.is_file() and candidate.resolve().is_relative_to(root):
                return candidate.resolve()
    return None
