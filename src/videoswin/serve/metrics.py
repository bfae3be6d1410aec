"""What a server counts, in the format of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own = self._registry
        self.requests = Counter("videoswin_requests", "Answers, by route and status", ["route", "status"], registry=own)
        self.seconds = Histogram(
            "videoswin_request_seconds",
            "From a request's headers to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=own,
        )
        self.decode = Histogram(
            "videoswin_decode_seconds", "Reading the views of one video", buckets=_SECONDS, registry=own
        )
        self.passes = Histogram("videoswin_pass_seconds", "One pass of the model", buckets=_SECONDS, registry=own)
        self.pass_views = Histogram(
            "videoswin_pass_views", "Views in one pass", buckets=(1, 2, 4, 8, 12, 16), registry=own
        )
        self.decoders_replaced = Counter(
            "videoswin_decoders_replaced", "Decoders that died or were ended", registry=own
        )
        self.waiting = Gauge("videoswin_waiting", "Requests that wait for an answer, uploaded in full", registry=own)
        self.streams = Gauge("videoswin_streams", "Open live streams", registry=own)
        self.jobs = Gauge("videoswin_jobs", "Jobs that wait or run", registry=own)
        self.decoders = Gauge("videoswin_decoders", "Decoders that live", registry=own)

    def looked(self, views: int, seconds: float) -> None:
        """After each pass of the model."""
        self.pass_views.observe(views)
        self.passes.observe(seconds)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)
