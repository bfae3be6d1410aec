"""Deletion and insertion areas of evidence maps on labelled clips, beside random maps and the distance from the middle.

python benchmarks/explain.py DATA --weights swin3d_micro_gestures --split test --clips 20
"""

import argparse
import statistics
from pathlib import Path

from videoswin.classifier.loading import load
from videoswin.data.annotations import read_index
from videoswin.data.part import open_clip
from videoswin.data.preprocessing import Views
from videoswin.explain.evidence import find_evidence
from videoswin.explain.perturb import centre_map, curves, random_map


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="swin3d_micro_gestures")
    parser.add_argument("--split", default=None)
    parser.add_argument("--clips", type=int, default=20)
    chosen = parser.parse_args()
    classifier = load(chosen.weights)
    rows = read_index(chosen.data, split=chosen.split).rows
    rows = rows[:: max(1, len(rows) // chosen.clips)][: chosen.clips]
    areas: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for number, row in enumerate(rows):
        with open_clip(row) as video:
            clip = classifier.preprocessing.views(video, Views()).clips[0]
        for stage in range(1, len(classifier.model.config.depths) + 1):
            found = find_evidence(classifier, clip, stage=stage)
            maps = {"evidence": found.signed, "random": random_map(found, number), "centre": centre_map(found)}
            for name, order in maps.items():
                drawn = curves(classifier, clip, found, order)
                areas.setdefault((stage, name), []).append((drawn.deletion_area, drawn.insertion_area))
    for (stage, name), found in sorted(areas.items()):
        deletion, insertion = zip(*found, strict=True)
        print(
            f"stage {stage} {name:9} deletion {statistics.mean(deletion):.3f} ± {statistics.stdev(deletion):.3f}  "
            f"insertion {statistics.mean(insertion):.3f} ± {statistics.stdev(insertion):.3f}  ({len(found)} clips)"
        )


if __name__ == "__main__":
    main()
