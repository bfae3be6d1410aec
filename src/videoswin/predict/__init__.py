"""A video in, labels out, for anything that scores clips: reading ahead, scoring, evaluating, reports."""

from videoswin.predict.batches import views_at_once
from videoswin.predict.results import Failure, LabelScore, Prediction, Span
from videoswin.predict.scoring import VideoClassifier, find_videos, predict, predict_each, predict_many, score_each_view

__all__ = [
    "Failure",
    "LabelScore",
    "Prediction",
    "Span",
    "VideoClassifier",
    "find_videos",
    "predict",
    "predict_each",
    "predict_many",
    "score_each_view",
    "views_at_once",
]
