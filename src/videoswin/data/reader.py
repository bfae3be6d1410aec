"""One open video file with its demuxer and decoder: packets and frames from the beginning or from a key frame on."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from itertools import chain, islice
from typing import NoReturn

import numpy as np
import torch
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from videoswin.data.containers import Clock, Limits, Source, raise_limit
from videoswin.data.extent import Extent
from videoswin.data.ffmpeg import DAMAGED, as_video_error, open_input
from videoswin.data.frame_index import FrameIndex, KeyFrame, is_set_back
from videoswin.data.spare_packets import Needed, idr_test, spare_test
from videoswin.data.transport_stream import is_joint, packet_grid
from videoswin.errors import TruncatedError, VideoError

__all__ = ["Joints", "Reader", "require_uncut"]

_TABLED_CONTAINERS = {"mov", "avi"}  # they list every frame in a table
_TIMED_CONTAINERS = {"matroska", "flv"}  # they state a duration and no table
_LOOSE_CONTAINERS = {"avi", "asf", "flv", "mpeg", "mpegts"}  # their time stamps may be FFmpeg's guesses
_LOOSE_CODECS = {"mpeg4", "msmpeg4v2", "msmpeg4v3"}  # DivX and Xvid pack two frames into one packet
_PROBED_FRAMES = 24
_WITHIN = 3  # packets from the one that FFmpeg calls damaged to the joint
_LONGEST_LOOK = 2**23  # bytes of a transport stream that are looked at for a joint
_CUT = "the file is cut off or damaged"
_LEAD = 4096  # packets in front of these, of which the counters are compared
_SPLIT = (
    "Split it where the second one begins, or join the recordings with: ffmpeg -f concat -i LIST.txt -c copy OUTPUT"
)


class Reader:
    """One open container with its video decoder. It can be rewound, or put to a key frame.

    ``position``: packets given to the decoder, counted from the beginning of the file. ``total``: packets in the file, once
    they were read. ``complete``: whether the end that the container states is there; None if it states none.
    """

    def __init__(self, source: Source, limits: Limits, threads: int) -> None:
        self._source = source
        self._limits = limits
        self._threads = threads
        self._container: InputContainer | None = None
        self.position = 0
        self.total = 0
        self.complete: bool | None = None
        self._content_end_s = 0.0  # over all streams of a container of _TIMED_CONTAINERS
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
        return max(1, round(1 / (Fraction(rate.numerator, rate.denominator) * self._time_base)))

    @property
    def wraps(self) -> bool:
        """Whether FFmpeg takes a clock that was set back for one that has run over (33 bits)."""
        return self._source.demuxer in {"mpeg", "mpegts"}

    def fail(self, reason: str, hint: str) -> NoReturn:
        raise VideoError(self._source.name, reason, hint)

    def packets(self) -> Iterator[Packet]:
        """The packets from here on; empty ones, which would tell the decoder to finish, are left out."""
        assert self._container is not None
        is_timed = self._source.demuxer in _TIMED_CONTAINERS  # Fractions cost more than the demuxing of small clips
        with as_video_error(self._source.name):
            for packet in self._container.demux():
                if is_timed and packet.pts is not None and packet.time_base:
                    end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    self._content_end_s = max(self._content_end_s, end_s)
                if packet.size and packet.stream_index == self._stream.index:
                    yield packet

    def decode_all(self, clock: Clock) -> Iterator[VideoFrame]:
        """Every frame from the beginning, in the decoder's order."""
        self._rewind()
        yield from self._decoded(self.packets(), clock)

    def decode_from(
        self, key: KeyFrame | None, index: FrameIndex, clock: Clock, wanted: Sequence[int] | None = None
    ) -> Iterator[tuple[int, VideoFrame]]:
        """(number, frame) from a key frame on; the number is -1 for frames that ``index`` does not list.

        ``wanted``: numbers, rising, of the frames that are asked for; the others may be missing. None: all of them.
        """
        if index.counted:
            return enumerate(self.decode_all(clock))
        if key is None:
            frames = self.decode_all(clock)
        else:
            packets = self._packets_from(key, clock)
            if wanted is not None:
                packets = self._needed(packets, Needed(index, wanted, spare_test(*self._configuration())))
            frames = self._decoded(packets, clock)
        return ((index.number_of(frame.pts), frame) for frame in frames)

    def first_frame(self, index: FrameIndex, clock: Clock) -> VideoFrame:
        for key in index.starting_points(0):
            for _, frame in islice(self.decode_from(key, index, clock), 1):
                return frame
        raise VideoError(self._source.name, f"none of its {len(index)} frames decodes", DAMAGED)

    def agrees_with(self, index: FrameIndex, clock: Clock) -> bool:
        """Whether the decoder gives the frames that the packets announce, tried where experience says it may not."""
        source, reorders = self._source.demuxer, self._stream.codec_context.reorder_depth > 0
        if reorders and source in {"avi", "asf"}:
            return False  # these store decoding times only: with B-frames the stamps are wrong
        if not (source in _LOOSE_CONTAINERS or self.codec in _LOOSE_CODECS or (reorders and not index.reordered)):
            return True
        seen = [frame.pts for frame in islice(self.decode_all(clock), _PROBED_FRAMES)]
        return bool(seen) and seen == index.stamps[: len(seen)].tolist()

    def seconds_of(self, ticks: int) -> float:
        """Time base units in seconds; Python integers do not overflow."""
        return float(ticks * self._time_base)

    def times_of(self, stamps: np.ndarray) -> Tensor:
        """Seconds since the first stamp, float64; checked against ``Limits.max_seconds``."""
        base = self._time_base
        seconds = self.seconds_of(int(stamps[-1]) - int(stamps[0]))
        if seconds > self._limits.max_seconds:
            reason = f"it lasts {seconds:,.0f} seconds, the limit is {self._limits.max_seconds:,.0f}"
            self.fail(reason, raise_limit("seconds", "Cut it"))
        return torch.from_numpy((stamps - stamps[0]).astype(np.float64) * base.numerator / base.denominator)

    def is_joint(self, start: int | None, end: int | None, set_back: bool) -> bool:
        """Whether another recording was joined at byte ``end``; from byte ``start`` on, all before it is undamaged."""
        if self._source.demuxer != "mpegts" or start is None or end is None or not 0 < end - start <= _LONGEST_LOOK:
            return False
        with self._source.open() as file:
            if (grid := packet_grid(file.read(4096))) is None:
                return False
            lead = min(_LEAD, (start - grid[0]) // grid[1])
            first = start - lead * grid[1]
            file.seek(first)
            return is_joint(file.read(end - first + grid[1]), grid[1], lead, set_back)

    def check_complete(self) -> None:
        """Compare the packets that were read with what the container's own tables and lengths announce."""
        entries = self._stream.index_entries if self._source.demuxer in _TABLED_CONTAINERS else []
        listed = len(entries)
        if self.total < listed:  # some recorders end a stream with an empty sample, which is no frame
            listed -= sum(entry.size == 0 for entry in entries)
        if self.total < listed:
            self._fail_cut(f"it lists {listed} frames and holds {self.total}")
        extent = require_uncut(self._source, packets=self.total)
        if extent.second:
            self.fail("it holds two recordings, one behind the other, and only the first can be read", _SPLIT)
        self.complete = extent.complete
        self._check_duration()
        if not self.total:
            self.fail(f"the video stream holds no frames (the header says {self._stream.frames})", DAMAGED)

    def _check_duration(self) -> None:
        stated_s = (self._container.duration or 0) / 1e6 if self._container else 0.0
        if self._source.demuxer not in _TIMED_CONTAINERS or stated_s <= 0:
            return
        # Some writers round up to whole seconds; where fractions are stated, they are meant.
        slack_s = 1.0 if stated_s == int(stated_s) else max(0.1, 2.5 * self.seconds_of(self.nominal_interval))
        known = self.complete  # by bytes: then the duration is only a rough second opinion
        if known:
            slack_s = 0.1 * stated_s + 1
        if self._content_end_s < stated_s - slack_s:
            reason = f"it announces {stated_s:.1f} s and ends at {self._content_end_s:.1f} s"
            self._fail_cut(f"{reason} ({self.total} packets found)")

    def _fail_cut(self, reason: str) -> NoReturn:
        raise TruncatedError(self._source.name, f"{_CUT}: {reason}", DAMAGED)

    def _rewind(self) -> None:
        """Open the container afresh: the one way to the beginning that no seek table can spoil."""
        self.close()
        with as_video_error(self._source.name):
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
            self.fail(reason, raise_limit("pixels", "Scale it down"))
        if not pixels:  # a broken header, or FFmpeg has wiped the size after checking the limit itself
            reason = f"its header gives no frame size, or one above the limit of {limit:,} pixels"
            self.fail(reason, raise_limit("pixels", "Get an undamaged copy"))
        if not self._stream.time_base:
            self.fail("the video stream has no time base", DAMAGED)
        base = self._stream.time_base
        self._time_base = Fraction(base.numerator, base.denominator)
        context.options = {"max_pixels": _as_int32(limit)}
        context.thread_type = "AUTO"
        context.thread_count = min(self._threads, os.cpu_count() or 1)

    def idr_test(self) -> Callable[[memoryview], bool] | None:
        """See :func:`~videoswin.data.spare_packets.idr_test`."""
        return idr_test(*self._configuration())

    def _configuration(self) -> tuple[str, bytes | None]:
        return self.codec, self._stream.codec_context.extradata

    def _needed(self, packets: Iterable[Packet], is_needed: Needed) -> Iterator[Packet]:
        """Those that have to be decoded, up to the last frame that is wanted."""
        for packet in packets:
            if is_needed(self.position, packet.pts, memoryview(packet)):
                yield packet
            else:
                self.position += 1
            if is_needed.over:
                return

    def _decoded(self, packets: Iterable[Packet], clock: Clock) -> Iterator[VideoFrame]:
        decoder = self._stream.codec_context
        for packet in chain(packets, [None]):  # None: the frames that the decoder still holds
            clock.check("decoding")
            self.position += packet is not None
            at = f"packet {self.position} of {self.total or 'the file'}"
            with as_video_error(self._source.name, f"decoding stops at {at}"):
                frames = decoder.decode(packet)
            yield from map(self._undamaged, frames)

    def _undamaged(self, frame: VideoFrame) -> VideoFrame:
        if frame.is_corrupt:
            at = "" if frame.time is None else f" at {frame.time:.2f} s"
            self.fail(f"the decoder reports a damaged frame{at}", DAMAGED)
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
            with as_video_error(self._source.name):
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


class Joints:
    """Watches the packets of a file for damage that FFmpeg reports, and for joints of recordings that only look like it.

    At a joint the counters of a transport stream jump. FFmpeg calls a packet near it damaged: the last of the recording, the
    one before, or the first of the next. Raises :class:`VideoError` for damage.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._before: Packet | None = None
        self._last_dts: int | None = None
        self._flagged = 0  # its number, from 1; 0 if none is in doubt
        self._start: int | None = None

    def look_at(self, packet: Packet) -> None:
        if packet.is_corrupt and not self._flagged:
            self._flagged = self._reader.total
            self._start = packet.pos if self._before is None else self._before.pos
        if self._flagged:
            set_back = is_set_back(self._last_dts, packet.dts, self._reader.wraps)
            if packet.is_keyframe and self._reader.is_joint(self._start, packet.pos, set_back):
                self._flagged = 0
            elif self._reader.total - self._flagged >= _WITHIN:
                self.end()
        self._before = packet
        self._last_dts = packet.dts

    def end(self) -> None:
        """No packet follows."""
        if self._flagged:
            self._reader.total = self._flagged - 1
            self._reader.check_complete()  # says by how much the file was cut, if it was
            reason = f"packet {self._flagged} is damaged, or parts of recordings were joined there"
            self._reader.fail(reason, DAMAGED)


def require_uncut(source: Source, cause: BaseException | None = None, packets: int | None = None) -> Extent:
    """What the container says about its end. Raises :class:`TruncatedError` if that is behind the end of the file."""
    extent = source.extent()
    if extent.missing:
        found = "" if packets is None else f" ({packets} packets found)"
        raise TruncatedError(source.name, f"{_CUT}: {extent.missing:,} bytes are missing{found}", DAMAGED) from cause
    return extent


def _open_container(source: Source, limits: Limits) -> InputContainer:
    """Open with the demuxer that the magic bytes named, and no way to any other file or address."""
    options = {
        "format_whitelist": source.demuxer,
        "protocol_whitelist": "none" if isinstance(source.content, bytes) else "file",
        "max_pixels": _as_int32(limits.max_pixels),  # FFmpeg decodes a frame of some files while it probes them
    }
    file = BytesIO(source.content) if isinstance(source.content, bytes) else f"file:{source.content}"
    timeout_s = max(1.0, limits.timeout_s) if limits.timeout_s < 1e6 else None  # for a disk that hangs
    return open_input(file, form=source.demuxer, options=options, timeout_s=timeout_s)


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        what = "a cover picture only" if stream else "sound or text only" if container.streams else "nothing at all"
        raise VideoError(name, f"no video stream (it holds {what})", "Give a file with moving pictures")
    if stream.codec_context is None:
        hint = "Convert it with another program: ffmpeg -i INPUT -c:v libx264 output.mp4"
        raise VideoError(name, "there is no decoder for its video codec", hint)
    return stream


def _as_int32(value: float) -> str:
    return str(int(min(value, 2**31 - 1)))
