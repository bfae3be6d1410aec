"""Memory of a stream over a simulated hour: the frames of a real video again and again, through both threads, as fast as they go.

python -m benchmarks.stream_hour clip.mp4 [--hours 1] [--clip-seconds 8]
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from videoswin.classifier.loading import load
from videoswin.data.decode import open_video
from videoswin.data.transforms import Resize
from videoswin.live.decisions import DecisionSettings
from videoswin.live.pace import Pace, make_engine
from videoswin.live.session import Session
from videoswin.live.sources import Health, Seen
from videoswin.live.tracker import FrontEnd

RATE = 10.0  # pictures a second


class Loop:
    """A source that waits for the model and repeats the first minute of a video."""

    live, fps = False, RATE

    def __init__(self, path: Path, seconds: float) -> None:
        self.name, self.health, self.seconds = str(path), Health(), seconds
        with open_video(path) as video:
            step = max(1, round(video.info.fps / RATE))
            last = min(len(video), int(60 * video.info.fps))
            self.frames = video.get_frames(range(0, last, step), each=Resize(None, (120, 160))).data

    def __iter__(self) -> Iterator[Seen]:
        for number in range(int(self.seconds * RATE)):
            rgb = self.frames[number % len(self.frames)]
            self.health.saw(rgb)
            yield Seen(number / RATE, time.monotonic(), rgb)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--weights", default="swin3d_micro_gestures")
    parser.add_argument("--clip-seconds", type=float, default=8.0)
    parser.add_argument("--hop-seconds", type=float, default=4.0)
    parser.add_argument("--hours", type=float, default=1.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    classifier = load(arguments.weights)
    pace = Pace(arguments.clip_seconds, arguments.hop_seconds)
    fps = pace.fps(classifier.preprocessing, RATE)
    source = Loop(arguments.video, 3600 * arguments.hours)
    engine = make_engine(classifier, pace, fps, DecisionSettings())
    session = Session(source, FrontEnd(classifier.preprocessing, fps), engine, queue_frames=30)
    marks, answers = {}, 0
    for update in session:
        if update and update.scores:
            answers += 1
            minute = int(update.time_s // 60)
            if minute % 5 == 0 and minute not in marks:
                marks[minute] = resident_mb()
    marks["end"] = resident_mb()
    print(json.dumps({"hours": arguments.hours, "pictures": source.health.pictures, "answers": answers, "mb": marks}))


if __name__ == "__main__":
    main()
