"""Clips for training: drawn, varied, and served from memory where they fit.

A draw is a pure function of (seed, epoch, index): worker count, order and resumption do not change it. A file
that cannot be decoded is never replaced by another one. It stops the run with its path, or is left out before
the first step by :meth:`ClipDataset.prepare`, which says so.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from videoswin.data.clips import Clip
from videoswin.data.containers import Limits
from videoswin.data.decode import Video
from videoswin.data.draws import uniform
from videoswin.data.frame_folder import FrameFolder
from videoswin.data.mirror_labels import FlipLabels
from videoswin.data.part import Part, open_clip
from videoswin.data.photometric import ColourJitter, GaussianNoise, RandomErasing
from videoswin.data.preprocessing import Preprocessing, check_shape
from videoswin.data.rand_augment import RandAugment
from videoswin.data.transforms import RandomAffine, Resize, center_crop, horizontal_flip, random_resized_crop
from videoswin.errors import ConfigError, OutOfMemoryError, VideoError, nearest

__all__ = ["Augment", "ClipDataset", "ClipLoader", "FrameCache", "Preparation"]

_DEFAULT_LIMITS = Limits()

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Augment:
    """How the clips of a training run vary. Everything but the random crop and the random start is off unless
    asked for.

    ``crop_scale``, ``crop_ratio``: part of the area, and width to height, of the random crop; the defaults
    are those of the public recipe, and hard on small data: ``crop_scale=(0.5, 1)`` keeps most of the action in the
    frame. ``flip``: mirror half of the clips; classes with a side swap labels
    (:class:`~videoswin.data.mirror_labels.FlipLabels`), ``flip_pairs`` says which where their names do not.
    ``speed_jitter``: play up to this part faster or slower. The others are transforms; None is off.
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    flip_pairs: Mapping[str, str] = field(default_factory=dict)
    speed_jitter: float = 0.0
    rand: RandAugment | None = None
    affine: RandomAffine | None = None
    colour: ColourJitter | None = None
    noise: GaussianNoise | None = None
    erasing: RandomErasing | None = None

    def __post_init__(self) -> None:
        for name, (low, high), top in (("crop_scale", self.crop_scale, 1.0), ("crop_ratio", self.crop_ratio, 100.0)):
            if not 0 < low <= high <= top:
                raise ConfigError(f"Augment.{name} is {(low, high)!r}. Use two rising numbers above 0, up to {top:g}.")
        if not 0 <= self.speed_jitter < 1:
            raise ConfigError(
                f"Augment.speed_jitter is {self.speed_jitter!r}. Use a number from 0 to below 1, such as 0.2."
            )
        if self.flip_pairs and not self.flip:
            raise ConfigError("Augment.flip_pairs are given, but flip is off. Set flip=True, or leave the pairs out.")

    def __call__(
        self,
        frames: Tensor,
        label: "int | Tensor",
        resize: Resize,
        flip_labels: FlipLabels | None,
        generator: Generator,
    ) -> tuple[Tensor, "int | Tensor"]:
        """uint8 ``(T, h, w, 3)`` to ``(T, *resize.size, 3)``, and the label, which flipping may change.

        ``flip_labels``: what a mirrored class becomes; None does not flip.
        """
        frames = random_resized_crop(frames, resize.size, generator, self.crop_scale, self.crop_ratio, resize.antialias)
        if flip_labels is not None and uniform(generator, 0.0, 1.0) < 0.5:
            frames, label = horizontal_flip(frames), flip_labels(label)
        for transform in (self.rand, self.affine, self.colour, self.noise, self.erasing):
            if transform is not None:
                frames = transform(frames, generator)
        return frames, label


@dataclass(frozen=True)
class _Kept:
    frames: Tensor
    times: Tensor


