"""Recall and time of the index at 100,000 vectors, and how many of the first five have the query's label, beside features that
know appearance alone (the mean frame, shrunk).

    python benchmarks/search.py --vectors 100000
    python benchmarks/search.py --data DATA --weights swin3d_micro_motion
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from videoswin.classifier.loading import load
from videoswin.data.annotations import read_index
from videoswin.data.part import open_clip
from videoswin.data.preprocessing import Views
from videoswin.errors import VideoError
from videoswin.features.clips import clip_features, mean_of
from videoswin.search.index import VectorIndex


def index(count: int, dim: int = 256, clusters: int = 2000, queries: int = 200) -> None:
    """Vectors around centres, as features are; the truth is the comparison with all of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(clusters, dim))
    vectors = (centres[rng.integers(clusters, size=count)] + 0.5 * rng.normal(size=(count, dim))).astype(np.float32)
    asked = vectors[rng.choice(count, queries, replace=False)] + 0.1 * rng.normal(size=(queries, dim)).astype(
        np.float32
    )
    with tempfile.TemporaryDirectory() as folder:
        for what in ("built and kept", "found again"):
            began = time.perf_counter()
            graph = VectorIndex(vectors, exact=False, keep=Path(folder))
            print(f"{count:,} vectors of {dim}: {what} in {time.perf_counter() - began:.1f} s")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    hits, seconds, seconds_all = 0, 0.0, 0.0
    for query in asked:
        began = time.perf_counter()
        truth = set(np.argpartition(unit @ query, -10)[-10:].tolist())
        seconds_all += time.perf_counter() - began
        began = time.perf_counter()
        numbers, _ = graph.nearest(query, 10)
        seconds += time.perf_counter() - began
        hits += len(truth & set(numbers.tolist()))
    print(f"recall@10 {hits / 10 / queries:.3f}, {1000 * seconds / queries:.2f} ms a query; "
          f"all comparisons by numpy {1000 * seconds_all / queries:.2f} ms")  # fmt: skip


def precision(data: Path, weights: str) -> None:
    """Leave-one-out over the whole set; clips of the query's own group do not count as found."""
    classifier = load(weights)
    rows = list(read_index(data).rows)
    found = [f for f in clip_features(classifier, rows) if not isinstance(f, VideoError)]
    rows = [f.row for f in found]
    count = len(classifier.model.config.depths)
    kinds = {f"stage {s}": torch.stack([mean_of(f, s) for f in found]) for s in range(1, count + 1)}
    pictures = []
    for row in rows:
        with open_clip(row) as video:
            clip = classifier.preprocessing.views(video, Views()).clips[0]
        pictures.append(F.adaptive_avg_pool2d(clip.mean(dim=1), 16).flatten())
    kinds["appearance"] = torch.stack(pictures)
    labels = [row.label for row in rows]
    for name, vectors in kinds.items():
        unit = F.normalize(vectors - vectors.mean(dim=0), dim=1)
        cosine = unit @ unit.T
        for number, row in enumerate(rows):
            for other, its in enumerate(rows):
                if number == other or (row.group and row.group == its.group):
                    cosine[number, other] = -2
        right = [labels[n] == labels[i] for i, best in enumerate(cosine.topk(5).indices.tolist()) for n in best]
        print(f"{name:12} precision@5 {np.mean(right):.3f} over {len(rows)} queries")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", default="swin3d_micro_motion")
    chosen = parser.parse_args()
    if chosen.vectors:
        index(chosen.vectors)
    if chosen.data:
        precision(chosen.data, chosen.weights)
