"""The forms of the API as OpenAPI describes them; what is listed here is also what a form may hold."""

from collections.abc import Iterable
from typing import Any

__all__ = ["DECISION_FIELDS", "FIELDS", "form_of"]

_VIDEO = {"type": "string", "format": "binary", "description": "The video file."}

FIELDS: dict[str, dict[str, Any]] = {
    "model": {"type": "string", "description": "A name that /v1/models lists; by default its first."},
    "views": {"type": "string", "default": "1x1", "description": "Clips x crops that are averaged: 1x1, 4x3, 4xwide."},
    "top_k": {"type": "integer", "default": 5, "description": "How many labels to give."},
    "raw": {"type": "boolean", "default": False, "description": "Also give the scores of all labels for each view."},
    "clip_seconds": {
        "type": "number",
        "description": "What one clip spans; for models of whole videos, the longest action.",
    },
    "hop_seconds": {"type": "number", "description": "From answer to answer. By default an eighth of a clip."},
    "enter": {"type": "number", "description": "The score that a label needs to begin."},
    "leave": {"type": "number", "description": "The score below which a label ends."},
    "min_duration": {"type": "number", "description": "Seconds that a label has to hold."},
    "smoothing": {"type": "number", "description": "Seconds over which scores are averaged."},
    "cuts": {"type": "boolean", "default": True, "description": "Begin afresh at each cut."},
    "gate": {"type": "boolean", "default": True, "description": "Do not ask the model again while nothing moves."},
    "label": {"type": "string", "description": "What the clip shows. Empty: none of the classes."},
    "group": {"type": "string", "description": "The person or scene; clips of one are held out together."},
}
DECISION_FIELDS = (
    "model", "clip_seconds", "hop_seconds", "enter", "leave", "min_duration", "smoothing", "cuts", "gate",
)  # fmt: skip


def form_of(names: Iterable[str]) -> dict[str, Any]:
    """``openapi_extra`` of a route that takes a video and these fields."""
    schema = {"type": "object", "required": ["video"], "properties": {"video": _VIDEO, **{n: FIELDS[n] for n in names}}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
