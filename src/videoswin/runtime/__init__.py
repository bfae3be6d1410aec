"""Exported files as classifiers, run by other libraries."""

from videoswin.runtime.exported import ExportedClassifier, Runtime
from videoswin.runtime.loading import SUFFIXES, RuntimeName, is_exported, load_exported, open_classifier

__all__ = [
    "SUFFIXES", "ExportedClassifier", "Runtime", "RuntimeName", "is_exported", "load_exported", "open_classifier",
]  # fmt: skip
