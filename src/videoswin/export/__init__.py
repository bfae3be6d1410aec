"""A checkpoint as one file that other runtimes run, checked on real clips before it is kept."""

from videoswin.export.check import TOLERANCES
from videoswin.export.write import COMBINATIONS, SUFFIXES, Exported, default_path, export

__all__ = ["COMBINATIONS", "SUFFIXES", "TOLERANCES", "Exported", "default_path", "export"]
