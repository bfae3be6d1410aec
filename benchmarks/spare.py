"""Frames of a clip with B-frames, with and without passing over packets that no other refers to: CPU seconds, interleaved.

    python benchmarks/spare.py clip.mp4 --height 720 --frames 150

The clip is encoded anew on the spot by x264 with three B-frames, at this height. The frames are those of a training clip: some spread
over the video, or every second or fourth one from the middle on. Outputs are compared bit for bit.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from benchmarks.lib.enlarged import enlarge

from videoswin.data.decode import Video, open_video
from videoswin.data.reader import Reader
from videoswin.data.transforms import Resize

REPEATS = 3


def seconds(video: Video, wanted: list[int], resize: Resize) -> tuple[float, torch.Tensor]:
    began = time.process_time()
    data = video.get_frames(wanted, each=resize).data
    return time.process_time() - began, data


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--frames", type=int, default=150)
    arguments = parser.parse_args()
    count, needed, resize = arguments.frames, Reader._needed, Resize(256, (224, 224))
    chosen = {
        "16 spread over it": [count * (2 * i + 1) // 32 for i in range(16)],
        "32, every second": [count // 4 + 2 * i for i in range(32) if count // 4 + 2 * i < count],
        "16, every fourth": [count // 4 + 4 * i for i in range(16) if count // 4 + 4 * i < count],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        enlarge(arguments.clip, path, arguments.height, count)
        with open_video(path, threads=1) as video:
            print("| frames | all decoded, s | passed over, s | ratio (least to most) |\n| --- | --- | --- | --- |")
            for name, wanted in chosen.items():
                taken: list[tuple[float, float]] = []
                for _ in range(REPEATS):
                    Reader._needed = lambda self, packets, is_needed: iter(packets)
                    before, one = seconds(video, wanted, resize)
                    Reader._needed = needed
                    after, two = seconds(video, wanted, resize)
                    assert torch.equal(one, two)
                    taken.append((before, after))
                ratios = sorted(before / after for before, after in taken)
                medians = [statistics.median(column) for column in zip(*taken, strict=True)]
                print(
                    f"| {name} | {medians[0]:.3f} | {medians[1]:.3f} | {statistics.median(ratios):.2f} "
                    f"({ratios[0]:.2f} to {ratios[-1]:.2f}) |",
                    flush=True,
                )


if __name__ == "__main__":
    run()
