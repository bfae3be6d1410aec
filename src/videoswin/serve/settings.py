"""What a server allows: every limit in one place, with defaults that are safe for strangers."""

import ipaddress
import math
import os
from dataclasses import dataclass, fields

from videoswin.data.containers import Limits
from videoswin.errors import ConfigError

__all__ = ["ServeSettings", "is_loopback"]

_MAY_BE_ZERO = {"port", "streams", "jobs"}


@dataclass(frozen=True)
class ServeSettings:
    """Where a server listens and what it lets a client cost.

    Raises:
        ConfigError: a limit that is no number above 0.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any free one."""
    token: str | None = None
    """What clients have to send as ``Authorization: Bearer``; None: nothing is asked for."""
    share: bool = True
    """Whether views of different requests go through the model together."""
    queue: int = 64
    """Requests that may wait for an answer at once, uploaded in full; more are refused with 503."""
    connections: int = 256
    """Open connections; more are closed at once."""
    uploads: int = 64
    """Requests that may be uploading at once."""
    streams: int = 8
    """Live streams at once."""
    jobs: int = 8
    """Timelines and trainings that may wait or run; one runs at a time."""
    max_upload_bytes: int = 256 * 2**20
    max_pixels: int = 3840 * 2160
    """Of a frame, width x height."""
    max_seconds: float = 3600.0
    """Of a video."""
    max_frames: int = 36_000
    """That one request may have decoded and kept."""
    max_views: int = 30
    """Views of one request (clips x crops)."""
    upload_timeout_s: float = 120.0
    """For all of an upload."""
    idle_timeout_s: float = 15.0
    """Silence within an upload, or before the headers of a request are there."""
    timeout_s: float = 60.0
    """From the end of the upload to the answer; then the work is stopped."""
    decoders: int = max(1, min(4, os.cpu_count() or 1))
    """Processes that decode."""
    decode_timeout_s: float = 30.0
    """For one video; the process is then ended and replaced."""
    decode_bytes: int = 3 * 2**30
    """Memory that a decoding process may take beside what it starts with."""
    job_timeout_s: float = 3600.0
    keep_jobs_s: float = 3600.0
    """For which the result of a job can be fetched."""
    drain_s: float = 30.0
    """That requests may take to end after SIGTERM."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            least = 0 if field.name in _MAY_BE_ZERO else 1e-9
            if not (math.isfinite(value) and value >= least):
                raise ConfigError(f"{field.name}={value} is no limit. Use a number above 0.")

    @property
    def limits(self) -> Limits:
        """What one video may cost a decoder."""
        return Limits(
            max_pixels=self.max_pixels,
            max_frames=self.max_frames,
            max_bytes=self.decode_bytes,
            max_seconds=self.max_seconds,
            timeout_s=self.decode_timeout_s,
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
