"""Cameras, addresses and pipes, decoded as they come. Only ``videoswin stream`` opens these, when its user names one.

:mod:`videoswin.data.decode` judges files untrusted and knows their end before it decodes; nothing here has to end. What may be
opened is just as narrow, though: each kind of source has its own demuxers, and FFmpeg gets bytes and no protocols, so that a
stream cannot send it to a file of this machine, nor a playlist to other addresses (HLS and DASH are refused for that reason).

A damaged frame of a live source is dropped and counted, where one of a file is an error: the next key frame heals it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPException
from typing import Any, BinaryIO, Protocol, cast

import av
import torch
from av.container import InputContainer
from av.error import ExitError, FFmpegError, InvalidDataError, UndefinedError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from videoswin.data.containers import Limits
from videoswin.data.ffmpeg import open_input, orientation_of
from videoswin.data.live_address import Address, Redirected
from videoswin.data.live_http import HttpBody
from videoswin.data.live_jpeg import JpegParts
from videoswin.data.live_rtsp import RtspDoor
from videoswin.data.live_wait import PipeReader, Watch
from videoswin.errors import VideoError

__all__ = ["LiveInput", "open_address", "open_camera", "open_pipe"]

Feed = HttpBody | PipeReader | RtspDoor | None
"""What FFmpeg reads from, where that is ours: it keeps its failure."""

_DECODER_ERRORS = (FFmpegError, UnicodeDecodeError, EOFError)
_STREAM_FORMATS = "mpegts,mov,matroska,flv,mpeg,h264,hevc"
_CAMERA_FORMATS = {"linux": "video4linux2,v4l2", "darwin": "avfoundation", "win32": "dshow"}
_CHECK_SOURCE = "Check that the source is there and sends"
_TS_PACKET = 188
_EBML_MAGIC = b"\x1a\x45\xdf\xa3"


class LiveInput(Protocol):
    """One connection: iterate for ``(seconds as the source states them or None, uint8 (H, W, 3))`` until the source ends.

    Iterating raises :class:`VideoError` when the source fails or falls silent for the timeout, Interrupted when its
    :class:`~videoswin.data.live_wait.Watch` was stopped.
    """

    name: str
    fps: float
    """The stated rate, 0 if none."""
    damaged: int
    """Frames that did not decode, so far."""
    is_file: bool
    """It has a length that was stated, so it comes as fast as the line allows, and ends."""
    finished: bool
    """That it has ended, or the sender said that this was all."""
    head: bytes
    """The first bytes of an HTTP answer: the same again after a reconnect is a file that begins again."""

    def __iter__(self) -> Iterator[tuple[float | None, Tensor]]: ...
    def close(self) -> None: ...


class _Frames:
    """From the packets of a decoder to pictures."""

    def __init__(self, name: str, context: VideoCodecContext, limits: Limits, watch: Watch) -> None:
        self.name = name
        self.fps = 0.0
        self.damaged = 0
        self.is_file = self.finished = False
        self.head = b""
        self._limits, self._watch = limits, watch
        context.options = {"max_pixels": str(int(min(limits.max_pixels, 2**31 - 1)))}
        context.thread_type = "SLICE"  # frame threads hold frames back: latency

    def decoded(self, decode: Callable[[], Any]) -> Iterator[tuple[float | None, Tensor]]:
        try:
            frames = cast(list[VideoFrame], decode())
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
                yield frame.time, _to_rgb(frame)


class _ContainerInput(_Frames):
    """What a demuxer reads.

    ``feed``: what FFmpeg reads from, if that is ours. ``broken_off``: asked at the end with the number of packets and the bytes
    in them, whether that is inside a frame.
    """

    def __init__(
        self,
        container: InputContainer,
        name: str,
        limits: Limits,
        watch: Watch,
        feed: Feed = None,
        broken_off: Callable[[int, int], bool] = lambda packets, size: False,
    ) -> None:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            raise VideoError(name, "it sends no video that can be decoded", "Check the address, or what is piped in")
        super().__init__(name, stream.codec_context, limits, watch)
        self._container, self._stream, self._feed, self._broken_off = container, stream, feed, broken_off
        rate = stream.average_rate or stream.guessed_rate
        self.fps = float(rate) if rate and 0 < rate <= 1000 else 0.0
        if isinstance(feed, HttpBody):
            self.is_file = feed.length is not None
            self.head = feed.head
        self._duration_s = (container.duration or 0) / av.time_base
        self._start_s = (container.start_time or 0) / av.time_base
        self._last_s = 0.0  # time of the last frame

    def close(self) -> None:
        with suppress(*_DECODER_ERRORS, OSError):
            self._container.close()
        if isinstance(self._feed, RtspDoor | HttpBody):
            self._feed.close()
        self._watch.close()

    def __iter__(self) -> Iterator[tuple[float | None, Tensor]]:
        packets = size = 0
        broken = False
        with _as_video_error(self.name, self._feed):
            for packet in self._container.demux(self._stream):
                self._watch.restart()
                if packet.size:
                    packets, size, broken = packets + 1, size + packet.size, packet.is_corrupt
                if broken and self._stream.codec_context.name == "rawvideo":
                    continue  # half a frame, which the decoder would fill up
                for time_s, rgb in self.decoded(packet.decode):
                    if time_s is not None:
                        self._last_s = time_s
                    yield time_s, rgb
                    self._watch.restart()  # what the receiver does with a picture is no silence of the sender
        _raise_failure(self.name, self._feed)
        if isinstance(self._feed, PipeReader):
            if broken or self._broken_off(packets, size):
                reason = f"it ended inside a frame, after {self._feed.total:,} bytes"
                raise VideoError(self.name, reason, "Check the command before the |")
        elif isinstance(self._feed, HttpBody):
            self.finished = self._feed.finished or self._has_run_out()
        else:
            self.finished = self._has_run_out()

    def _has_run_out(self) -> bool:
        """Whether all seconds that were announced have come."""
        return self._duration_s > 0 and self._last_s - self._start_s > self._duration_s - 1.0


class _JpegInput(_Frames):
    """JPEG pictures one after the other, as web cameras send them."""

    def __init__(self, body: HttpBody, name: str, limits: Limits, watch: Watch) -> None:
        context = cast(VideoCodecContext, av.CodecContext.create("mjpeg", "r"))
        super().__init__(name, context, limits, watch)
        self._body, self._context = body, context
        self._parts = JpegParts(body.read, body.content_type, name)

    def close(self) -> None:
        self._body.close()
        self._watch.close()

    def __iter__(self) -> Iterator[tuple[float | None, Tensor]]:
        with _as_video_error(self.name, self._body):
            for jpeg in self._parts:
                self._watch.restart()
                for _, rgb in self.decoded(lambda jpeg=jpeg: self._context.decode(Packet(jpeg))):
                    yield None, rgb
                    self._watch.restart()
        _raise_failure(self.name, self._body)
        self.finished = self._body.finished


def open_address(address: str, timeout_s: float, limits: Limits | None = None, watch: Watch | None = None) -> LiveInput:
    """Connect to an RTSP or HTTP(S) address.

    Args:
        timeout_s: seconds of silence that are an error.
        watch: by which another thread can end the waiting; closed with the result.

    Raises:
        VideoError: no answer comes within the timeout, or what answers is no video or somewhere else.
        ConfigError: an address of another kind.
    """
    place = Address.parse(address)
    watch = watch or Watch(place.name, timeout_s)
    limits = limits or Limits()
    try:
        if place.scheme.startswith("rtsp"):
            return _open_rtsp(place, limits, watch)
        return _open_http(place, limits, watch)
    except BaseException:
        watch.close()
        raise


def _open_rtsp(place: Address, limits: Limits, watch: Watch) -> LiveInput:
    options = {
        "protocol_whitelist": "rtsp,rtp,tcp",
        "format_whitelist": "rtsp,rtp,sdp,mpegts",
        "rtsp_transport": "tcp",
        "fflags": "nobuffer",  # the packets that were looked at while probing are old by then
    }
    with _as_video_error(place.name, None):
        door = RtspDoor(place, watch)
    try:
        with _as_video_error(place.name, door):
            container = open_input(door.url, options=options)
        return _input_of(container, place.name, limits, watch, door)
    except Redirected as error:
        door.close()
        moved = place.moved(error.location)
        if moved is None or moved == place:
            raise
        return _open_rtsp(moved, limits, watch)  # ends with the watch's time
    except BaseException:
        door.close()
        raise


def _input_of(container: Any, name: str, limits: Limits, watch: Watch, *more: Any) -> "_ContainerInput":
    """The container is closed when it has no video."""
    try:
        return _ContainerInput(container, name, limits, watch, *more)
    except BaseException:
        container.close()
        raise


def _open_http(place: Address, limits: Limits, watch: Watch) -> LiveInput:
    with _as_video_error(place.name, None):
        body = HttpBody(place, watch)
    try:
        if body.content_type.lower().startswith("multipart/"):
            return _JpegInput(body, place.name, limits, watch)
        options = {"protocol_whitelist": "none", "format_whitelist": _STREAM_FORMATS}
        with _as_video_error(place.name, body):
            container = open_input(_Readable(body), options=options)
        return _input_of(container, place.name, limits, watch, body)
    except BaseException:
        body.close()
        raise


def open_camera(
    index: int, platform: str, timeout_s: float, limits: Limits | None = None, watch: Watch | None = None
) -> LiveInput:
    """Open a camera of this machine. ``platform``: as :data:`sys.platform`; ``watch``: as for :func:`open_address`."""
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
    with _as_video_error(name, None):
        container = open_input(device, form=form, timeout_s=timeout_s)
    return _input_of(container, name, limits or Limits(), watch or Watch(name, timeout_s))


def open_pipe(
    pipe: BinaryIO,
    size: tuple[int, int] | None = None,
    rate: float | None = None,
    limits: Limits | None = None,
    watch: Watch | None = None,
    recorded: bool = False,
) -> LiveInput:
    """Read Y4M, an MPEG transport stream, or what a browser records (WebM, MP4 in fragments) from a pipe, told by its first
    bytes, or raw RGB (rgb24) of ``size`` (height, width) pixels at ``rate`` frames per second. ``watch``: as for :func:`open_address`.
    ``recorded``: a client sends a recording, and is told so in errors; there is no command before a ``|``.

    Raises:
        VideoError: the pipe is empty, or holds neither and no size was given. While iterating, when it ends inside a frame.
    """
    name = "the pipe"
    limits = limits or Limits()
    watch = watch or Watch(name, None, max_bytes=float("inf"))
    reader = PipeReader(pipe, watch)
    try:
        if size is not None:
            form, options = "rawvideo", {"video_size": f"{size[1]}x{size[0]}", "pixel_format": "rgb24"}
            options["framerate"] = str(rate or 25)
            broken_off = partial(_is_inside, reader, 3 * size[0] * size[1])
        else:
            head = reader.first_bytes(_TS_PACKET + 1)
            form, options = _form_of(head, name, recorded), {}
            if form in ("matroska", "mov"):  # a recording that is stopped ends where it ends
                broken_off = lambda packets, size: False  # noqa: E731
            else:
                broken_off = partial(_is_inside, reader, _TS_PACKET if form == "mpegts" else 0)
        with _as_video_error(name, reader):
            container = open_input(reader, form=form, options={"protocol_whitelist": "none", **options})
        return _input_of(container, name, limits, watch, reader, broken_off)
    except BaseException:
        watch.close()
        raise


def _is_inside(reader: PipeReader, piece: int, packets: int, size: int) -> bool:
    """Whether all bytes that came end inside a piece of a fixed size; of Y4M, which has none, inside a frame."""
    if piece:
        return reader.total % piece != 0
    header, _, first = reader.head.partition(b"\n")
    marks = len(b"FRAME\n")
    with_parameters = first.startswith(b"FRAME ")  # their length may differ from frame to frame
    return not with_parameters and reader.total != len(header) + 1 + packets * marks + size


def _form_of(head: bytes, name: str, recorded: bool) -> str:
    if not head:
        hint = "Send the pieces of a recording first" if recorded else "Check the command before the |"
        raise VideoError(name, "nothing came in", hint)
    if head.startswith(b"YUV4MPEG2"):
        return "yuv4mpegpipe"
    if head[0] == 0x47 and len(head) > _TS_PACKET and head[_TS_PACKET] == 0x47:
        return "mpegts"
    if head.startswith(_EBML_MAGIC):
        return "matroska"
    if head[4:8] == b"ftyp":
        return "mov"
    if recorded:
        hint = "Send what a browser records, from its first piece on"
        raise VideoError(name, "this is neither WebM nor MP4 in fragments", hint)
    reason = "this is neither Y4M nor an MPEG transport stream"
    raise VideoError(
        name, reason, "Pipe in one of them (ffmpeg -i INPUT -f mpegts -), or raw rgb24 with --pipe-size and --pipe-fps"
    )


def _to_rgb(frame: VideoFrame) -> Tensor:
    return torch.from_numpy(orientation_of(frame).apply(frame.to_ndarray(format="rgb24")))


class _Readable:
    """A body without its ``close``: PyAV would call it, and the failure is to be asked for afterwards."""

    def __init__(self, body: HttpBody) -> None:
        self.read = body.read
        self.seek, self.tell, self.seekable = body.seek, body.tell, body.seekable


def _raise_failure(name: str, feed: Feed) -> None:
    """What ended the feed, if that was no good end."""
    if feed is None or feed.failure is None:
        return
    with _as_video_error(name, None):
        raise feed.failure


@contextmanager
def _as_video_error(name: str, feed: Feed) -> Iterator[None]:
    """Errors of the decoder and of the network as :class:`VideoError`; one of the feed, which came first, in their place."""
    try:
        yield
    except (*_DECODER_ERRORS, OSError, HTTPException) as error:
        _raise_failure(name, feed)
        timeout = isinstance(error, ExitError | TimeoutError)
        reason = "nothing came within the timeout" if timeout else _reason(error)
        failure = VideoError(name, f"it cannot be read ({reason})", _CHECK_SOURCE)
        # FFmpeg's error holds the address, and with it the password.
        failure.__cause__ = None if isinstance(error, FFmpegError) else error
    else:
        return
    raise failure  # outside of "except": else it would hold the error as its context


def _reason(error: Exception) -> str:
    verify = getattr(error, "verify_message", "")
    if verify:
        return f"its certificate is not trusted: {verify}. SSL_CERT_FILE can name one that is"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
