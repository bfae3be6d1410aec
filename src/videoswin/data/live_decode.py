"""Cameras, addresses and pipes, decoded as they come. Only ``videoswin stream`` opens these, when its user names one.

:mod:`videoswin.data.decode` judges files untrusted and knows their end before it decodes; nothing here has an end. What may be
opened is just as narrow, though: each kind of source has its own demuxers and protocols, so that a stream cannot send FFmpeg to
a file of this machine, nor a playlist to other addresses (HLS and DASH are refused for that reason).

A damaged frame of a live source is dropped and counted, where one of a file is an error: the next key frame heals it.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, cast

import av
import numpy as np
import torch
from av.container import InputContainer
from av.error import ExitError, FFmpegError, InvalidDataError, UndefinedError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from videoswin.data.containers import Limits
from videoswin.errors import ConfigError, VideoError

__all__ = ["LiveInput", "Picture", "open_address", "open_camera", "open_pipe"]

_DECODER_ERRORS = (FFmpegError, UnicodeDecodeError, MemoryError, EOFError)
_STREAM_FORMATS = "rtsp,sdp,rtp,mpegts,mov,matroska,flv,mpjpeg,mpeg,h264,hevc"
_ADDRESSES = {
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsps,rtsp,rtp,tcp,tls,srtp",
    "http": "http,tcp",
    "https": "https,http,tls,tcp,httpproxy",
}
_CAMERA_FORMATS = {"linux": "video4linux2,v4l2", "darwin": "avfoundation", "win32": "dshow"}


class Picture(NamedTuple):
    """``time_s``: presentation time as the source states it, or None. ``rgb``: uint8 ``(H, W, 3)``, upright."""

    time_s: float | None
    rgb: Tensor


class LiveInput:
    """One connection: iterate for pictures until the source ends. ``fps``: the stated rate, 0 if none. ``damaged``: frames
    that did not decode, so far. Iterating raises :class:`VideoError` when the source fails or falls silent for the timeout.
    """

    def __init__(self, container: InputContainer, name: str, limits: Limits) -> None:
        self.name = name
        self.damaged = 0
        self._container = container
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            container.close()
            raise VideoError(name, "it sends no video that can be decoded", "Check the address, or what is piped in")
        self._stream = stream
        self._limits = limits
        rate = stream.average_rate or stream.guessed_rate
        self.fps = float(rate) if rate and 0 < rate <= 1000 else 0.0
        stream.codec_context.options = {"max_pixels": str(int(min(limits.max_pixels, 2**31 - 1)))}
        stream.codec_context.thread_type = "SLICE"  # frame threads hold frames back: latency

    def close(self) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Picture]:
        with _as_video_error(self.name):
            for packet in self._container.demux(self._stream):
                yield from self._decoded(packet)

    def _decoded(self, packet: Any) -> Iterator[Picture]:
        try:
            frames = cast(list[VideoFrame], packet.decode())
        except EOFError:
            return
        except (InvalidDataError, UndefinedError):
            self.damaged += 1
            return
        for frame in frames:
            if frame.is_corrupt:
                self.damaged += 1
            elif frame.width * frame.height > self._limits.max_pixels:
                reason = (
                    f"its frames have {frame.width} x {frame.height} pixels, the limit is {self._limits.max_pixels:,}"
                )
                raise VideoError(self.name, reason, "Let the source send smaller ones")
            else:
                yield Picture(frame.time, _to_rgb(frame))


def open_address(address: str, timeout_s: float, limits: Limits | None = None) -> LiveInput:
    """Connect to an RTSP or HTTP(S) address. Raises :class:`VideoError` when nobody answers within ``timeout_s``."""
    scheme = address.partition("://")[0].lower()
    name = without_password(address)
    if scheme not in _ADDRESSES:
        raise ConfigError(f"{name}: addresses of this kind are not opened. Use one of: {', '.join(_ADDRESSES)}.")
    options = {"protocol_whitelist": _ADDRESSES[scheme], "format_whitelist": _STREAM_FORMATS}
    if scheme.startswith("rtsp"):
        options |= {
            "rtsp_transport": "tcp",
            "fflags": "nobuffer",
        }  # the packets looked at while probing are old by then
    with _as_video_error(name):
        container = av.open(address, options=options, timeout=timeout_s, metadata_errors="ignore")
    return LiveInput(container, name, limits or Limits())


def open_camera(index: int, platform: str, timeout_s: float, limits: Limits | None = None) -> LiveInput:
    """Open a camera of this machine. ``platform``: as :data:`sys.platform`."""
    device = {"linux": f"/dev/video{index}", "darwin": str(index), "win32": f"video={index}"}.get(platform, str(index))
    name = f"camera {index}"
    if platform == "linux" and not os.path.exists(device):
        raise VideoError(name, f"there is no {device}", "Plug it in, or try another number")
    form = _CAMERA_FORMATS.get(platform, _CAMERA_FORMATS["linux"])
    if form not in av.formats_available:
        raise VideoError(
            name,
            f"this PyAV was built without {form}",
            "Pipe the camera in: ffmpeg ... -f mpegts - | videoswin stream -",
        )
    with _as_video_error(name):
        container = av.open(device, format=form, timeout=timeout_s, metadata_errors="ignore")
    return LiveInput(container, name, limits or Limits())


def open_pipe(
    pipe: BinaryIO, size: tuple[int, int] | None = None, rate: float | None = None, limits: Limits | None = None
) -> LiveInput:
    """Read Y4M or an MPEG transport stream from a pipe, told by its first bytes, or raw RGB (rgb24) of ``size`` (height,
    width) pixels at ``rate`` frames per second.

    Raises:
        VideoError: the pipe is empty, or holds neither and no size was given.
    """
    name = "the pipe"
    options = {"protocol_whitelist": "none"}
    if size is not None:
        form = "rawvideo"
        options |= {"video_size": f"{size[1]}x{size[0]}", "pixel_format": "rgb24", "framerate": str(rate or 25)}
        stream = _Unbuffered(pipe, b"")
    else:
        head = _first_bytes(pipe, 189)
        form = _form_of(head, name)
        stream = _Unbuffered(pipe, head)
    with _as_video_error(name):
        container = av.open(stream, mode="r", format=form, options=options, metadata_errors="ignore")
    return LiveInput(cast(InputContainer, container), name, limits or Limits())


def _form_of(head: bytes, name: str) -> str:
    if not head:
        raise VideoError(name, "nothing came in", "Check the command before the |")
    if head.startswith(b"YUV4MPEG2"):
        return "yuv4mpegpipe"
    if head[0] == 0x47 and len(head) > 188 and head[188] == 0x47:
        return "mpegts"
    reason = "this is neither Y4M nor an MPEG transport stream"
    raise VideoError(
        name, reason, "Pipe in one of them (ffmpeg -i INPUT -f mpegts -), or raw rgb24 with --size and --rate"
    )


def _first_bytes(pipe: BinaryIO, count: int) -> bytes:
    head = b""
    while len(head) < count and (more := _read_some(pipe, count - len(head))):
        head += more
    return head


def _read_some(pipe: BinaryIO, count: int) -> bytes:
    """What is there, at least one byte, or nothing at the end: a full buffer would be waited for otherwise."""
    read1 = getattr(pipe, "read1", None)
    return (read1(count) if read1 else pipe.read(count)) or b""


class _Unbuffered(io.RawIOBase):
    """A pipe with the bytes that were looked at put back. FFmpeg is not told that it can seek: it cannot."""

    def __init__(self, pipe: BinaryIO, head: bytes) -> None:
        self._pipe, self._head = pipe, head

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._head:
            part, self._head = self._head[:size], self._head[size:]
            return part
        return _read_some(self._pipe, size)


def without_password(address: str) -> str:
    """The address as it may be shown: user names and passwords are left out."""
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _to_rgb(frame: VideoFrame) -> Tensor:
    turns = round(frame.rotation / 90) % 4
    pixels = frame.to_ndarray(format="rgb24")
    return torch.from_numpy(np.ascontiguousarray(np.rot90(pixels, k=turns)))


@contextmanager
def _as_video_error(name: str) -> Iterator[None]:
    try:
        yield
    except _DECODER_ERRORS as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        if isinstance(error, ExitError):
            reason = "nothing came within the timeout"
        raise VideoError(name, f"it cannot be read ({reason})", "Check that the source is there and sends") from error
