"""Video files in, RGB frames with their times out. With live_decode.py and record.py all that imports PyAV (FFmpeg).

    with open_video("clip.mp4") as video:
        frames = video.get_frames(range(0, 64, 2))  # data: uint8 (32, H, W, 3), times: (32,) seconds

What a caller can rely on:

* Frames are numbered in display order, 0 to ``len(video) - 1``, by what the file *holds*: all its packets are read
  when it is opened. Frame counts, rates and durations of headers are not believed.
* ``get_frames`` returns the same bits whether it seeks or walks. A frame that cannot be delivered is a
  :class:`VideoError`, never a neighbour, a black picture or a shorter result; so is a file that was cut off.
* The file is judged untrusted: one demuxer, one protocol, no second file (:mod:`videoswin.data.containers`), and
  :class:`Limits` on pixels, frames, bytes, seconds and wall-clock time.
* Rotation (phones) is applied once, in steps of 90 degrees; mirroring and non-square pixels are not.
* Colours become RGB by the stream's own matrix and range, as FFmpeg's swscale does by default (unmarked streams:
  BT.601, limited). 10 and 12 bits are reduced to 8, HDR is not tone-mapped, alpha is dropped.
* Interlaced frames stay woven: both fields in one frame.
* If the resolution changes midstream, all frames are scaled to the size of the first.
* Of several video streams, the one FFmpeg calls best is read; a cover picture is no video.

Known limits. Damage that the codec conceals without saying so cannot be seen; nor can an MPEG program stream, or
another stream without a table, that was cut exactly between two packets. A stream without true key frames (H.264
intra refresh) may differ in a few pixels after a seek. FLV hides its size from the header check, so one frame of up
to FFmpeg's own bound may be decoded before it is refused.
"""

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from threading import Event
from typing import NoReturn, Self

import av
import numpy as np
import torch
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from videoswin.data.containers import Clock, Limits, Source, find_source
from videoswin.data.frame_index import FrameIndex, KeyFrame, is_shown
from videoswin.errors import ConfigError, VideoError

__all__ = ["DECODER_THREADS", "Frames", "Limits", "Video", "VideoInfo", "open_video"]

_DECODER_ERRORS = (FFmpegError, UnicodeDecodeError, MemoryError, EOFError)  # all of these escape from PyAV
_DAMAGED = "Get a sound copy, or repair it with: ffmpeg -i INPUT repaired.mp4"
_MAX_PACKETS = 10_000_000  # 46 hours at 60 frames per second; the index of that many takes 160 MB
DECODER_THREADS = 4  # more gain little at 256 to 1080 lines, and every data worker has its own decoder
_TABLED_CONTAINERS = {"mov", "avi"}  # they list every frame in a table
_TIMED_CONTAINERS = {"matroska", "flv"}  # they state a duration and no table
_LOOSE_CONTAINERS = {"avi", "asf", "flv", "mpeg", "mpegts"}  # their time stamps may be FFmpeg's guesses
_LOOSE_CODECS = {"mpeg4", "msmpeg4v2", "msmpeg4v3"}  # DivX and Xvid pack two frames into one packet
_PROBED_FRAMES = 24
_DEFAULT = Limits()


@dataclass(frozen=True)
class Frames:
    """Decoded frames, which never travel without their times.

    ``data``: uint8 ``(T, H, W, 3)`` RGB, or what ``each`` made of it. ``times``: float64 ``(T,)`` seconds since the
    first frame of the video.
    """

    data: Tensor
    times: Tensor

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class VideoInfo:
    """Facts from the content of a video.

    ``width``, ``height``: pixels after rotation. ``rotation``: degrees counter-clockwise that were applied (0, 90,
    180 or 270). ``fps``: average over the whole video, 0.0 if it has a single frame. ``duration_s``: seconds up to
    the end of the last frame, taken to last 1 / ``fps``.
    """

    path: str
    codec: str
    width: int
    height: int
    rotation: int
    fps: float
    duration_s: float
    num_frames: int


def open_video(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    limits: Limits = _DEFAULT,
    threads: int = DECODER_THREADS,
    stop: Event | None = None,
) -> "Video":
    """Open a local file, or the bytes of one; use the result in a ``with`` statement.

    ``name`` stands for the source in messages. ``threads``: of the decoder; one is best where files are read side by
    side (a quarter less work). ``stop``: once set, by any thread, reading raises :class:`Interrupted`. Raises
    :class:`VideoError` for whatever cannot be opened, was cut off, does not decode, or is over a limit.
    """
    return Video(find_source(source, name), limits, threads, stop)


