"""The options of commands that write annotations."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from videoswin.data.segments.formats import Format

__all__ = ["AnnotationFormat", "require_annotations"]

AnnotationFormat = Literal["activitynet", "label-studio", "via", "fiftyone", "elan", "webvtt", "boris", "createml"]


def require_annotations(path: Path | None, name: AnnotationFormat | None) -> "Format | None":
    """The format to write, before the work starts; None if nothing is to be written.

    Raises:
        ConfigError: a format without a file, or a file whose ending says nothing.
        OutputError: there is a file already.
    """
    from videoswin.data.segments.write import format_for
    from videoswin.errors import ConfigError

    if path is None:
        if name is not None:
            raise ConfigError(f"--format {name} says how --annotations FILE is written; give that as well.")
        return None
    return format_for(path, name)
