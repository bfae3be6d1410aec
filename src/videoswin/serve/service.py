"""What a server is made of, without HTTP: models, decoders, the batcher, jobs, places; and how they answer a request."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from videoswin.data.preprocessing import Views
from videoswin.predict.results import Prediction
from videoswin.predict.scoring import require_top_k, to_prediction
from videoswin.serve.batcher import Batcher
from videoswin.serve.decode_pool import DecodePool
from videoswin.serve.jobs import Jobs
from videoswin.serve.metrics import Metrics
from videoswin.serve.models import Models, ServedModel
from videoswin.serve.places import Places
from videoswin.serve.refusals import Refused
from videoswin.serve.settings import ServeSettings
from videoswin.serve.teaching import Lessons

__all__ = ["Service"]

T = TypeVar("T")


class Service:
    """Use within one event loop: :meth:`start`, requests, :meth:`close`."""

    def __init__(
        self,
        models: Models,
        settings: ServeSettings,
        tell: Callable[[dict[str, Any]], object] = lambda message: None,
    ) -> None:
        self.models, self.settings = models, settings
        self.tell = tell
        """Called, from other threads, with each message of the live streams; for a broker."""
        self.metrics = Metrics()
        self.draining = False
        self.in_flight = 0
        """Requests that are being answered, live streams included."""
        self.uploads = Places(settings.uploads, "As many uploads as this server takes are under way.")
        self.queue = Places(settings.queue, "As many requests as this server takes are waiting.")
        self.streams = Places(settings.streams, "As many streams as this server takes are open.")

    async def start(self) -> None:
        settings = self.settings
        self.folder = Path(tempfile.mkdtemp(prefix="videoswin-serve-"))
        self.batcher = Batcher(settings.share, self.metrics.looked)
        self.decoders = DecodePool(
            settings.decoders,
            settings.limits,
            settings.decode_timeout_s,
            settings.decode_bytes,
            self.metrics.decoders_replaced.inc,
        )
        self.jobs = Jobs(
            self.folder, settings.jobs, settings.job_timeout_s, settings.keep_jobs_s, self.metrics.jobs.set
        )
        self._lessons = Lessons(self.folder, self.jobs, self.models, settings)
        await self.decoders.start()

    async def close(self) -> None:
        await self.jobs.close()
        await self.decoders.close()
        await asyncio.get_running_loop().run_in_executor(None, self.batcher.close)
        shutil.rmtree(self.folder, ignore_errors=True)

    def lessons(self) -> Lessons:
        """Sessions of teaching; there once the service is started."""
        return self._lessons

    @property
    def ready(self) -> bool:
        """Whether requests can be answered now."""
        return not self.draining and self.batcher.alive and self.decoders.alive > 0

    def metrics_text(self) -> bytes:
        """For Prometheus."""
        self.metrics.waiting.set(self.queue.taken)
        self.metrics.streams.set(self.streams.taken)
        self.metrics.decoders.set(self.decoders.alive)
        return self.metrics.text()

    def views_of(self, text: str) -> Views:
        """Views that this server allows. Raises ConfigError, or 422."""
        views = Views.of(text or "1x1")
        if len(views) > self.settings.max_views:
            raise Refused(
                422, "bad_setting", f"{len(views)} views are more than the {self.settings.max_views} allowed."
            )
        return views

    async def predict(
        self, model: ServedModel, path: Path, name: str, views: Views, top_k: int
    ) -> tuple[Prediction, Tensor]:
        """The prediction, and the scores of each view (V, num_classes). Cancelling stops the work.

        Raises:
            VideoError, ConfigError, WeightsError.
        """
        require_top_k(top_k)
        began = time.perf_counter()
        looked = await self.decoders.read(path, name, model.classifier.preprocessing, views)
        self.metrics.decode.observe(time.perf_counter() - began)
        scores = await asyncio.wrap_future(self.batcher.score(model.classifier, looked.batch.clips))
        return to_prediction(model.classifier, views, top_k, looked, scores), scores

    async def in_time(self, work: Coroutine[Any, Any, T], gone: Coroutine[Any, Any, None]) -> T | None:
        """The result of ``work``, which is stopped when it takes too long, or when ``gone`` ends first: then None.

        Raises:
            Refused: 504.
        """
        working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone)
        try:
            await asyncio.wait({working, leaving}, timeout=self.settings.timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if leaving.done():
                return None
            raise Refused(
                504, "too_late", f"There was no answer within {self.settings.timeout_s:g} s, and the work was stopped."
            )
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)