class Video:
    """An open video, made by :func:`open_video`. For one thread at a time: give each thread its own.

    ``info``: a :class:`VideoInfo`. ``times``: presentation times, float64 ``(N,)`` seconds, never decreasing, the
    first is 0.
    """

    def __init__(self, source: Source, limits: Limits, threads: int, stop: Event | None) -> None:
        self._source = source
        self._limits = limits
        self._clock = partial(Clock, source.name, limits, stop)
        self._new_reader = partial(_Reader, source, limits, threads)
        self._closed = False
        self._reformatter = VideoReformatter()
        self._reader = self._new_reader()
        try:
            clock = self._clock()
            self._index = _build_index(self._reader, clock)
            self.times = self._reader.times_of(self._index.stamps)
            first = self._reader.first_frame(self._index, clock)
        except BaseException:
            self._reader.close()
            raise
        self._stored_size = first.width, first.height
        self._quarter_turns = round(first.rotation / 90) % 4
        self.info = self._describe()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; frames that were returned stay valid. May be called twice."""
        self._closed = True
        self._reader.close()

    def __len__(self) -> int:
        return len(self._index)

    def get_frames(self, indices: Iterable[int] | Tensor, each: Callable[[Tensor], Tensor] | None = None) -> Frames:
        """The frames with these numbers, in the order asked for; repeats are decoded once.

        ``each`` maps one frame, uint8 ``(H, W, 3)``, to another tensor as soon as it is decoded, so that a resize
        keeps the memory small; it has to return CPU tensors of one shape. Raises :class:`VideoError` for a number
        outside the video, more than ``Limits.max_frames`` or ``max_bytes``, or a frame that does not decode.
        """
        numbers = torch.as_tensor(indices if isinstance(indices, Tensor) else list(indices), dtype=torch.int64)
        wanted: list[int] = numbers.reshape(-1).tolist()
        self._check_request(wanted)
        places: dict[int, list[int]] = {}
        for place, number in enumerate(wanted):
            places.setdefault(number, []).append(place)

        data = torch.empty((0, self.info.height, self.info.width, 3), dtype=torch.uint8)
        for number, frame in self._decode(self._reader, sorted(places), self._clock()):
            frame = each(frame) if each else frame
            if not len(data):
                data = self._room_for(len(wanted), frame)
            if frame.shape != data.shape[1:]:
                shapes = f"{tuple(data.shape[1:])} and {tuple(frame.shape)}"
                raise ConfigError(f"`each` returned frames of shapes {shapes}. Let it return one shape for all frames.")
            for place in places[number]:
                _bytes_of(data[place])[...] = _bytes_of(frame)
        return Frames(data, self.times[wanted])

    def read(self, start: int = 0, stop: int | None = None, each: Callable[[Tensor], Tensor] | None = None) -> Frames:
        """Frames ``start`` up to but not including ``stop`` (default: the end); see :meth:`get_frames`."""
        return self.get_frames(range(start, len(self) if stop is None else stop), each)

    def __iter__(self) -> Iterator[tuple[float, Tensor]]:
        """Yield ``(seconds, frame uint8 (H, W, 3))`` one by one; memory stays flat however long the video is.

        An iteration has a decoder of its own: ``get_frames`` may be called meanwhile.
        """
        return self.frames_from(0)

    def frames_from(self, start: int) -> Iterator[tuple[float, Tensor]]:
        """As iterating, from frame number ``start`` on; the frames before it are sought over where that is faster."""
        self._require_open()
        reader, clock = self._new_reader(), self._clock()
        try:
            for number, frame in self._decode(reader, range(start, len(self)), clock):
                yield float(self.times[number]), frame
                self._require_open()
                clock.restart()
        finally:
            reader.close()

    def _describe(self) -> VideoInfo:
        width, height = self._stored_size if self._quarter_turns % 2 == 0 else self._stored_size[::-1]
        span = float(self.times[-1])
        fps = (len(self) - 1) / span if span > 0 else 0.0
        return VideoInfo(
            path=self._source.name,
            codec=self._reader.codec,
            width=width,
            height=height,
            rotation=self._quarter_turns * 90,
            fps=fps,
            duration_s=span + (1 / fps if fps else 0.0),
            num_frames=len(self),
        )

    def _decode(self, reader: "_Reader", wanted: Sequence[int], clock: Clock) -> Iterator[tuple[int, Tensor]]:
        """Yield (number, RGB frame) for the sorted numbers ``wanted``, seeking where that saves decoding."""
        self._require_open()
        done = 0
        while done < len(wanted):
            before = done
            for key in self._index.starting_points(wanted[done]):
                for number, frame in reader.decode_from(key, self._index, clock):
                    if number > wanted[done]:
                        break  # the decoder has passed it
                    if number == wanted[done]:
                        yield number, self._to_rgb(frame)
                        done += 1
                        if done == len(wanted) or self._index.seek_pays(reader.position, wanted[done]):
                            break
                if done > before:
                    break  # the next one has a starting point of its own
            else:
                reason = f"frame {wanted[done]} of {len(self)} (0 to {len(self) - 1}) does not decode"
                raise VideoError(self._source.name, reason, _DAMAGED)

    def _to_rgb(self, frame: VideoFrame) -> Tensor:
        """uint8 ``(H, W, 3)``, upright."""
        width, height = self._stored_size
        with _as_video_error(self._source.name):
            rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
            pixels = np.rot90(rgb.to_ndarray(), k=self._quarter_turns)
        return torch.from_numpy(np.ascontiguousarray(pixels))

    def _check_request(self, wanted: list[int]) -> None:
        self._require_open()
        if len(wanted) > self._limits.max_frames:
            reason = f"{len(wanted)} frames were asked for at once, the limit is {self._limits.max_frames:,}"
            raise VideoError(self._source.name, reason, "Ask for fewer, iterate, or raise Limits(max_frames=...)")
        outside = next((number for number in wanted if not 0 <= number < len(self)), None)
        if outside is not None:
            reason = f"frame {outside} was asked for, the video has {len(self)} frames (0 to {len(self) - 1})"
            raise VideoError(self._source.name, reason, "Ask for frames inside the video")

    def _room_for(self, count: int, frame: Tensor) -> Tensor:
        size = count * frame.nbytes
        if size > self._limits.max_bytes:
            reason = f"the frames asked for take {size:,} bytes, the limit is {self._limits.max_bytes:,}"
            hint = "Ask for fewer, resize with `each`, or raise Limits(max_bytes=...)"
            raise VideoError(self._source.name, reason, hint)
        return frame.new_empty((count, *frame.shape))

    def _require_open(self) -> None:
        if self._closed:
            raise VideoError(self._source.name, "the video was closed", "Open it again with open_video")


def _build_index(reader: "_Reader", clock: Clock) -> FrameIndex:
    """Read all packets, not decoding them. If they leave doubts about the frames, decode the file once."""
    stamps, keys, doubtful = array("q"), [], False
    for order, packet in enumerate(reader.packets()):
        clock.check("reading the packets")
        if order >= _MAX_PACKETS:
            reader.fail(f"it holds more than {_MAX_PACKETS:,} packets", "Cut it into shorter files")
        if packet.is_corrupt:
            reader.check_complete()  # says by how much the file was cut, if it was
            reader.fail(f"packet {order + 1} is damaged", _DAMAGED)
        reader.total = order + 1
        if packet.pts is None:
            doubtful = True
            continue
        if packet.is_keyframe:
            keys.append(KeyFrame(packet.pts, packet.dts, order))
        if not packet.is_discard and is_shown(reader.codec, memoryview(packet)):  # discard: outside the edit list
            stamps.append(packet.pts)
    reader.check_complete()
    index = None if doubtful else FrameIndex.of_packets(np.asarray(stamps, np.int64), keys)
    if index and reader.agrees_with(index, clock):
        return index
    return _count_frames(reader, clock)


def _count_frames(reader: "_Reader", clock: Clock) -> FrameIndex:
    """Decode everything once, converting no pixels; the decoder's output order is the display order."""
    stamps = array("q")
    for frame in reader.decode_all(clock):
        stamp = frame.pts if frame.pts is not None else frame.dts
        stamps.append(stamp if stamp is not None else stamps[-1] + reader.nominal_interval if stamps else 0)
    if not stamps:
        reader.fail(f"none of its {reader.total} packets gives a frame", _DAMAGED)
    return FrameIndex(np.sort(np.asarray(stamps, np.int64)), [], counted=True)


