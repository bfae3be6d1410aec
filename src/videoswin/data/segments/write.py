"""Tracks into a file of any format, which is chosen by name or by the file's ending."""

from collections.abc import Sequence
from pathlib import Path

from videoswin.data.segments.formats import FORMATS, Format
from videoswin.data.segments.tracks import Track
from videoswin.errors import ConfigError, OutputError
from videoswin.storage.atomic import replace_file, require_replaceable_file

__all__ = ["format_for", "write_tracks"]

_BY_ENDING = {".json": "activitynet", ".eaf": "elan", ".vtt": "webvtt"}


def format_for(path: Path, name: str | None = None) -> Format:
    """The format ``name``, or the one of the file's ending, for a file that can be written there: asked before the work.

    Raises:
        ConfigError: the ending says nothing (tables are of BORIS or of CreateML).
        OutputError: there is a file already, or where its folder should be.
    """
    name = name or _BY_ENDING.get(path.suffix.lower())
    if name is None:
        raise ConfigError(
            f"{path}: the ending does not say which format is meant. Give --format: {', '.join(FORMATS)}."
        )
    if any(parent.exists() and not parent.is_dir() for parent in path.absolute().parents):
        raise OutputError(path, "it would stand below a file", "Give a name in a folder")
    require_replaceable_file(path)
    if path.exists() and path.stat().st_size:
        raise OutputError(
            path, "there is a file already, and it is left alone", "Give another name, or remove it first"
        )
    return FORMATS[name]


def write_tracks(path: Path, form: Format, tracks: Sequence[Track]) -> None:
    """Write the file, whole or not at all. Raises OutputError."""
    with replace_file(path) as new:
        new.write_text(form.write(tracks), encoding="utf-8", newline="")
