"""The server as an ASGI application: its routes, and how errors become answers."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from videoswin import __version__
from videoswin.errors import VideoSwinError
from videoswin.serve.door import Door
from videoswin.serve.predict_routes import add_predict_routes
from videoswin.serve.refusals import Refused, refusal_of
from videoswin.serve.sample_routes import add_sample_routes
from videoswin.serve.service import Service
from videoswin.serve.stream_route import stream
from videoswin.serve.teach_routes import add_teach_routes
from videoswin.serve.timeline_routes import add_timeline_routes

__all__ = ["make_app"]

_log = logging.getLogger(__name__)
_CLIENT_LEFT = 499  # nobody reads it; it is what the metrics count


def make_app(service: Service) -> FastAPI:
    """The application around a service, which it starts and closes."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="videoswin",
        version=__version__,
        description="Videos in, labels with times out.",
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    _add_error_handlers(app)
    _add_state_routes(app, service)
    add_predict_routes(app, service)
    add_timeline_routes(app, service)
    add_sample_routes(app)
    add_teach_routes(app, service)

    @app.websocket("/v1/stream")
    async def live(socket: WebSocket) -> None:
        await stream(socket, service)

    _add_page(app)
    app.add_middleware(Door, service=service)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    def answer(refused: Refused) -> JSONResponse:
        headers = (
            {"connection": "close", **refused.headers}
            if refused.status in (400, 408, 413, 415, 422)
            else refused.headers
        )
        return JSONResponse(refused.to_dict(), refused.status, headers)

    async def ours(request: Request, error: Exception) -> Response:
        refused = refusal_of(error)
        if refused.status >= 500 and not isinstance(error, Refused):
            _log.error("%s: %s", request.url.path, error)
        return answer(refused)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        what = {404: "There is no such page.", 405: "This address takes other methods."}
        message = what.get(error.status_code, "The request cannot be answered.")
        return JSONResponse(Refused(error.status_code, "http", message).to_dict(), error.status_code, error.headers)

    async def unread(request: Request, error: Exception) -> Response:
        return answer(Refused(422, "bad_setting", "A value in the address is not understood."))

    async def left(request: Request, error: Exception) -> Response:
        return Response(status_code=_CLIENT_LEFT)

    async def unknown(request: Request, error: Exception) -> Response:
        return answer(refusal_of(error))

    app.add_exception_handler(Refused, ours)
    app.add_exception_handler(VideoSwinError, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, unread)
    app.add_exception_handler(ClientDisconnect, left)
    app.add_exception_handler(Exception, unknown)


def _add_page(app: FastAPI) -> None:
    folder = Path(str(files("videoswin.serve") / "page"))

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(folder / "index.html")

    app.mount("/page", StaticFiles(directory=folder), name="page")


def _add_state_routes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", summary="Whether the process lives")
    async def health() -> dict[str, str]:
        return {"state": "alive"}

    @app.get("/readyz", summary="Whether requests are answered now")
    async def ready() -> JSONResponse:
        state = "draining" if service.draining else "ready" if service.ready else "not ready"
        return JSONResponse({"state": state}, 200 if service.ready else 503)

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models", summary="Models and limits")
    async def models() -> dict[str, Any]:
        settings = service.settings
        limits = {
            "upload_bytes": settings.max_upload_bytes,
            "pixels": settings.max_pixels,
            "seconds": settings.max_seconds,
            "views": settings.max_views,
            "timeout_s": settings.timeout_s,
        }
        return {"models": [model.to_dict() for model in service.models], "limits": limits}