class _Reader:
    """One open container with its video decoder. It can be rewound, or put to a key frame."""

    def __init__(self, source: Source, limits: Limits, threads: int) -> None:
        self._source = source
        self._limits = limits
        self._threads = threads
        self._container: InputContainer | None = None
        self.position = 0  # packets given to the decoder, counted from the beginning of the file
        self.total = 0  # packets in the file, once they were read
        self._content_end_s = 0.0  # over all streams
        self._rewind()

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    @property
    def codec(self) -> str:
        return self._stream.codec_context.codec.canonical_name

    @property
    def nominal_interval(self) -> int:
        """Time base units between two frames by the header, for streams without any time stamp."""
        rate = self._stream.average_rate or self._stream.base_rate or Fraction(25)
        return max(1, round(1 / (rate * self._time_base)))

    def fail(self, reason: str, hint: str) -> NoReturn:
        raise VideoError(self._source.name, reason, hint)

    def packets(self) -> Iterator[Packet]:
        """The packets from here on; empty ones, which would tell the decoder to finish, are left out."""
        assert self._container is not None
        with _as_video_error(self._source.name):
            for packet in self._container.demux():
                if packet.pts is not None and packet.time_base:
                    end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    self._content_end_s = max(self._content_end_s, end_s)
                if packet.size and packet.stream_index == self._stream.index:
                    yield packet

    def decode_all(self, clock: Clock) -> Iterator[VideoFrame]:
        """Every frame from the beginning, in the decoder's order."""
        self._rewind()
        yield from self._decoded(self.packets(), clock)

    def decode_from(self, key: KeyFrame | None, index: FrameIndex, clock: Clock) -> Iterator[tuple[int, VideoFrame]]:
        """(number, frame) from a key frame on; the number is -1 for frames that ``index`` does not list."""
        if index.counted:
            return enumerate(self.decode_all(clock))
        frames = self._decoded(self._packets_from(key, clock), clock) if key else self.decode_all(clock)
        return ((index.number_of(frame.pts), frame) for frame in frames)

    def first_frame(self, index: FrameIndex, clock: Clock) -> VideoFrame:
        for key in index.starting_points(0):
            for _, frame in islice(self.decode_from(key, index, clock), 1):
                return frame
        raise VideoError(self._source.name, f"none of its {len(index)} frames decodes", _DAMAGED)

    def agrees_with(self, index: FrameIndex, clock: Clock) -> bool:
        """Whether the decoder gives the frames that the packets announce, tried where experience says it may not."""
        source, reorders = self._source.demuxer, self._stream.codec_context.reorder_depth > 0
        if reorders and source in {"avi", "asf"}:
            return False  # these store decoding times only: with B-frames the stamps are wrong
        if not (source in _LOOSE_CONTAINERS or self.codec in _LOOSE_CODECS or (reorders and not index.reordered)):
            return True
        seen = [frame.pts for frame in islice(self.decode_all(clock), _PROBED_FRAMES)]
        return bool(seen) and seen == index.stamps[: len(seen)].tolist()

    def times_of(self, stamps: np.ndarray) -> Tensor:
        """Seconds since the first stamp, float64; checked against ``Limits.max_seconds``."""
        base = self._time_base
        seconds = float((int(stamps[-1]) - int(stamps[0])) * base)  # Python integers do not overflow
        if seconds > self._limits.max_seconds:
            reason = f"it lasts {seconds:,.0f} seconds, the limit is {self._limits.max_seconds:,.0f}"
            self.fail(reason, "Cut it, or raise Limits(max_seconds=...)")
        return torch.from_numpy((stamps - stamps[0]).astype(np.float64) * base.numerator / base.denominator)

    def check_complete(self) -> None:
        """Compare the packets that were read with what the container's own tables and lengths announce."""
        cut = "the file is cut off or damaged"
        listed = len(self._stream.index_entries) if self._source.demuxer in _TABLED_CONTAINERS else 0
        if self.total < listed:
            self.fail(f"{cut}: it lists {listed} frames and holds {self.total}", _DAMAGED)
        if missing := self._source.missing_bytes():
            self.fail(f"{cut}: {missing:,} bytes are missing ({self.total} packets found)", _DAMAGED)
        stated_s = (self._container.duration or 0) / 1e6 if self._container else 0.0
        if self._source.demuxer in _TIMED_CONTAINERS and self._content_end_s < 0.9 * stated_s - 1:
            reason = f"it announces {stated_s:.1f} s and ends at {self._content_end_s:.1f} s"
            self.fail(f"{cut}: {reason} ({self.total} packets found)", _DAMAGED)
        if not self.total:
            self.fail(f"the video stream holds no frames (the header says {self._stream.frames})", _DAMAGED)

    def _rewind(self) -> None:
        """Open the container afresh: the one way to the beginning that no seek table can spoil."""
        self.close()
        with _as_video_error(self._source.name):
            self._container = _open_container(self._source, self._limits)
        try:
            self._stream = _video_stream(self._container, self._source.name)
            self._prepare_decoder()
        except BaseException:
            self.close()
            raise
        self.position = 0

    def _prepare_decoder(self) -> None:
        context, limit = self._stream.codec_context, self._limits.max_pixels
        if (pixels := context.width * context.height) > limit:
            reason = f"its frames have {context.width} x {context.height} pixels, the limit is {limit:,} pixels"
            self.fail(reason, "Scale it down, or raise Limits(max_pixels=...)")
        if not pixels:  # a broken header, or FFmpeg has wiped the size after checking the limit itself
            reason = f"its header gives no frame size, or one above the limit of {limit:,} pixels"
            self.fail(reason, "Get a sound copy, or raise Limits(max_pixels=...)")
        if not self._stream.time_base:
            self.fail("the video stream has no time base", _DAMAGED)
        self._time_base = self._stream.time_base
        context.options = {"max_pixels": _as_int32(limit)}
        context.thread_type = "AUTO"
        context.thread_count = min(self._threads, os.cpu_count() or 1)

    def _decoded(self, packets: Iterable[Packet], clock: Clock) -> Iterator[VideoFrame]:
        decoder = self._stream.codec_context
        try:
            for packet in packets:
                clock.check("decoding")
                self.position += 1
                yield from map(self._sound, decoder.decode(packet))
            yield from map(self._sound, decoder.decode(None))  # the frames that the decoder still holds
        except _DECODER_ERRORS as error:
            reason = f"decoding stops at packet {self.position} of {self.total or 'the file'} ({_reason(error)})"
            raise VideoError(self._source.name, reason, _DAMAGED) from error

    def _sound(self, frame: VideoFrame) -> VideoFrame:
        if frame.is_corrupt:
            at = "" if frame.time is None else f" at {frame.time:.2f} s"
            self.fail(f"the decoder reports a damaged frame{at}", _DAMAGED)
        return frame

    def _packets_from(self, key: KeyFrame, clock: Clock) -> Iterator[Packet]:
        """The packets from ``key`` on, or none if no seek finds it.

        Demuxers seek by presentation time, decoding time or a guess of the byte position, so where one landed is
        checked.
        """
        assert self._container is not None
        for aim in (key.pts, key.dts):
            if aim is None:
                continue
            with _as_video_error(self._source.name):
                self._container.seek(aim, stream=self._stream)
            packets = self.packets()
            for packet in packets:
                clock.check("seeking")
                if packet.is_keyframe and packet.pts == key.pts:
                    self.position = key.order
                    yield from chain([packet], packets)
                    return
                if packet.is_keyframe and packet.pts is not None and packet.pts > key.pts:
                    break  # landed behind it


