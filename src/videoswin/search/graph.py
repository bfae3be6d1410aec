"""The graph of nearest neighbours, built once for the same vectors and kept in a file."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from videoswin.errors import OutputError
from videoswin.storage.atomic import replace_file

__all__ = ["GRAPHS", "kept_graph"]

GRAPHS = "search"
"""The folder of graphs inside one of features."""


def kept_graph(vectors: np.ndarray, folder: Path | None, notice: Callable[[str], object]) -> Any:
    """usearch's index of float32 (N, C), read if it is there, else built and kept.

    Its name is made of the vectors and of the library's version, so a changed set never meets an old graph; graphs of others
    are removed when a new one is there, but for one of each length of vectors.
    """
    path = folder / f"{vectors.shape[1]}-{_digest(vectors)}.usearch" if folder else None
    if path is not None and (graph := _read(path, vectors)) is not None:
        return graph
    graph = _build(vectors)
    if path is not None:
        try:
            path.parent.mkdir(exist_ok=True)
            with replace_file(path) as new:
                graph.save(str(new))
            for other in path.parent.glob(f"{vectors.shape[1]}-*.usearch"):
                if other != path:
                    other.unlink(missing_ok=True)
        except (OutputError, OSError) as error:
            notice(f"{error} The graph is built again with the next search.")
    return graph


def _build(vectors: np.ndarray) -> Any:
    graph = _new(vectors)
    graph.add(np.arange(len(vectors), dtype=np.uint64), vectors)
    return graph


def _new(vectors: np.ndarray) -> Any:
    from usearch.index import Index

    return Index(ndim=vectors.shape[1], metric="cos", dtype="f32")


def _read(path: Path, vectors: np.ndarray) -> Any:
    """None if it is not there, or is not whole."""
    if not path.is_file():
        return None
    graph = _new(vectors)
    try:
        graph.load(str(path))
    except (RuntimeError, ValueError, OSError):
        return None
    return graph if (len(graph), graph.ndim) == vectors.shape else None


def _digest(vectors: np.ndarray) -> str:
    import usearch

    total = hashlib.blake2b(f"{usearch.__version__} {vectors.shape}".encode(), digest_size=16)
    total.update(np.ascontiguousarray(vectors, np.float32).view(np.uint8).data)
    return total.hexdigest()
