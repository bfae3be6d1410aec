"""Training fed from 1080-line originals and from their pack (``videoswin pack``): CPU seconds, interleaved.

    python benchmarks/pack.py clip.mp4 --height 1080 --frames 150

The original is made on the spot: the clip, enlarged and encoded by x264 as cameras and sites do (three B-frames, a key frame every 250
frames). It is packed by the command's own function, which is also timed. Then clips of the default start (16 frames spread over the
video, crops, colours: the recipe's augmentation) are drawn from both in turn, decoded anew each time, as in a set that does not fit into
memory; and so are whole training steps with ``swin3d_micro_motion``.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from benchmarks.lib.enlarged import enlarge

from videoswin.classifier.loading import load
from videoswin.data.clips import Clip
from videoswin.data.containers import Limits
from videoswin.data.dataset import ClipDataset, FrameCache
from videoswin.data.pack import PackSettings, pack_video
from videoswin.train.augments import AUGMENTS
from videoswin.train.start import adopt


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def interleaved(
    one: Callable[[int], object], two: Callable[[int], object], repeats: int
) -> tuple[list[float], list[float]]:
    """CPU seconds of both, in turns."""
    pairs = [(cpu_seconds(lambda n=n: one(n)), cpu_seconds(lambda n=n: two(n))) for n in range(repeats)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        original, packed = Path(folder) / "original.mp4", Path(folder) / "packed.mp4"
        enlarge(arguments.clip, original, arguments.height, arguments.frames)
        began = time.process_time()
        result = pack_video(original, packed, PackSettings(), Limits())
        print(
            f"{arguments.frames} frames, {result.before / 1e6:.1f} -> {result.after / 1e6:.1f} MB, worst frame {result.psnr:.1f} dB, "
            f"packed once in {time.process_time() - began:.1f} CPU seconds\n",
            flush=True,
        )
        start = load("swin3d_micro_motion")
        model = adopt(start, ("a", "b"))[0].train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        sets = [
            ClipDataset([Clip(path, "a")], ("a", "b"), start.preprocessing, AUGMENTS["strong"], FrameCache(max_bytes=0))
            for path in (original, packed)
        ]  # fmt: skip

        def step(clips: ClipDataset, number: int) -> None:
            clip, label, _ = clips[0, number]
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(model(clip[None]), torch.tensor([label])).backward()
            optimizer.step()

        step(sets[1], 0)  # warm
        print("| what | originals, s | pack, s | ratio (least to most) |\n| --- | --- | --- | --- |")
        for name, work in (("drawing a clip", lambda c, n: c[0, n]), ("training step of one clip", step)):
            slow, quick = interleaved(
                lambda n, w=work: w(sets[0], n), lambda n, w=work: w(sets[1], n), arguments.repeats
            )
            ratios = sorted(a / b for a, b in zip(slow, quick, strict=True))
            print(
                f"| {name} | {statistics.median(slow):.3f} | {statistics.median(quick):.3f} | {statistics.median(ratios):.1f} "
                f"({ratios[0]:.1f} to {ratios[-1]:.1f}) |",
                flush=True,
            )


if __name__ == "__main__":
    run()
