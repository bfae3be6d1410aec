"""Test videos: a few real ones in ``tests/media``, the others encoded here with PyAV."""

import csv
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

MEDIA = Path(__file__).parent / "media"


def manifest() -> dict[str, dict[str, str]]:
    """What ``tests/media/manifest.csv`` says about each real file."""
    with (MEDIA / "manifest.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def moving_picture(count: int, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """uint8 ``(count, height, width, 3)`` RGB: a textured background that drifts under a bright square."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (height // 4 + 1, width // 4 + 1, 3))
    background = coarse.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]
    frames = np.empty((count, height, width, 3), np.uint8)
    for number in range(count):
        frames[number] = np.roll(background, number, axis=1)
        top, left = (number * 2) % max(1, height - 8), (number * 3) % max(1, width - 8)
        frames[number, top : top + 8, left : left + 8] = 255
    return frames


def add_video(
    output: OutputContainer,
    frames: Iterable[np.ndarray],
    *,
    codec: str = "libx264",
    rate: int = 30,
    stamps: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    size: tuple[int, int] | None = None,
) -> VideoStream:
    """Encode ``(H, W, 3)`` RGB frames into a new stream of ``output``.

    ``stamps``: presentation times in milliseconds (default: one every 1 / ``rate`` seconds). ``size``: (height,
    width) of the stream where frames differ in size.
    """
    stream: VideoStream | None = None
    for number, pixels in enumerate(frames):
        if stream is None:
            stream = cast(VideoStream, output.add_stream(codec, rate=rate, options=options or {}))
            stream.height, stream.width = size or pixels.shape[:2]
            stream.pix_fmt = pix_fmt
            stream.codec_context.thread_count = 1
            if stamps is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            if rotation:
                stream.set_display_rotation(rotation)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        if stamps is not None:
            frame.pts, frame.time_base = stamps[number], Fraction(1, 1000)
        output.mux(stream.encode(frame))
    assert stream is not None, "give at least one frame"
    output.mux(stream.encode(None))
    return stream


def encode(path: Path, frames: Iterable[np.ndarray], *, container: str | None = None, **stream: object) -> Path:
    """Write a video file with one stream; the keywords are those of :func:`add_video`."""
    with av.open(str(path), "w", format=container) as output:
        add_video(output, frames, **stream)  # pyright: ignore[reportArgumentType]
    return path


def encode_sound(path: Path, seconds: int = 1, container: str | None = None) -> Path:
    """Write a file that holds silence only."""
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream("aac", rate=8000)
        silence = np.zeros((1, 1024), np.float32)
        for _ in range(seconds * 8):
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.sample_rate = 8000
            output.mux(stream.encode(frame))  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        output.mux(stream.encode(None))  # pyright: ignore[reportAttributeAccessIssue]
    return path
