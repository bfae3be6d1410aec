"""How much of what is wrong does an audit find? Faults are planted in a real set of clips, and counted:

    python benchmarks/audit.py DATA --weights CHECKPOINT --copies 60 --seed 0

Copies: encoded again (CRF 30, half to nine tenths of the size), cropped (75 to 95 % of the sides), mirrored, shortened at one end (15
to 40 %), or all of that. Labels: a tenth of them is changed. Prints one JSON object.
"""

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from videoswin.audit.findings import audit
from videoswin.classifier.loading import load
from videoswin.data.annotations import read_index
from videoswin.data.clips import Clip
from videoswin.data.decode import open_video

KINDS = ("encoded again", "cropped", "mirrored", "shortened", "all")
_LEAST = 112  # pixels of the shorter side of a copy


def write(path: Path, frames: np.ndarray, fps: float, crf: int, size: tuple[int, int]) -> None:
    """``frames``: uint8 (T, H, W, 3); ``size``: height, width."""
    height, width = (max(2, side // 2 * 2) for side in size)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.options = {"crf": str(crf), "preset": "veryfast"}
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture.reformat(width=width, height=height)))
        container.mux(stream.encode(None))


def plant(source: Path, path: Path, kind: str, rng: random.Random) -> None:
    """Writes a copy of a clip."""
    with open_video(source) as video:
        frames, fps = video.read().data.numpy(), video.info.fps
    height, width = frames.shape[1:3]
    if kind in ("cropped", "all"):
        share = rng.uniform(0.75, 0.95) if kind == "cropped" else rng.uniform(0.82, 0.95)
        rows, columns = int(height * share), int(width * share)
        y, x = rng.randint(0, height - rows), rng.randint(0, width - columns)
        frames = frames[:, y : y + rows, x : x + columns]
    if kind in ("mirrored", "all"):
        frames = frames[:, :, ::-1]
    if kind in ("shortened", "all"):
        cut = int(len(frames) * rng.uniform(0.15, 0.4))
        frames = frames[cut:] if rng.random() < 0.5 else frames[:-cut]
    again = kind in ("encoded again", "all")
    scale = max(rng.uniform(0.5, 0.9), min(1.0, _LEAST / min(height, width))) if again else 1.0
    size = int(frames.shape[1] * scale), int(frames.shape[2] * scale)
    write(path, frames, fps, 30 if again else 26, size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", help="look for changed labels too, on the features of this checkpoint")
    parser.add_argument("--copies", type=int, default=60)
    parser.add_argument("--flipped", type=float, default=0.1, help="share of labels that are changed")
    parser.add_argument("--clips", type=int, default=0, help="so many clips of the set; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    index = read_index(args.data)
    rows = list(index.rows)
    if args.clips:
        rows = rng.sample(rows, min(args.clips, len(rows)))
    truth: dict[tuple[Path, Path], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, row in enumerate(rng.sample(rows, min(args.copies, len(rows)))):
            kind = KINDS[number % len(KINDS)]
            path = Path(folder) / f"{number:04d}.mp4"
            plant(row.path, path, kind, rng)
            truth[row.path, path] = kind
            rows.append(Clip(path, row.label, "test" if row.split == "train" else "train"))
        originals = len(rows) - len(truth)
        flipped = set(rng.sample(range(originals), round(args.flipped * originals))) if args.weights else set()
        for n in flipped:
            rows[n] = replace(rows[n], label=rng.choice([label for label in index.labels if label != rows[n].label]))
        began, cpu = time.perf_counter(), time.process_time()
        found = audit(replace(index, rows=tuple(rows)), load(args.weights) if args.weights else None)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    kinds, hits, false = Counter(truth.values()), Counter[str](), []
    for copy in found.copies:
        a, b = rows[copy.first].path, rows[copy.second].path
        kind = truth.get((a, b)) or truth.get((b, a))
        if kind:
            hits[kind] += 1
        else:
            false.append([a.name, b.name, round(copy.motion, 3)])
    result = {
        "clips": len(rows),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "copies": len(truth),
        "copies_found": sum(hits.values()) / max(len(truth), 1),
        "by_kind": {kind: f"{hits[kind]} of {n}" for kind, n in kinds.items()},
        "other_pairs": len(false),
        "other_pairs_share": len(false) / max(len(found.copies), 1),
        "other_pairs_first": false[:10],
    }
    if found.doubts is not None:
        named = {d.number for d in found.doubts}
        result |= {
            "labels_changed": len(flipped),
            "labels_recall": len(named & flipped) / max(len(flipped), 1),
            "labels_precision": len(named & flipped) / max(len(named), 1),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
