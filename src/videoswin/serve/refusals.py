"""What a client is told when there is no answer: a status, a code for programs, a sentence for people, and no path of ours."""

from collections.abc import Mapping
from typing import Any

from videoswin.errors import ConfigError, OutOfMemoryError, TruncatedError, VideoError, VideoSwinError, WeightsError

__all__ = ["Refused", "refusal_of"]

_FOR_THE_OPERATOR = (", or if you trust the file raise the limit", ". Run it with --debug")


class Refused(Exception):
    """An HTTP answer that is an error.

    Args:
        status: of HTTP.
        code: one word for programs.
        message: what is wrong, and what to do about it.
        headers: beside the usual ones.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})
        super().__init__(status, code, message)

    @classmethod
    def busy(cls, what: str, retry_s: float = 1.0) -> "Refused":
        """503: there is no room now."""
        return cls(503, "busy", f"{what} Try again later.", {"Retry-After": str(max(1, round(retry_s)))})

    def to_dict(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message}}


def refusal_of(error: Exception) -> Refused:
    """What a client is told about an error of ours."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, OutOfMemoryError | MemoryError):
        return Refused(413, "too_costly", "This video takes more memory than one request may. Send a smaller one.")
    if isinstance(error, VideoError):
        code = "truncated" if isinstance(error, TruncatedError) else "bad_video"
        return Refused(422, code, _sentence(error.reason, error.hint))
    if isinstance(error, ConfigError):
        return Refused(422, "bad_setting", str(error))
    if isinstance(error, WeightsError):
        return Refused(500, "model_failed", _sentence(error.reason, "Tell whoever runs this server"))
    if isinstance(error, VideoSwinError):
        return Refused(500, "failed", "This server could not do it. Its log says why.")
    return Refused(500, "internal", "This server made a mistake. Its log says which.")


def _sentence(reason: str, hint: str) -> str:
    """Limits of the server are not the client's to raise, so advice about that is cut off."""
    for mark in _FOR_THE_OPERATOR:
        hint = hint.partition(mark)[0]
    hint = hint.strip().rstrip(".")
    return f"{reason[:1].upper()}{reason[1:]}." + (f" {hint}." if hint else "")
