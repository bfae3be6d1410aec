"""A checkpoint as one file that other runtimes run, checked on real clips before it is kept."""

from videoswin.export.formats import FORMATS, TOLERANCES, Format
from videoswin.export.write import Exported, default_path, export, require

__all__ = ["FORMATS", "TOLERANCES", "Exported", "Format", "default_path", "export", "require"]
