"""Real clips joined to one long video whose boundaries are known: what timelines and cut detectors are measured on.

    python recipes/splice.py DATA/labels.csv spliced.mp4 --split test [--unlabelled first] [--pause 20]

Clips follow each other in a random order, each with its own frame times (the result has a variable frame rate) and scaled to
one size. ``--unlabelled first|second`` mixes in half of the clips without a split (other gestures), whose truth is "none".
Beside the video goes ``spliced.csv``: start_s,end_s,label,group, one row a clip.
"""

import argparse
import csv
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
from av.video.stream import VideoStream
from torch import Tensor

from videoswin.data.annotations import Clip, read_index
from videoswin.data.decode import Video, open_video
from videoswin.data.transforms import Resize

SIZE = (240, 320)
PAUSE_FPS, NOISE = 15, 2.0  # NOISE: standard deviation in grey levels
_TICKS = 90_000


class Part(NamedTuple):
    """One clip of a spliced video; ``label`` is "" where the truth is none."""

    start_s: float
    end_s: float
    label: str
    group: str


def splice(
    rows: Sequence[Clip], out: Path, none_labels: frozenset[str] = frozenset(), pause_s: float = 0.0
) -> list[Part]:
    """Write the clips of ``rows`` one after the other into ``out`` (H.264) and say where each one is. After each, its last
    frame stays for ``pause_s`` seconds, with the noise of a sensor.
    """
    noise = np.random.default_rng(0)
    parts: list[Part] = []
    now_s = 0.0
    with av.open(str(out), "w") as container:
        options = {"preset": "veryfast", "crf": "20", "g": "250"}
        stream = cast(VideoStream, container.add_stream("libx264", rate=30, options=options))
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        for row in rows:
            with open_video(row.path) as video:
                small = np.empty(0)
                for time_s, pixels in _with_pause(video, pause_s):
                    if pixels is not None:
                        small = Resize(None, SIZE)(pixels).numpy()
                        shown = small
                    else:
                        shown = (small + noise.normal(0, NOISE, small.shape)).clip(0, 255).astype(np.uint8)
                    frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
                    frame.pts, frame.time_base = round((now_s + time_s) * _TICKS), Fraction(1, _TICKS)
                    container.mux(stream.encode(frame))
                end_s = now_s + video.info.duration_s
            parts.append(Part(now_s, end_s, "" if row.label in none_labels else row.label, row.group))
            now_s = end_s + pause_s
        container.mux(stream.encode(None))
    return parts


def _with_pause(video: Video, pause_s: float) -> Iterator[tuple[float, Tensor | None]]:
    """The frames, and then None for each frame of the pause."""
    yield from video
    if pause_s:
        for number in range(int(pause_s * PAUSE_FPS)):
            yield video.info.duration_s + number / PAUSE_FPS, None


def order(rows: Sequence[Clip], seed: int, repeat: int = 1) -> list[Clip]:
    """A random order, ``repeat`` times over."""
    draw = random.Random(seed)
    return [row for _ in range(repeat) for row in draw.sample(list(rows), len(rows))]


def choose(index: Path, split: str, unlabelled: str | None) -> tuple[list[Clip], frozenset[str]]:
    """The rows of a split, and of a half of the clips that have none."""
    rows = list(read_index(index, split=split).rows)
    if unlabelled is None:
        return rows, frozenset()
    others = sorted(read_index(index, split="").rows, key=lambda row: str(row.path))
    half = others[: len(others) // 2] if unlabelled == "first" else others[len(others) // 2 :]
    return rows + half, frozenset(row.label for row in half)


def write_parts(path: Path, parts: Sequence[Part]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Part._fields)
        writer.writerows((f"{p.start_s:.4f}", f"{p.end_s:.4f}", p.label, p.group) for p in parts)


def read_parts(path: Path) -> list[Part]:
    with path.open(newline="", encoding="utf-8") as file:
        return [Part(float(r["start_s"]), float(r["end_s"]), r["label"], r["group"]) for r in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", required=True)
    parser.add_argument("--unlabelled", choices=("first", "second"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds of stillness after each clip")
    parser.add_argument("--clips", type=int, help="only so many")
    arguments = parser.parse_args()
    rows, none_labels = choose(arguments.index, arguments.split, arguments.unlabelled)
    rows = order(rows, arguments.seed, arguments.repeat)[: arguments.clips]
    parts = splice(rows, arguments.out, none_labels, arguments.pause)
    write_parts(arguments.out.with_suffix(".csv"), parts)
    print(f"{len(parts)} clips, {parts[-1].end_s:.1f} s: {arguments.out}")


if __name__ == "__main__":
    main()
