"""A model with its preprocessing and labels: how it is named, kept and loaded."""

from videoswin.classifier.bundled import bundled_checkpoints, loadable_names, sample_videos
from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import inflate, load

__all__ = ["Classifier", "bundled_checkpoints", "inflate", "load", "loadable_names", "sample_videos"]