@contextmanager
def _as_video_error(name: str) -> Iterator[None]:
    """Everything that FFmpeg and PyAV raise becomes a :class:`VideoError`."""
    try:
        yield
    except _DECODER_ERRORS as error:
        raise VideoError(name, f"FFmpeg cannot read it ({_reason(error)})", _DAMAGED) from error


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _open_container(source: Source, limits: Limits) -> InputContainer:
    """Open with the demuxer that the magic bytes named, and no way to any other file or address."""
    options = {
        "format_whitelist": source.demuxer,
        "protocol_whitelist": "none" if isinstance(source.content, bytes) else "file",
        "max_pixels": _as_int32(limits.max_pixels),  # FFmpeg decodes a frame of some files while it probes them
    }
    return av.open(
        BytesIO(source.content) if isinstance(source.content, bytes) else f"file:{source.content}",
        mode="r",
        format=source.demuxer,
        options=options,
        metadata_errors="ignore",  # titles in another encoding are no reason to refuse a video
        timeout=max(1.0, limits.timeout_s) if limits.timeout_s < 1e6 else None,  # for a disk that hangs
    )


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        what = "a cover picture only" if stream else "sound or text only" if container.streams else "nothing at all"
        raise VideoError(name, f"no video stream (it holds {what})", "Give a file with moving pictures")
    if stream.codec_context is None:
        hint = "Convert it with another program: ffmpeg -i INPUT -c:v libx264 output.mp4"
        raise VideoError(name, "there is no decoder for its video codec", hint)
    return stream


def _bytes_of(tensor: Tensor) -> np.ndarray:
    """A view to copy by. torch splits even small copies over threads: 100 times slower on a busy machine."""
    return tensor.contiguous().view(torch.uint8).numpy()


def _as_int32(value: float) -> str:
    return str(int(min(value, 2**31 - 1)))
