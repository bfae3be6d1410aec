"""``/v1/samples``: the sample clips of the package, for people who have no video at hand."""

from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse

from videoswin.classifier.bundled import sample_videos
from videoswin.serve.refusals import Refused

__all__ = ["add_sample_routes"]


def add_sample_routes(app: FastAPI) -> None:
    samples = {path.name: path for path in sample_videos()}

    @app.get("/v1/samples", summary="Names of the sample clips")
    async def names() -> dict[str, Any]:
        return {"samples": list(samples)}

    @app.get("/samples/{name}", summary="A sample clip", response_class=FileResponse)
    async def sample(name: str) -> FileResponse:
        if name not in samples:
            raise Refused(404, "no_file", "There is no such sample.")
        return FileResponse(samples[name], media_type="video/mp4")
