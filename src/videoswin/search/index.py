"""The nearest neighbours of a vector among those of a features folder, by the library usearch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from videoswin.errors import ConfigError
from videoswin.features.folder import FeaturesFolder
from videoswin.search.graph import GRAPHS, kept_graph
from videoswin.storage.extras import require_extra

__all__ = ["EXACT_UP_TO", "FeatureIndex", "Hit", "VectorIndex"]

EXACT_UP_TO = 20_000  # vectors: comparing with all of them is then a matter of milliseconds


class Hit(NamedTuple):
    """One clip or moment that was found."""

    path: str
    name: str
    label: str
    start_s: float
    end_s: float | None
    """None: up to the end of the clip."""
    similarity: float
    """The cosine, -1 to 1."""


class VectorIndex:
    """Unit vectors under numbers from 0. Up to 20,000 are compared one by one; more through a graph (HNSW), which misses some."""

    def __init__(
        self,
        vectors: np.ndarray,
        exact: bool | None = None,
        keep: Path | None = None,
        notice: Callable[[str], object] = lambda line: None,
    ) -> None:
        """
        Args:
            vectors: float32 (N, C), any length but 0.
            keep: a folder for the graph. It is found there again as long as the vectors are the same.
            notice: told if the graph cannot be kept.
        """
        require_extra("usearch", "search", "Searching needs")
        self.exact = len(vectors) <= EXACT_UP_TO if exact is None else exact
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self._graph = None if self.exact else kept_graph(self._vectors, keep, notice)

    def nearest(self, query: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(numbers, cosines) of the nearest vectors to (C,), best first."""
        query = np.ascontiguousarray(query, np.float32)
        if self._graph is None:
            from usearch.index import search

            found = search(self._vectors, query, count, metric="cos", exact=True)
        else:
            found = self._graph.search(query, count)
        return np.asarray(found.keys).astype(np.int64), 1 - np.asarray(found.distances, np.float64)


@dataclass(frozen=True)
class _Source:
    line: dict[str, Any]
    first: int
    """The number of its first vector."""


class FeatureIndex:
    """All vectors of one stage of what ``videoswin features`` wrote.

    Args:
        features: the folder or the address.
        lines: of its index, those that are to be found; None is all.
        notice: told of what is copied, and if the graph cannot be kept.

    Raises:
        ConfigError: it holds no such features, or maps in place of vectors.
        OutputError: the address cannot be reached.
        MissingExtraError: usearch is not installed.
    """

    def __init__(
        self,
        features: FeaturesFolder | Path | str,
        stage: int | None = None,
        lines: Sequence[dict[str, Any]] | None = None,
        notice: Callable[[str], object] = lambda line: None,
    ) -> None:
        place = features if isinstance(features, FeaturesFolder) else FeaturesFolder(features, notice)
        self.settings = place.settings
        found = list(lines) if lines is not None else place.lines
        stages = sorted(int(name.removeprefix("stage")) for name in self.settings["input_dim"])
        if self.settings["pool"] != "mean" or not found:
            raise ConfigError(f"{place.name}: holds no vectors. Make them with --pool mean, of one video or more.")
        self.stage = max(stages) if stage is None else stage
        if self.stage not in stages:
            raise ConfigError(f"{place.name}: holds stage {', '.join(map(str, stages))}, not {self.stage}.")
        self._sources: list[_Source] = []
        parts, first = [], 0
        with place.files(f"stage{self.stage}") as folder:
            for line in found:
                rows = np.load(folder / f"stage{self.stage}" / f"{line['name']}.npy")
                self._sources.append(_Source(line, first))
                parts.append(rows)
                first += len(rows)
        self.vectors = np.concatenate(parts)
        self._firsts = np.array([source.first for source in self._sources])
        self._index = VectorIndex(self.vectors, keep=folder / GRAPHS, notice=notice)

    def __len__(self) -> int:
        return len(self.vectors)

    def nearest(self, query: np.ndarray, count: int, without: Path | None = None) -> list[Hit]:
        """The best clips and moments for a vector (C,). Of neighbouring rows of one video, which show the same moment, the best
        one is taken.

        Args:
            without: a video that is not to be found: the query itself.
        """
        hits: list[Hit] = []
        asked = count
        while True:
            asked = min(len(self), max(4 * asked, 64))
            hits = self._hits(*self._index.nearest(query, asked), without)
            if len(hits) >= count or asked == len(self):
                return hits[:count]

    def _hits(self, numbers: np.ndarray, cosines: np.ndarray, without: Path | None) -> list[Hit]:
        hits: list[Hit] = []
        for number, cosine in zip(numbers.tolist(), cosines.tolist(), strict=True):
            source = self._sources[int(np.searchsorted(self._firsts, number, side="right")) - 1]
            hit = _hit(source.line, number - source.first, cosine)
            same = without is not None and Path(hit.path) == without
            if not same and not any(_overlap(hit, other) for other in hits):
                hits.append(hit)
        return hits


def _hit(line: dict[str, Any], row: int, cosine: float) -> Hit:
    if line["fps"] is None:
        start, end = line["start"], line["end"]
    else:
        start = row * line["stride"] / line["fps"]
        end = min(start + line["span"] / line["fps"], line["duration_s"])
    return Hit(line["path"], line["name"], line["label"], start, end, cosine)


def _overlap(one: Hit, other: Hit) -> bool:
    if one.path != other.path:
        return False
    ends = [hit.end_s if hit.end_s is not None else float("inf") for hit in (one, other)]
    return max(one.start_s, other.start_s) < min(ends)
