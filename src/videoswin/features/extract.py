"""From a list of videos to a folder of features: computed where the store does not have them, written in the layouts of tools.

``OUT/store`` holds what was computed, under names made of contents; everything beside it can be made again from there. OUT may be
an address of a store: :mod:`videoswin.features.mirror`.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import read_index
from videoswin.data.clips import Clip
from videoswin.data.decode import Limits, open_video
from videoswin.data.folders import find_videos
from videoswin.data.forms import LIST_FILES
from videoswin.data.segments.tracks import Mark, Track
from videoswin.errors import ConfigError, VideoError
from videoswin.features.clips import clip_features
from videoswin.features.dense import DenseFacts, DenseSettings, dense_features
from videoswin.features.folder import STORE
from videoswin.features.layouts import INDEX, SETTINGS, Entry, write_layouts
from videoswin.features.leftovers import Layout, require_own
from videoswin.features.look import Pool
from videoswin.features.mirror import local_folder, mirrored
from videoswin.features.rows_file import RowsFile
from videoswin.features.store import FeatureStore, model_key

__all__ = ["Extracted", "Job", "extract_features", "rows_of", "tracks_of"]


@dataclass(frozen=True)
class Job:
    """What to compute of each video."""

    stages: tuple[int, ...]
    pool: Pool = "mean"
    stride: int | None = None
    """Sampled frames from row to row along the whole video; None is one clip of it, the middle one."""
    clip_seconds: float | None = None


@dataclass(frozen=True)
class Extracted:
    """What became of the videos."""

    entries: tuple[Entry, ...]
    """Their ``store`` is gone if the features went to an address."""
    computed: int
    failures: tuple[VideoError, ...]
    removed: tuple[str, ...] = ()
    """Files of an earlier run with other stages, another checkpoint or other settings, which are gone."""


def rows_of(data: Sequence[str | Path]) -> list[Clip]:
    """The clips that a user names: a list or a folder of class folders with its labels; else files and folders of files.

    Raises:
        ConfigError: a list that cannot be used.
    """
    if len(data) == 1:
        path = Path(data[0])
        videos = path.is_dir() and any(p.is_file() for p in map(Path, find_videos([path])) if p.parent == path)
        if path.suffix.lower() in (*LIST_FILES, ".eaf", ".vtt") or (path.is_dir() and not videos):
            return list(read_index(path).rows)
    return [Clip(Path(path).absolute(), "") for path in find_videos(data)]


def extract_features(
    classifier: Classifier,
    rows: Sequence[Clip],
    job: Job,
    out: Path | str,
    *,
    parquet: bool = False,
    limits: Limits | None = None,
    failed: Callable[[VideoError], object] = lambda error: None,
    step: Callable[[], object] = lambda: None,
) -> Extracted:
    """Fill ``out``, a folder or an address such as ``s3://bucket/features``.

    Args:
        failed: told of each video that cannot be read.
        step: called after each.

    Raises:
        ConfigError: the settings do not fit the checkpoint; another process fills the same address; ``out`` holds a folder
            ``stageN`` that no such run wrote.
        OutputError: ``out`` cannot be written to.
    """
    folder = local_folder(out)
    if folder is not None:
        require_own(folder, (STORE, SETTINGS, INDEX))
        return _extract(classifier, rows, job, _Place(folder), parquet, limits or Limits(), failed, step)[0]
    with mirrored(str(out)) as mirror:
        place = _Place(mirror.folder, mirror.fetch, mirror.keep)
        found, layout = _extract(classifier, rows, job, place, parquet, limits or Limits(), failed, step)
        return replace(found, removed=tuple(mirror.publish(layout)))


@dataclass(frozen=True)
class _Place:
    """The folder to fill, and where else the files of its store are kept."""

    folder: Path
    fetch: Callable[[Path], object] = lambda path: None
    keep: Callable[[Path, bool], object] = lambda path, computed: None

    @property
    def store(self) -> Path:
        return self.folder / STORE


def _extract(
    classifier: Classifier,
    rows: Sequence[Clip],
    job: Job,
    place: _Place,
    parquet: bool,
    limits: Limits,
    failed: Callable[[VideoError], object],
    step: Callable[[], object],
) -> tuple[Extracted, Layout]:
    passing = _clips if job.stride is None else _long_videos
    entries: list[Entry] = []
    failures: list[VideoError] = []
    computed = 0
    for entry, new in passing(classifier, rows, job, place, limits):
        if isinstance(entry, VideoError):
            failures.append(entry)
            failed(entry)
        else:
            place.keep(entry.store, new)
            entries.append(entry)
            computed += new
        step()
    facts = {
        "checkpoint": classifier.name,
        "model": model_key(classifier, {}),
        "preprocessing": classifier.preprocessing.to_dict(),
        **{name: value for name, value in asdict(job).items() if name != "stages"},
    }
    layout = write_layouts(place.folder, entries, job.stages, job.pool, facts, failures, parquet=parquet)
    return Extracted(tuple(entries), computed, tuple(failures), tuple(layout.removed)), layout


def tracks_of(entries: Sequence[Entry], limits: Limits | None = None) -> list[Track]:
    """What the list says about each video, for files of annotations. The rate and the frames are the file's own."""
    tracks: dict[Path, Track] = {}
    for entry in entries:
        path = entry.row.path
        if path not in tracks:
            with open_video(path, limits=limits or Limits()) as video:
                info, times = video.info, video.times.tolist()
            tracks[path] = Track(str(path), (), info.duration_s, info.fps, times, entry.row.split)
        track, whole = tracks[path], tracks[path].duration_s or 0.0
        marks = [
            Mark(row.start, whole if row.end is None else row.end, row.label) for row in entry.segments if row.label
        ]
        tracks[path] = replace(track, marks=tuple(sorted((*track.marks, *marks))))
    return list(tracks.values())


