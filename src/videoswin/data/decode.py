"""Video files in, RGB frames with their times out.

    with open_video("clip.mp4") as video:
        frames = video.get_frames(range(0, 64, 2))  # data: uint8 (32, H, W, 3), times: (32,) seconds

What a caller can rely on:

* Frames are numbered in display order, 0 to ``len(video) - 1``, by what the file *holds*: all its packets are read
  when it is opened. Frame counts, rates and durations of headers are not believed.
* ``get_frames`` returns the same bits whether it seeks or walks, and whatever it passes over. A frame that cannot be delivered is a
  :class:`VideoError`, never a neighbour, a black picture or a shorter result; so is a file that was cut off.
* The file is judged untrusted: one demuxer, one protocol, no second file (:mod:`videoswin.data.containers`), and
  :class:`Limits` on pixels, frames, bytes, seconds and wall-clock time.
* Rotation and mirroring (phones, front cameras) are applied once, in the nearest of the eight ways that a picture can lie;
  non-square pixels are not.
* Recordings that were joined by copying one behind the other come in their order, with times that go on.
* Colours become RGB by the stream's own matrix and range, as FFmpeg's swscale does by default (unmarked streams:
  BT.601, limited). 10 and 12 bits are reduced to 8, HDR is not tone-mapped, alpha is dropped.
* Interlaced frames stay woven: both fields in one frame.
* If the resolution changes midstream, all frames are scaled to the size of the first.
* Of several video streams, the one FFmpeg calls best is read; a cover picture is no video.

Known limits. Damage that the codec conceals without saying so cannot be seen, nor that of frames that were passed over. Some containers do not say where they end
(:mod:`videoswin.data.extent`): for these ``VideoInfo.complete`` is None. A stream without true key frames (H.264
intra refresh) may differ in a few pixels after a seek. FLV hides its size from the header check, so one frame of up
to FFmpeg's own bound may be decoded before it is refused.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Self

import numpy as np
import torch
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from torch import Tensor

from videoswin.data.containers import Clock, Limits, Source, find_source, raise_limit
from videoswin.data.ffmpeg import DAMAGED, as_video_error, orientation_of
from videoswin.data.frame_index import FrameIndex, KeyFrame, going_on, is_set_back, is_shown
from videoswin.data.reader import Joints, Reader, require_uncut
from videoswin.errors import ConfigError, OutOfMemoryError, VideoError

__all__ = ["DECODER_THREADS", "Frames", "Limits", "Video", "VideoInfo", "open_video"]

_MAX_PACKETS = 10_000_000  # 46 hours at 60 frames per second; the index of that many takes 160 MB
DECODER_THREADS = 4  # more gain little at 256 to 1080 lines, and every data worker has its own decoder
_SET_BACK_S = 0.5  # a clock that falls by more was set back; by less, its stamps are in disorder
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
    180 or 270), after mirroring left to right if ``mirrored``. ``fps``: average over the whole video, 0.0 if it has a
    single frame. ``duration_s``: seconds up to the end of the last frame, taken to last 1 / ``fps``. ``complete``: True if
    the end that the container states was found; None if it states none, so that a file that was cut off cannot be told
    from a whole one (one that is known to be cut off does not open).
    """

    path: str
    codec: str
    width: int
    height: int
    rotation: int
    fps: float
    duration_s: float
    num_frames: int
    mirrored: bool = False
    complete: bool | None = None


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
        self._new_reader = partial(Reader, source, limits, threads)
        self._closed = False
        self._reformatter = VideoReformatter()
        with _told_if_cut_off(source):
            self._reader = self._new_reader()
        try:
            with _told_if_cut_off(source), as_video_error(source.name):
                clock = self._clock()
                self._index = _build_index(self._reader, clock)
                self.times = self._reader.times_of(self._index.stamps)
                first = self._reader.first_frame(self._index, clock)
                self._stored_size = first.width, first.height
                self._orientation = orientation_of(first)
        except BaseException:
            self._reader.close()
            raise
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
        turns, mirrored = self._orientation
        width, height = self._stored_size if turns % 2 == 0 else self._stored_size[::-1]
        span = float(self.times[-1])
        fps = (len(self) - 1) / span if span > 0 else 0.0
        return VideoInfo(
            path=self._source.name,
            codec=self._reader.codec,
            width=width,
            height=height,
            rotation=turns * 90,
            mirrored=mirrored,
            fps=fps,
            duration_s=span + (1 / fps if fps else 0.0),
            num_frames=len(self),
            complete=self._reader.complete,
        )

    def _decode(self, reader: Reader, wanted: Sequence[int], clock: Clock) -> Iterator[tuple[int, Tensor]]:
        """Yield (number, RGB frame) for the sorted numbers ``wanted``, seeking where that saves decoding."""
        self._require_open()
        done = 0
        is_sparse = len(wanted) > 0 and wanted[-1] - wanted[0] + 1 > len(wanted)
        while done < len(wanted):
            before = done
            for key in self._index.starting_points(wanted[done]):
                for number, frame in reader.decode_from(key, self._index, clock, wanted[done:] if is_sparse else None):
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
                raise VideoError(self._source.name, reason, DAMAGED)

    def _to_rgb(self, frame: VideoFrame) -> Tensor:
        """uint8 ``(H, W, 3)``, upright."""
        width, height = self._stored_size
        with as_video_error(self._source.name):
            rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1)
            return torch.from_numpy(self._orientation.apply(rgb.to_ndarray()))

    def _check_request(self, wanted: list[int]) -> None:
        self._require_open()
        if len(wanted) > self._limits.max_frames:
            reason = f"{len(wanted)} frames were asked for at once, the limit is {self._limits.max_frames:,}"
            raise VideoError(self._source.name, reason, raise_limit("frames", "Ask for fewer, iterate"))
        outside = next((number for number in wanted if not 0 <= number < len(self)), None)
        if outside is not None:
            reason = f"frame {outside} was asked for, the video has {len(self)} frames (0 to {len(self) - 1})"
            raise VideoError(self._source.name, reason, "Ask for frames inside the video")

    def _room_for(self, count: int, frame: Tensor) -> Tensor:
        size = count * frame.nbytes
        if size > self._limits.max_bytes:
            reason = f"the frames asked for take {size:,} bytes, the limit is {self._limits.max_bytes:,}"
            raise VideoError(self._source.name, reason, raise_limit("bytes", "Ask for fewer, resize with `each`"))
        with as_video_error(self._source.name):
            return frame.new_empty((count, *frame.shape))

    def _require_open(self) -> None:
        if self._closed:
            raise VideoError(self._source.name, "the video was closed", "Open it again with open_video")