class FrameCache:
    """Keeps the decoded frames of short clips, already resized, so that each is decoded once and not once an
    epoch.

    ``max_bytes``: what it may hold; the default is 6 GiB, but not more than half of the machine's memory. For
    scale: 200 clips of 75 frames take 3.7 GiB at 342x256 pixels and 0.9 GiB at 171x128. ``max_frames``: a
    longer clip is not kept; of such a one only the frames of a draw are decoded. Once full, it keeps what it
    has: in an epoch each clip is used once, and throwing out the oldest would throw out the one that is
    needed next.

    Worker processes share what was kept before they started (:meth:`ClipDataset.prepare`) and never add to
    it, so the limit holds however many there are. With ``num_workers=0`` it fills as it goes. Not for several
    threads.
    """

    def __init__(self, max_bytes: int | None = None, max_frames: int = 640, limits: Limits = _DEFAULT_LIMITS) -> None:
        self.max_bytes = _default_budget() if max_bytes is None else max_bytes
        self.max_frames = max_frames
        self.limits = limits
        self.used_bytes = 0
        self._clips: dict[tuple[Path, float, float | None, Resize], _Kept] = {}

    def __len__(self) -> int:
        return len(self._clips)

    def holds(self, clip: Clip, resize: Resize) -> bool:
        """Whether the frames of a clip are kept."""
        return (clip.path, clip.start, clip.end, resize) in self._clips

    def read(self, clip: Clip, resize: Resize, pick: Callable[[Tensor], Tensor]) -> Tensor:
        """Resized frames, uint8 ``(n, h, w, 3)``. ``pick`` gets the frame times, ``(N,)`` seconds, and
        returns the int64 ``(n,)`` indices wanted. VideoError if the file cannot be decoded."""
        kept = self._clips.get((clip.path, clip.start, clip.end, resize))
        if kept is None:
            with open_clip(clip, limits=self.limits) as video:
                check_shape(video, resize)
                kept = self._keep(video, clip, resize)
                if kept is None:
                    wanted, places = torch.unique(pick(video.times), return_inverse=True)
                    return video.get_frames(wanted, each=resize).data[places]
        return kept.frames[pick(kept.times)]

    def fill(self, clip: Clip, resize: Resize) -> bool:
        """Open the file, which finds most damage, and keep its frames if they fit. Whether they are kept."""
        if self.holds(clip, resize):
            return True
        with open_clip(clip, limits=self.limits) as video:
            check_shape(video, resize)
            return self._keep(video, clip, resize) is not None

    def _keep(self, video: Video | FrameFolder | Part, clip: Clip, resize: Resize) -> _Kept | None:
        height, width = resize.shape(video.info.height, video.info.width)
        needed = len(video) * height * width * 3
        if get_worker_info() is not None or len(video) > self.max_frames or self.used_bytes + needed > self.max_bytes:
            return None
        kept = _Kept(video.read(each=resize).data, video.times)
        self._clips[clip.path, clip.start, clip.end, resize] = kept
        self.used_bytes += needed
        return kept


@dataclass(frozen=True)
class Preparation:
    """What :meth:`ClipDataset.prepare` did. ``clips``: usable ones; ``cached``: how many of them need no more
    decoding; ``cached_bytes``: what the cache holds in all; ``skipped``: rows left out, each with the
    reason."""

    clips: int
    cached: int
    cached_bytes: int
    skipped: tuple[tuple[Clip, str], ...]


