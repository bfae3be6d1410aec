"""Memory of a stream over 24 simulated hours with resizes, stalls, damaged frames and restarts, on a clock that is made.

python -m benchmarks.stream_day [--hours 24] [--fps 2]

The source is a `LiveSource` over connections that are made here: each sends pictures for some minutes, in one of three sizes,
and then ends, fails or falls silent; some attempts to connect are refused. Everything behind it is the real thing, in two
threads: timing, reconnecting, cuts, sampling, the queue, a small model, decisions. Prints the counts and the memory of each
hour as JSON, and how far the memory of any hour after the first is from that of the first.
"""

import argparse
import gc
import json
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import VideoError
from videoswin.live.decisions import DecisionSettings
from videoswin.live.frame_selector import FrameSelector
from videoswin.live.pace import Pace, make_tracker
from videoswin.live.session import Session
from videoswin.live.sources import LiveSource
from videoswin.model import SwinConfig, create_model

SIZES = ((60, 80), (120, 160), (90, 120))
PREPROCESSING = Preprocessing(clip_len=8, sampling="time", fps=1.0, size=(32, 32), short_side=32)


class World:
    """A clock, and cameras that come and go by it. The queue is emptied before time goes on, so that nothing depends on the
    machine: being too slow is what the tests are about, and this is about hours."""

    def __init__(self, hours: float, fps: float) -> None:
        self.now, self.end_s, self.fps = 0.0, 3600 * hours, fps
        self.random = random.Random(0)
        self.refused = self.silences = 0
        generator = torch.Generator().manual_seed(0)
        self.pictures = {
            size: torch.randint(0, 256, (40, *size, 3), generator=generator, dtype=torch.uint8) for size in SIZES
        }
        self.session: Session | None = None
        self.damaged = 0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def connect(self, watch: object) -> "Connection":
        if self.random.random() < 0.3 and self.now:
            self.refused += 1
            self.now += 1.0
            raise VideoError("camera", "refused", "Wait")
        return Connection(self)


class Connection:
    """Pictures for one to fifteen minutes."""

    name, head, is_file, finished = "camera", b"", False, False

    def __init__(self, world: World) -> None:
        self._world, self.fps, self.damaged = world, world.fps, 0
        self._size = world.random.choice(SIZES)
        self._count = int(world.random.uniform(60, 900) * world.fps)
        self._how = world.random.choice(["ends", "fails", "falls silent"])

    def __iter__(self) -> Iterator[tuple[float | None, Tensor]]:
        world = self._world
        first = world.random.uniform(0, 1e5)
        for number in range(self._count):
            if world.now > world.end_s:
                self.finished = True
                return
            world.now += 1 / world.fps
            if world.random.random() < 1e-3:
                self.damaged += 1
                continue
            if number % 2000 == 1999:
                self._size = world.random.choice(SIZES)
            pictures = world.pictures[self._size]
            still = number // 200 % 3 == 0
            yield first + number / world.fps, pictures[0 if still else number // 7 % len(pictures)]
        if self._how == "ends":
            return
        if self._how == "falls silent":
            world.silences += 1
            world.now += 10.0
        raise VideoError("camera", "nothing came within the timeout", "Wait")

    def close(self) -> None:
        pass


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--fps", type=float, default=2.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = SwinConfig(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 3, 3), num_classes=3)
    classifier = Classifier(create_model(config, num_classes=3).eval(), PREPROCESSING, ("a", "b", "c"))
    world = World(arguments.hours, arguments.fps)
    source = LiveSource(world.connect, "camera", reconnect=True, fast=True, clock=world.clock, sleep=world.sleep)  # type: ignore[arg-type]
    source.open()
    tracker = make_tracker(classifier, Pace(), 1.0, DecisionSettings(0.5, 0.34, 0.3, 0.5), gate=True)
    session = Session(source, FrameSelector(PREPROCESSING, 1.0), tracker, queue_frames=8, clock=world.clock)
    hours: dict[int, float] = {}
    answers = events = 0
    for update in session:
        if update:
            answers += bool(update.scores)
            events += len(update.events)
        hour = int(world.now // 3600)
        if hour not in hours:
            gc.collect()
            hours[hour] = resident_mb()
    memory = list(hours.values())[1:] or list(hours.values())
    facts = {
        "hours": arguments.hours,
        "health": source.health.to_dict(),
        "refused": world.refused,
        "silences": world.silences,
        "samples": tracker.samples,
        "skipped": tracker.skipped,
        "cuts": session.selector.cuts,
        "answers": answers,
        "events": events,
        "threads": threading.active_count(),
        "open_files": len(os.listdir("/proc/self/fd")),
        "mb": hours,
        "largest_change": round(max(abs(mb / memory[0] - 1) for mb in memory), 4),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
