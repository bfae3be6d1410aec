"""The options of commands that write annotations."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from videoswin.data.segments.formats import Format

__all__ = ["AnnotationFormat", "require_annotations"]

AnnotationFormat = Literal["activitynet", "label-studio", "via", "fiftyone", "elan", "webvtt", "boris", "createml"]


def require_annotations(path: Path | None, name: AnnotationFormat | None, videos: int = 1) -> "Format | None":
    """The format to write, before the work starts; None if nothing is to be written.

    Raises:
        ConfigError: a format without a file, a file whose ending says nothing, or one that cannot hold so many videos.
        OutputError: there is a file already.
    """
    from videoswin.data.segments.write import format_for
    from videoswin.errors import ConfigError

    if path is None:
        if name is not None:
            raise ConfigError(f"--format {name} says how --annotations FILE is written; give that as well.")
        return None
    form = format_for(path, name)
    if form.one_video and videos > 1:
        raise ConfigError(
            f"{path}: a file of {form.name} is about one video, and these are {videos}. Write a .json, and turn it into files: "
            f"videoswin annotations FILE.json FOLDER --to {form.name}"
        )
    return form