@contextmanager
def _told_if_cut_off(source: Source) -> Iterator[None]:
    """Where FFmpeg stumbles over the end of a file that was cut off, that is the better reason."""
    try:
        yield
    except VideoError as error:
        if error.__cause__ is not None and not isinstance(error, OutOfMemoryError):
            require_uncut(source, error.__cause__)
        raise


def _build_index(reader: Reader, clock: Clock) -> FrameIndex:
    """Read all packets, not decoding them. If they leave doubts about the frames, decode the file once."""
    stamps, keys, doubtful = array("q"), [], False
    joints = Joints(reader)
    is_idr = reader.idr_test()
    last_dts: int | None = None
    for order, packet in enumerate(reader.packets()):
        clock.check("reading the packets")
        if order >= _MAX_PACKETS:
            reader.fail(f"it holds more than {_MAX_PACKETS:,} packets", "Cut it into shorter files")
        reader.total = order + 1
        joints.look_at(packet)
        doubtful = doubtful or packet.pts is None or is_set_back(last_dts, packet.dts, reader.wraps)
        last_dts = packet.dts if packet.dts is not None else last_dts
        if packet.pts is None:
            continue
        if packet.is_keyframe:
            afresh = is_idr is not None and is_idr(memoryview(packet))
            keys.append(KeyFrame(packet.pts, packet.dts, order, afresh))
        if not packet.is_discard and is_shown(reader.codec, memoryview(packet)):  # discard: outside the edit list
            stamps.append(packet.pts)
    joints.end()
    reader.check_complete()
    index = None if doubtful else FrameIndex.of_packets(np.asarray(stamps, np.int64), keys)
    if index and reader.agrees_with(index, clock):
        return index
    return _count_frames(reader, clock)


def _count_frames(reader: Reader, clock: Clock) -> FrameIndex:
    """Decode everything once, converting no pixels; the decoder's output order is the display order."""
    stamps = array("q")
    for frame in reader.decode_all(clock):
        stamp = frame.pts if frame.pts is not None else frame.dts
        stamps.append(stamp if stamp is not None else stamps[-1] + reader.nominal_interval if stamps else 0)
    if not stamps:
        reader.fail(f"none of its {reader.total} packets gives a frame", DAMAGED)
    jump = max(1, round(_SET_BACK_S / reader.seconds_of(1)))
    return FrameIndex(going_on(np.asarray(stamps, np.int64), jump, reader.wraps), [], counted=True)


def _bytes_of(tensor: Tensor) -> np.ndarray:
    """A view to copy by. torch splits even small copies over threads: 100 times slower on a busy machine."""
    return tensor.contiguous().view(torch.uint8).numpy()
