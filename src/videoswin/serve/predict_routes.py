"""``POST /v1/predict``: a video in, the object of ``videoswin predict --json`` out."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from torch import Tensor

from videoswin.predict.results import Prediction
from videoswin.serve.fields import flag, whole
from videoswin.serve.models import ServedModel
from videoswin.serve.openapi import form_of
from videoswin.serve.service import Service
from videoswin.serve.upload import read_form

__all__ = ["add_predict_routes", "client_gone"]

_FIELDS = ("model", "views", "top_k", "raw")
_CLIENT_LEFT = 499


def add_predict_routes(app: FastAPI, service: Service) -> None:
    @app.post("/v1/predict", summary="Labels for one video", openapi_extra=form_of(_FIELDS))
    async def predict(request: Request) -> Response:
        service.queue.require_room()
        with service.uploads.place():
            async with read_form(request, service.folder, _FIELDS, service.settings) as form:
                model = service.models.find(form.fields.get("model", ""))
                views = service.views_of(form.fields.get("views", ""))
                top_k = whole(form.fields, "top_k", 5, 1, 10_000)
                wants_raw = flag(form.fields, "raw", False)
                with service.queue.place():
                    work = service.predict(model, form.path, form.name, views, top_k)
                    found = await service.in_time(work, client_gone(request))
        if found is None:
            return Response(status_code=_CLIENT_LEFT)
        prediction, scores = found
        answer = prediction.to_dict()
        return JSONResponse({**answer, "raw": _raw(model, prediction, scores)} if wants_raw else answer)


async def client_gone(request: Request) -> None:
    """Ends when the client has left; the body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _raw(model: ServedModel, prediction: Prediction, scores: Tensor) -> dict[str, Any]:
    """All that thresholds need: nothing has to be run again to try others."""
    return {
        "model": model.classifier.name,
        "label": prediction.label,
        "none_threshold": model.classifier.none_threshold,
        "labels": list(model.classifier.labels),
        "views": [
            {"start_s": round(span.start, 3), "end_s": round(span.end, 3), "scores": [round(s, 6) for s in row]}
            for span, row in zip(prediction.spans, scores.tolist(), strict=True)
        ],
    }
