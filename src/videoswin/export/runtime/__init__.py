"""Exported files as classifiers: the same question, the same answer, without the model's own code."""

from videoswin.export.formats import RuntimeName
from videoswin.export.runtime.exported import ExportedClassifier, Runtime
from videoswin.export.runtime.open import is_exported, load_exported, open_classifier, read_metadata

__all__ = [
    "ExportedClassifier", "Runtime", "RuntimeName", "is_exported", "load_exported", "open_classifier", "read_metadata",
]  # fmt: skip