_Results = Iterable[tuple[Entry | VideoError, bool]]


def _clips(classifier: Classifier, rows: Sequence[Clip], job: Job, place: _Place, limits: Limits) -> _Results:
    pattern = "pooled.{}" if job.pool == "mean" else "stage{}"
    results = clip_features(classifier, rows, job.pool, place.store, limits, place.fetch)
    for row, result in zip(rows, results, strict=True):
        if isinstance(result, VideoError):
            yield result, False
        else:
            yield Entry(row, (row,), result.path, pattern, None, result.seconds), result.computed


def _long_videos(classifier: Classifier, rows: Sequence[Clip], job: Job, place: _Place, limits: Limits) -> _Results:
    assert job.stride is not None
    settings = DenseSettings(job.stride, job.stages, job.pool, job.clip_seconds)
    kept = FeatureStore(classifier, {"dense": asdict(settings)}, place.store, place.fetch)
    for row, segments in _by_file(rows):
        try:
            path = kept.path(row)
            facts, new = _facts(path), False
            if facts is None or kept.read_header(path) is None:
                facts, new = _look_along(classifier, row, settings, path, limits), True
            yield Entry(row, segments, path, "stage{}", facts), new
        except VideoError as error:
            yield error, False


def _look_along(classifier: Classifier, row: Clip, settings: DenseSettings, path: Path, limits: Limits) -> DenseFacts:
    with RowsFile(path) as file:
        facts = dense_features(
            classifier, row, settings, lambda maps: file.add({f"stage{s}": rows for s, rows in maps.items()}), limits
        )
    beside = path.with_suffix(".json")
    beside.write_text(json.dumps(asdict(facts)), encoding="utf-8")
    return facts


def _facts(path: Path) -> DenseFacts | None:
    try:
        values: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return DenseFacts(**values)
    except (OSError, ValueError, TypeError):
        return None


def _by_file(rows: Sequence[Clip]) -> list[tuple[Clip, tuple[Clip, ...]]]:
    """Each file once, with the rows that are about it: segments of one video."""
    files: dict[Path, list[Clip]] = {}
    for row in rows:
        files.setdefault(row.path, []).append(row)
    for path, found in files.items():
        if len({row.split for row in found}) > 1:
            raise ConfigError(f"{path}: its segments stand in several splits. Put a video into one split.")
    return [(replace(found[0], start=0.0, end=None), tuple(found)) for found in files.values()]
