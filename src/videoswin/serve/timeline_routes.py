"""``/v1/timeline``: a long video as a job, with progress, an end at will, and the result in every format of ``timeline``."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse

from videoswin.live.decisions import DecisionSettings
from videoswin.live.pace import Pace
from videoswin.serve.fields import flag, number, optional_number
from videoswin.serve.jobs import Job, file_of
from videoswin.serve.models import ServedModel
from videoswin.serve.openapi import DECISION_FIELDS, form_of
from videoswin.serve.refusals import Refused
from videoswin.serve.service import Service
from videoswin.serve.upload import read_form

__all__ = ["add_timeline_routes", "pace_of", "timeline_decisions"]

_FILES = {
    "csv": ("timeline.csv", "text/csv; charset=utf-8"),
    "json": ("timeline.json", "application/json"),
    "vtt": ("timeline.vtt", "text/vtt; charset=utf-8"),
    "html": ("timeline.html", "text/html; charset=utf-8"),
    "png": ("timeline.png", "image/png"),
    "raw": ("raw.json", "application/json"),
}


def add_timeline_routes(app: FastAPI, service: Service) -> None:
    @app.post("/v1/timeline", summary="Begin a timeline", status_code=202, openapi_extra=form_of(DECISION_FIELDS))
    async def begin(request: Request) -> dict[str, Any]:
        service.jobs.require_room()
        folder = service.jobs.new_folder()
        try:
            with service.uploads.place():
                async with read_form(request, folder, DECISION_FIELDS, service.settings) as form:
                    model = service.models.find(form.fields.get("model", ""))
                    video = form.path.rename(folder / "video")
                    settings = _job_settings(service, model, form.fields, video, form.name)
                    job = service.jobs.add("timeline", folder, settings)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return _with_links(job)

    @app.get("/v1/timeline/{id}", summary="How far a timeline is")
    async def look(id: str) -> dict[str, Any]:
        return _with_links(service.jobs.find(id, "timeline"))

    @app.delete("/v1/timeline/{id}", summary="End a timeline, and forget it")
    async def end(id: str) -> JSONResponse:
        await service.jobs.remove(service.jobs.find(id, "timeline"))
        return JSONResponse({"id": id, "state": "cancelled"})

    @app.get("/v1/timeline/{id}/{form}", summary="The result: csv, json, vtt, html, png, or raw scores")
    async def result(id: str, form: str) -> FileResponse:
        if form not in _FILES:
            raise Refused(404, "no_file", f"There is no such form. Known are {', '.join(_FILES)}.")
        name, kind = _FILES[form]
        path = file_of(service.jobs.find(id, "timeline"), name)
        return FileResponse(path, media_type=kind, filename=name, content_disposition_type="attachment")


def pace_of(fields: Any) -> Pace:
    """What the fields say."""
    clip_s = optional_number(fields, "clip_seconds", 0.05, 3600)
    return Pace(clip_s, optional_number(fields, "hop_seconds", 0.01, 3600))


def timeline_decisions(fields: Any, defaults: tuple[float, float, float, float]) -> DecisionSettings:
    """``defaults``: smoothing, enter, leave, min_duration."""
    names = ("smoothing", "enter", "leave", "min_duration")
    values = [number(fields, name, default, 0, 3600) for name, default in zip(names, defaults, strict=True)]
    return DecisionSettings(*values)


def _job_settings(service: Service, model: ServedModel, fields: Any, video: Path, name: str) -> dict[str, Any]:
    return {
        "path": str(video),
        "name": name,
        "model": model.source,
        "runtime": model.runtime,
        "device": model.device,
        "pace": asdict(pace_of(fields)),
        "decisions": asdict(timeline_decisions(fields, (0.0, 0.8, 0.3, 0.5))),
        "cuts": flag(fields, "cuts", True),
        "gate": flag(fields, "gate", True),
        "limits": asdict(service.settings.limits),
    }


def _with_links(job: Job) -> dict[str, Any]:
    here = f"/v1/timeline/{job.id}"
    files = {form: f"{here}/{form}" for form in _FILES} if job.state == "done" else {}
    return {**job.to_dict(), "links": {"self": here, **files}}