class ClipDataset(Dataset[tuple[Tensor, "int | Tensor", int]]):
    """One clip per row: ``dataset[index] -> (clip float32 (3, T, H, W), label, index)``.

    ``labels``: class names, a label is a place in them; of rows with several, float32 (K,), 1 for each of the clip's classes. With ``augment`` a random clip is drawn and varied;
    with None it is the middle clip, cropped at the centre: exactly the single view of
    :meth:`Preprocessing.views`.

    Raises ConfigError for a row whose label is unknown and for a flip that has no mirror class; VideoError,
    when indexed, for a file that cannot be decoded.
    """

    def __init__(
        self,
        rows: Sequence[Clip],
        labels: Sequence[str],
        preprocessing: Preprocessing,
        augment: Augment | None = None,
        cache: FrameCache | None = None,
        seed: int = 0,
    ) -> None:
        self.rows = tuple(rows)
        self.labels = tuple(labels)
        self.preprocessing = preprocessing
        self.augment = augment
        self.cache = cache if cache is not None else FrameCache(max_bytes=0)
        self.seed = seed
        self._numbers = {name: number for number, name in enumerate(self.labels)}
        for row in self.rows:
            for name in row.classes:
                if name not in self._numbers:
                    raise ConfigError(f'{row.path}: the label "{name}" is not a class. {nearest(name, self.labels)}')
        flips = augment is not None and augment.flip
        self._flip_labels = FlipLabels.of(self.labels, augment.flip_pairs) if augment is not None and flips else None
        self._resize = preprocessing.working_resize if augment is not None else preprocessing.view_resize
        # In shared memory: a worker that lives through several epochs would otherwise stay in its first one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def in_memory(self) -> bool:
        """Whether every clip was decoded beforehand and is served from the cache."""
        return all(self.cache.holds(row, self._resize) for row in self.rows)

    @property
    def epoch(self) -> int:
        """The epoch whose draws are served."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Serve the draws of this epoch. Call it before the loader's iterator is made: workers read ahead."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[Tensor, "int | Tensor", int]:
        """``(index, copy)`` gives another variation of the same clip, for each ``copy`` from 0 on; ``index`` alone the first."""
        index, copy = index if isinstance(index, tuple) else (index, 0)
        if not 0 <= index < len(self.rows):
            raise IndexError(f"index {index} is outside the {len(self.rows)} clips")  # also ends `for clip in dataset`
        row, preprocessing = self.rows[index], self.preprocessing
        label = self._answer(row)
        if self.augment is None:
            frames = self.cache.read(row, self._resize, lambda times: preprocessing.indices(times)[0])
            return preprocessing.to_clip(center_crop(frames, preprocessing.size)), label, index
        generator = clip_generator(self.seed, self.epoch, index + copy * len(self.rows))
        jitter = self.augment.speed_jitter
        frames = self.cache.read(
            row, self._resize, lambda times: preprocessing.random_indices(times, generator, jitter)
        )
        frames, label = self.augment(frames, label, preprocessing.view_resize, self._flip_labels, generator)
        return preprocessing.to_clip(frames), label, index

    def _answer(self, row: Clip) -> "int | Tensor":
        if row.several is None:
            return self._numbers[row.label]
        answer = torch.zeros(len(self.labels))
        answer[[self._numbers[name] for name in row.several]] = 1.0
        return answer

    def prepare(self, on_bad: str = "error", progress: Callable[[int, int], None] | None = None) -> Preparation:
        """Open every file once, before the first step and before workers start, and fill the cache.

        ``on_bad="error"``: VideoError about the first bad file, after all were tried and the others logged. ``"skip"``:
        bad rows are dropped from :attr:`rows`, logged and returned; ConfigError if none is left.
        ``progress(done, total)`` is called after each file. A file that does not fit in the cache is opened
        and its first frame decoded; damage further inside shows when it is drawn, as a VideoError.
        """
        if on_bad not in ("error", "skip"):
            raise ConfigError(f'on_bad is "{on_bad}". {nearest(str(on_bad), ["error", "skip"])}')
        bad: dict[int, VideoError] = {}
        cached = 0
        for number, row in enumerate(self.rows):
            try:
                cached += self.cache.fill(row, self._resize)
            except OutOfMemoryError:  # of the machine, and no reason to leave a clip out
                raise
            except VideoError as error:
                bad[number] = error
            if progress is not None:
                progress(number + 1, len(self.rows))
        for error in list(bad.values())[1 if on_bad == "error" else 0 :]:  # the first one is raised
            logger.warning("unreadable clip: %s", error)
        if bad and on_bad == "error":
            raise _summary(list(bad.values()), len(self.rows))
        if bad and len(bad) == len(self.rows):
            first = next(iter(bad.values()))
            raise ConfigError(f"None of the {len(self.rows)} clips can be decoded. The first one: {first}")
        skipped = tuple((self.rows[number], error.reason) for number, error in bad.items())
        self.rows = tuple(row for number, row in enumerate(self.rows) if number not in bad)
        return Preparation(len(self.rows), cached, self.cache.used_bytes, skipped)


def _summary(bad: Sequence[VideoError], total: int) -> VideoError:
    first = bad[0]
    others = f" (and {len(bad) - 1} more of the {total} clips cannot be decoded, see the log)" if len(bad) > 1 else ""
    return VideoError(first.path, first.reason + others, first.hint or "Replace or remove it, or skip bad clips")


class ClipLoader:
    """Batches of a :class:`ClipDataset`: ``(clips float32 (B, 3, T, H, W), labels int64 (B,), indices int64
    (B,))``; labels of clips with several are float32 (B, K).

    ``batches``: lists of indices, such as a torch batch sampler; it is gone through anew for each epoch.
    ``num_workers``: worker processes, which live from epoch to epoch; 0 loads in this process. ``timeout_s``:
    a RuntimeError if a worker delivers nothing for so long.

    Why not a plain DataLoader: that turns an error in a worker into a RuntimeError of many lines. Here a
    VideoError comes out of a worker as itself.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        batches: Iterable[list[int] | list[tuple[int, int]]],
        num_workers: int = 0,
        pin_memory: bool = False,
        timeout_s: float = 300.0,
    ) -> None:
        self.dataset = dataset
        self._loader = DataLoader(
            _Guarded(dataset),
            batch_sampler=batches,  # type: ignore[arg-type]  # any iterable of lists will do
            num_workers=num_workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            timeout=timeout_s if num_workers else 0,
            persistent_workers=num_workers > 0,
            generator=Generator(),  # for seeds of workers, which draw nothing; else the caller's is drawn from
        )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for batch in self._loader:
            if isinstance(batch, VideoError):
                try:
                    raise batch
                finally:
                    del batch  # else error, traceback and this frame hold each other, and the workers, alive
            yield batch

    def __len__(self) -> int:
        return len(self._loader)


class _Guarded(Dataset[tuple[Tensor, "int | Tensor", int] | VideoError]):
    """Hands a VideoError over as a value, for the other process to raise."""

    def __init__(self, clips: ClipDataset) -> None:
        self._clips = clips

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[Tensor, "int | Tensor", int] | VideoError:
        try:
            return self._clips[index]
        except VideoError as error:
            return error


def _collate(items: list[tuple[Tensor, "int | Tensor", int] | VideoError]) -> tuple[Tensor, ...] | VideoError:
    for item in items:
        if isinstance(item, VideoError):
            return item
    return tuple(default_collate(items))


def clip_generator(seed: int, epoch: int, index: int) -> Generator:
    """The random numbers of one draw: the same for these three on every machine, unrelated for any others."""
    digest = blake2b(f"{seed},{epoch},{index}".encode(), digest_size=8).digest()
    return Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def _default_budget() -> int:
    if not hasattr(os, "sysconf"):  # Windows
        return 2 * 2**30
    return min(6 * 2**30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
