"""Exported files as classifiers: the same question, the same answer, without the model's own code."""

from videoswin.export.runtime.exported import ExportedClassifier, Runtime
from videoswin.export.runtime.open import RuntimeName, is_exported, load_exported, open_classifier

__all__ = ["ExportedClassifier", "Runtime", "RuntimeName", "is_exported", "load_exported", "open_classifier"]
