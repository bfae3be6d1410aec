"""Peak memory and time of a timeline for 5 minutes and for 2 hours of the same real clips.

    python -m benchmarks.long_video spliced.mp4 --work FOLDER [--minutes 5 30 120]

The spliced video (recipes/splice.py) is shrunk to 160x120 and every fifth frame once, and then joined to itself without another
encoding until it is long enough. Each length is measured in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import torch
from av.video.stream import VideoStream

from videoswin.data.decode import Limits, open_video
from videoswin.data.transforms import Resize

SIZE, EVERY, TICKS = (120, 160), 5, 90_000


def shrink(video: Path, out: Path) -> None:
    """Every fifth frame, 160 x 120."""
    with open_video(video) as opened, av.open(str(out), "w") as container:
        stream = cast(VideoStream, container.add_stream("libx264", rate=5, options={"bf": "0", "g": "50"}))
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        for number, (time_s, pixels) in enumerate(opened):
            if number % EVERY == 0:
                frame = av.VideoFrame.from_ndarray(Resize(None, SIZE)(pixels).numpy(), format="rgb24")
                frame.pts, frame.time_base = round(time_s * TICKS), Fraction(1, TICKS)
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def join(part: Path, out: Path, minutes: float) -> None:
    """``part`` again and again, packets copied, until the result is ``minutes`` long."""
    with open_video(part) as opened:
        length_s = opened.info.duration_s
    with av.open(str(part)) as first, av.open(str(out), "w") as container:
        stream = container.add_stream_from_template(first.streams.video[0])
        for round_ in range(int(-(-minutes * 60 // length_s))):
            with av.open(str(part)) as source:
                for packet in source.demux(video=0):
                    if packet.size and packet.pts is not None and packet.time_base:
                        shift = round(round_ * length_s / packet.time_base)
                        packet.pts, packet.dts = packet.pts + shift, (packet.dts or 0) + shift
                        packet.stream = stream
                        container.mux(packet)


def measure(video: Path, weights: str, clip_seconds: float | None, hop_seconds: float | None) -> dict[str, float]:
    """In this process: one timeline, its time and the peak of its memory."""
    from videoswin.classifier.loading import load
    from videoswin.live.pace import Pace
    from videoswin.live.timeline import TimelineSettings, make_timeline

    torch.set_num_threads(1)
    start, cpu = time.perf_counter(), time.process_time()
    settings = TimelineSettings(Pace(clip_seconds, hop_seconds), gate=False)
    limits = Limits(timeout_s=600)
    found = make_timeline(load(weights), video, settings, limits=limits)
    return {
        "minutes": round(found.duration_s / 60, 1),
        "frames": found.frames,
        "segments": len(found.segments),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "wall_s": round(time.perf_counter() - start, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 30, 120])
    parser.add_argument("--weights", default="swin3d_micro_gestures")
    parser.add_argument("--clip-seconds", type=float, default=8.0)
    parser.add_argument("--hop-seconds", type=float, default=2.0)
    parser.add_argument("--inner", action="store_true", help="measure this file in this process")
    a = parser.parse_args()
    if a.inner:
        print(json.dumps(measure(a.video, a.weights, a.clip_seconds, a.hop_seconds)))
        return
    a.work.mkdir(parents=True, exist_ok=True)
    part = a.work / "part.mp4"
    shrink(a.video, part)
    for minutes in a.minutes:
        long = a.work / f"{minutes:g}.mp4"
        join(part, long, minutes)
        command = [sys.executable, __file__, str(long), "--inner", "--weights", a.weights]
        command += ["--clip-seconds", str(a.clip_seconds), "--hop-seconds", str(a.hop_seconds)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
