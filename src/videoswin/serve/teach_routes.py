"""``/v1/teach``: bring clips, train, try, correct, and take the checkpoint home."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse

from videoswin.serve.jobs import file_of
from videoswin.serve.openapi import form_of
from videoswin.serve.predict_routes import client_gone
from videoswin.serve.refusals import Refused
from videoswin.serve.service import Service
from videoswin.serve.upload import read_form

__all__ = ["add_teach_routes"]

_FIELDS = ("label", "group")
_MAX_NAME = 60


def add_teach_routes(app: FastAPI, service: Service) -> None:
    lessons = service.lessons

    @app.post("/v1/teach", summary="Begin a lesson", status_code=201)
    async def begin() -> dict[str, Any]:
        return lessons().begin().to_dict()

    @app.get("/v1/teach/{id}", summary="Its clips, its training, and the name of its model")
    async def look(id: str) -> dict[str, Any]:
        lesson = lessons().find(id)
        await lessons().take_up(lesson)
        return lesson.to_dict()

    @app.delete("/v1/teach/{id}", summary="Forget a lesson and its clips")
    async def end(id: str) -> JSONResponse:
        await lessons().end(lessons().find(id))
        return JSONResponse({"id": id, "state": "gone"})

    @app.post("/v1/teach/{id}/clips", summary="Add a clip", status_code=201, openapi_extra=form_of(_FIELDS))
    async def add(id: str, request: Request) -> JSONResponse:
        lesson = lessons().find(id)
        lessons().require_room(lesson)
        service.queue.require_room()
        with service.uploads.place():
            async with read_form(request, lesson.folder, _FIELDS, service.settings) as form:
                label, group = (_name(form.fields.get(field, "")) for field in _FIELDS)
                if not label:
                    message = f'Name the class as the field label; "{_none()}" is for clips of other things.'
                    raise Refused(422, "bad_setting", message)
                with service.queue.place():
                    # Read once now, so that a clip that cannot be read is told at once and not in the middle of a training.
                    preprocessing = service.models.find("").classifier.preprocessing
                    reading = service.decoders.read(form.path, form.name, preprocessing, service.views_of("1x1"))
                    if await service.in_time(reading, client_gone(request)) is None:
                        return JSONResponse({}, 499)
                name = lessons().add(lesson, form.path, label, group)
        return JSONResponse({"clip": name, **lesson.to_dict()}, 201)

    @app.delete("/v1/teach/{id}/clips/{clip}", summary="Take a clip away")
    async def remove(id: str, clip: str) -> dict[str, Any]:
        lesson = lessons().find(id)
        lessons().remove_clip(lesson, clip)
        return lesson.to_dict()

    @app.post("/v1/teach/{id}/train", summary="Train on the clips", status_code=202)
    async def train(id: str) -> dict[str, Any]:
        lesson = lessons().find(id)
        _require_enough(lesson.to_dict()["clips"])
        await lessons().train(lesson, _start())
        return lesson.to_dict()

    @app.get("/v1/teach/{id}/checkpoint", summary="The checkpoint folder, zipped")
    async def checkpoint(id: str) -> FileResponse:
        lesson = lessons().find(id)
        if lesson.job is None:
            raise Refused(409, "not_done", "Nothing was trained yet.")
        path = file_of(lesson.job, "checkpoint.zip")
        return FileResponse(path, media_type="application/zip", filename="checkpoint.zip")


def _name(text: str) -> str:
    """A label or a group: short, and on one line."""
    if len(text) > _MAX_NAME or not text.isprintable():
        raise Refused(422, "bad_setting", f"A name has at most {_MAX_NAME} printable characters.")
    return text


def _none() -> str:
    from videoswin.train.teach import NONE

    return NONE


def _start() -> str:
    from videoswin.train.start import DEFAULT_START

    return DEFAULT_START


def _require_enough(counts: dict[str, int]) -> None:
    from videoswin.train.teach import MIN_CLIPS, NONE

    named = {label: count for label, count in counts.items() if label != NONE}
    if len(named) < 2 or min(named.values()) < MIN_CLIPS:
        raise Refused(422, "too_few", f"Give two names or more, and {MIN_CLIPS} clips to each; 10 do better.")
