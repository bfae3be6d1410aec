"""Deletion and insertion areas of evidence maps on labelled clips, beside random maps and the distance from the middle.

Also with another filling than the one that the occlusion map was made with: the clip, blurred beyond recognition.

python benchmarks/explain.py DATA --weights swin3d_micro_gestures --split test --clips 16
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from videoswin.classifier.loading import load
from videoswin.data.annotations import read_index
from videoswin.data.part import open_clip
from videoswin.data.preprocessing import Views
from videoswin.explain.evidence import find_evidence
from videoswin.explain.occlusion import occlusion_evidence
from videoswin.explain.perturb import centre_map, curves, random_map


def blurred(clip: Tensor) -> Tensor:
    """(3, T, H, W), each frame over half of its width and height, twice."""
    side = min(clip.shape[2:]) // 2 | 1
    frames = clip.transpose(0, 1)
    for _ in range(2):
        frames = F.avg_pool2d(frames, side, stride=1, padding=side // 2, count_include_pad=False)
    return frames.transpose(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="swin3d_micro_gestures")
    parser.add_argument("--split", default=None)
    parser.add_argument("--clips", type=int, default=16)
    chosen = parser.parse_args()
    classifier = load(chosen.weights)
    rows = read_index(chosen.data, split=chosen.split).rows
    rows = [rows[round(n * len(rows) / chosen.clips)] for n in range(min(chosen.clips, len(rows)))]
    areas: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number, row in enumerate(rows):
        with open_clip(row) as video:
            clip = classifier.preprocessing.views(video, Views()).clips[0]
        found = occlusion_evidence(classifier, clip)
        stages = range(1, len(classifier.model.config.depths) + 1)
        gradients = {f"gradient, stage {s}": find_evidence(classifier, clip, found.label, s) for s in (1, stages[-1])}
        maps = {
            "occlusion": (found, found.signed),
            **{name: (one, one.signed) for name, one in gradients.items()},
            "random": (found, random_map(found, number)),
            "centre": (found, centre_map(found)),
        }
        for filling, empty in (("mean colour", None), ("blurred", blurred(clip))):
            for name, (evidence, order) in maps.items():
                drawn = curves(classifier, clip, evidence, order, empty=empty)
                areas.setdefault((filling, name), []).append((drawn.deletion_area, drawn.insertion_area))
    for (filling, name), found in areas.items():
        deletion, insertion = (torch.tensor(values) for values in zip(*found, strict=True))
        mine = areas[filling, "occlusion"]
        better = [sum(a[i] < b[i] for a, b in zip(mine, found, strict=True)) for i in (0, 1)]
        print(
            f"{filling:12} {name:18} deletion {deletion.mean():.3f} ± {deletion.std():.3f}  "
            f"insertion {insertion.mean():.3f} ± {insertion.std():.3f}  ({len(found)} clips; occlusion deletes better in "
            f"{better[0]}, inserts better in {len(found) - better[1] if name != 'occlusion' else 0})"
        )


if __name__ == "__main__":
    main()
