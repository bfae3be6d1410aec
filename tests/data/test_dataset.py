"""Training clips: the same draws whatever the workers, decoded once, and nothing silent about bad files."""

import itertools
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.media_helpers import encode, moving_picture
from videoswin.data import part as part_module
from videoswin.data.annotations import Clip
from videoswin.data.dataset import Augment, ClipDataset, ClipLoader, FrameCache, clip_generator
from videoswin.data.decode import open_video
from videoswin.data.photometric import ColourJitter, GaussianNoise, RandomErasing
from videoswin.data.preprocessing import Preprocessing, Views
from videoswin.data.transforms import RandomAffine, center_crop
from videoswin.errors import ConfigError, OutOfMemoryError, VideoError

LABELS = ("left", "right", "up")
SMALL = Preprocessing(clip_len=4, size=(16, 16), short_side=16)
STRONG = Augment(
    flip=True,
    speed_jitter=0.3,
    affine=RandomAffine(10, 0.1, (0.9, 1.1)),
    colour=ColourJitter(0.3, 0.3, 0.3, 0.05, 0.1),
    noise=GaussianNoise(5),
    erasing=RandomErasing(0.5),
)


def frame_bytes(count: int) -> int:
    """What a clip of 48x64 pixels takes at the working size of SMALL, 19x25."""
    return count * 19 * 25 * 3


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    lengths = (20, 12, 30, 9, 24, 16)
    return [
        encode(folder / f"{number} é.mp4", moving_picture(count, seed=number)) for number, count in enumerate(lengths)
    ]


@pytest.fixture
def rows(videos: list[Path]) -> list[Clip]:
    return [Clip(path, label, "train", "", 0) for path, label in zip(videos, itertools.cycle(LABELS))]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were opened, in order."""
    paths: list[Path] = []

    def watch(path: Path, **options: Any):
        paths.append(path)
        return open_video(path, **options)

    monkeypatch.setattr(part_module, "open_video", watch)
    return paths


def broken(folder: Path, name: str = "broken.mp4") -> Clip:
    path = folder / name
    path.write_bytes(b"this is no video" * 100)
    return Clip(path, "up", "train", "", 7)


def all_clips(dataset: ClipDataset) -> list[tuple[Tensor, Any, int]]:
    return [dataset[number] for number in range(len(dataset))]


def same(one: list[tuple[Tensor, Any, int]], other: list[tuple[Tensor, Any, int]]) -> bool:
    return all(torch.equal(a[0], b[0]) and a[1:] == b[1:] for a, b in zip(one, other, strict=True))


# Draws


def test_a_clip_with_its_label_and_index(rows: list[Clip]):
    clip, label, index = ClipDataset(rows, LABELS, SMALL, Augment())[4]
    assert clip.shape == (3, 4, 16, 16)
    assert clip.dtype == torch.float32
    assert (LABELS[label], index) == (rows[4].label, 4)


def test_a_draw_follows_from_seed_epoch_and_index(rows: list[Clip]):
    one, other = (ClipDataset(rows, LABELS, SMALL, STRONG, seed=3) for _ in range(2))
    first = all_clips(one)
    assert same(first, all_clips(one)[:]), "asking again changes nothing"
    assert same(first[::-1], [other[number] for number in reversed(range(len(other)))]), "nor does the order"
    one.set_epoch(1)
    assert one.epoch == 1
    assert not same(first, all_clips(one))
    one.set_epoch(0)
    assert same(first, all_clips(one))
    assert not same(first, all_clips(ClipDataset(rows, LABELS, SMALL, STRONG, seed=4)))


def test_generators_differ_for_every_draw():
    draws = {
        float(torch.rand((), generator=clip_generator(seed, epoch, index)))
        for seed in range(4)
        for epoch in range(4)
        for index in range(50)
    }
    assert len(draws) == 4 * 4 * 50


def test_without_augment_it_is_the_single_view_of_an_evaluation(rows: list[Clip]):
    dataset = ClipDataset(rows, LABELS, SMALL, cache=FrameCache())
    for number, row in enumerate(rows):
        with open_video(row.path) as video:
            expected = SMALL.views(video, Views(1, 1)).clips[0]
        assert torch.equal(dataset[number][0], expected)


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(clip_len=4, size=(16, 16), short_side=None),
        Preprocessing(clip_len=4, size=(12, 16), short_side=20, sampling="uniform"),
        Preprocessing(clip_len=4, size=(16, 16), short_side=16, sampling="time", fps=10.0),
    ],
)
def test_every_way_to_sample_and_resize(rows: list[Clip], preprocessing: Preprocessing):
    for augment in (None, STRONG):
        dataset = ClipDataset(rows, LABELS, preprocessing, augment)
        assert {tuple(clip.shape) for clip, _, _ in all_clips(dataset)} == {(3, 4, *preprocessing.size)}


def test_worker_processes_draw_the_same_clips(rows: list[Clip]):
    batches = [[0, 3], [5, 1], [2, 4]]

    def two_epochs(num_workers: int) -> list[list[Tensor]]:
        dataset = ClipDataset(rows, LABELS, SMALL, STRONG, cache=FrameCache(), seed=1)
        loader = ClipLoader(dataset, batches, num_workers=num_workers)
        assert len(loader) == 3
        epochs = []
        for epoch in range(2):
            dataset.set_epoch(epoch)  # must reach the workers, which live on from epoch to epoch
            epochs += [list(batch) for batch in loader]
        return epochs

    here, there = two_epochs(0), two_epochs(2)
    assert all(
        torch.equal(a, b) for one, other in zip(here, there, strict=True) for a, b in zip(one, other, strict=True)
    )
    assert not torch.equal(here[0][0], here[3][0])
    clips, labels, indices = here[0]
    assert clips.shape == (2, 3, 4, 16, 16)
    assert labels.dtype == indices.dtype == torch.int64
    assert indices.tolist() == [0, 3]


# Flip


def test_a_mirrored_clip_changes_sides(rows: list[Clip]):
    flip = Augment(flip=True)
    dataset = ClipDataset(rows, LABELS, SMALL, flip)
    seen: dict[str, set[str]] = {label: set() for label in LABELS}
    for epoch in range(12):
        dataset.set_epoch(epoch)
        for clip, label, index in all_clips(dataset):
            assert clip.shape[-1] == 16
            seen[rows[index].label].add(LABELS[label])
    assert seen == {"left": {"left", "right"}, "right": {"left", "right"}, "up": {"up"}}


def test_no_flip_unless_asked_for(rows: list[Clip]):
    dataset = ClipDataset(rows, LABELS, SMALL, Augment())
    for epoch in range(5):
        dataset.set_epoch(epoch)
        assert [LABELS[label] for _, label, _ in all_clips(dataset)] == [row.label for row in rows]


def test_a_flip_without_a_mirror_class_is_refused_at_once(rows: list[Clip]):
    with pytest.raises(ConfigError, match='"turn left" into "turn right"'):
        ClipDataset(rows, (*LABELS, "turn left"), SMALL, Augment(flip=True))


# Cache


def test_each_file_is_decoded_once(rows: list[Clip], opened: list[Path]):
    dataset = ClipDataset(rows, LABELS, SMALL, STRONG, cache=FrameCache())
    uncached = ClipDataset(rows, LABELS, SMALL, STRONG)
    first = all_clips(dataset)
    assert len(opened) == len(rows)
    dataset.set_epoch(1)
    all_clips(dataset)
    assert len(opened) == len(rows), "the second epoch opens nothing"
    assert same(first, all_clips(uncached)), "and the cache changes no clip"


def test_the_budget_is_never_exceeded(rows: list[Clip], opened: list[Path]):
    cache = FrameCache(max_bytes=frame_bytes(20 + 12 + 9))
    dataset = ClipDataset(rows, LABELS, SMALL, STRONG, cache=cache)
    report = dataset.prepare()
    assert cache.used_bytes == report.cached_bytes == frame_bytes(20 + 12 + 9), "0, 1 and 3 fit; 2, 4 and 5 do not"
    assert (report.clips, report.cached, len(cache)) == (6, 3, 3)
    opened.clear()
    all_clips(dataset)
    assert [path.name[0] for path in opened] == ["2", "4", "5"]


def test_long_clips_are_not_kept(rows: list[Clip]):
    cache = FrameCache(max_frames=16)
    assert ClipDataset(rows, LABELS, SMALL, STRONG, cache=cache).prepare().cached == 3


def test_two_sizes_share_a_cache_without_mixing(rows: list[Clip]):
    cache = FrameCache()
    train = ClipDataset(rows, LABELS, SMALL, Augment(), cache=cache)
    check = ClipDataset(rows, LABELS, SMALL, cache=cache)
    all_clips(train)
    assert same(all_clips(check), all_clips(ClipDataset(rows, LABELS, SMALL)))
    assert len(cache) == 2 * len(rows)


def test_the_cache_survives_the_augmentation(rows: list[Clip]):
    cache = FrameCache()
    dataset = ClipDataset(rows, LABELS, SMALL, STRONG, cache=cache)
    dataset.prepare()
    before = {key: kept.frames.clone() for key, kept in cache._clips.items()}
    all_clips(dataset)
    assert all(torch.equal(kept.frames, before[key]) for key, kept in cache._clips.items())


def test_the_default_budget_is_stated():
    assert 0 < FrameCache().max_bytes <= 6 * 2**30


# Bad files


def test_a_bad_file_is_an_error_with_its_path(rows: list[Clip], tmp_path: Path):
    dataset = ClipDataset([*rows, broken(tmp_path)], LABELS, SMALL, Augment(), cache=FrameCache())
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        dataset[6]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_file_in_a_worker_is_the_same_error(rows: list[Clip], tmp_path: Path, num_workers: int):
    dataset = ClipDataset([*rows, broken(tmp_path)], LABELS, SMALL, Augment())
    with pytest.raises(VideoError, match=r"broken.mp4: ") as error:
        list(ClipLoader(dataset, [[0, 1], [2, 6]], num_workers=num_workers))
    assert "\n" not in str(error.value)


def test_prepare_names_bad_files_before_the_first_step(
    rows: list[Clip], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    bad = [broken(tmp_path), broken(tmp_path, "other.mp4")]
    dataset = ClipDataset([rows[0], *bad, rows[1]], LABELS, SMALL, Augment(), cache=FrameCache())
    steps: list[tuple[int, int]] = []
    with caplog.at_level(logging.WARNING), pytest.raises(VideoError) as error:
        dataset.prepare(progress=lambda done, total: steps.append((done, total)))
    assert str(error.value).startswith(str(bad[0].path))
    assert "and 1 more of the 4 clips cannot be decoded, see the log" in str(error.value)
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert str(bad[0].path) in str(error.value)
    assert [str(bad[1].path) in message for message in caplog.messages] == [True]  # each is named once
    assert len(dataset) == 4


def test_skip_leaves_bad_rows_out_and_says_so(rows: list[Clip], tmp_path: Path):
    bad = broken(tmp_path)
    dataset = ClipDataset([rows[0], bad, *rows[1:]], LABELS, SMALL, STRONG, cache=FrameCache(), seed=2)
    report = dataset.prepare(on_bad="skip")
    assert [row for row, _ in report.skipped] == [bad]
    assert report.skipped[0][1]
    assert dataset.rows == tuple(rows)
    assert same(all_clips(dataset), all_clips(ClipDataset(rows, LABELS, SMALL, STRONG, seed=2)))


def test_nothing_left_after_skipping(tmp_path: Path):
    dataset = ClipDataset([broken(tmp_path)], LABELS, SMALL)
    with pytest.raises(ConfigError, match=r"None of the 1 clips can be decoded.*broken.mp4"):
        dataset.prepare(on_bad="skip")


def test_a_sliver_is_an_error_about_its_file(tmp_path: Path):
    path = encode(tmp_path / "sliver.mp4", moving_picture(4, height=16, width=1024), options={"preset": "ultrafast"})
    dataset = ClipDataset([Clip(path, "up", "", "", 0)], LABELS, Preprocessing(), Augment())
    with pytest.raises(VideoError, match=r"sliver.mp4: .*too narrow"):
        dataset[0]


# Settings


def test_settings_that_cannot_work(rows: list[Clip]):
    with pytest.raises(ConfigError, match='label "left" is not a class'):
        ClipDataset(rows, ("lift", "right", "up"), SMALL)
    with pytest.raises(ConfigError, match='on_bad is "ignore"'):
        ClipDataset(rows, LABELS, SMALL).prepare(on_bad="ignore")
    with pytest.raises(ConfigError, match="crop_scale"):
        Augment(crop_scale=(0.0, 1.0))
    with pytest.raises(ConfigError, match="speed_jitter"):
        Augment(speed_jitter=1.0)
    with pytest.raises(ConfigError, match="flip is off"):
        Augment(flip_pairs={"left": "right"})


def test_iteration_ends(rows: list[Clip]):
    dataset = ClipDataset(rows, LABELS, SMALL)
    assert len(list(iter(dataset))) == len(rows)  # type: ignore[call-overload]  # by __getitem__ and IndexError
    with pytest.raises(IndexError):
        dataset[len(rows)]


def test_parts_of_one_file_are_clips_of_their_own(rows: list[Clip]):
    path = rows[0].path
    with open_video(path) as video:
        middle = float(video.times[len(video) // 2])
        frames = len(video)
    parts = [Clip(path, "left", end=middle), Clip(path, "right", start=middle)]
    for cache in (FrameCache(), FrameCache(max_bytes=0)):
        dataset = ClipDataset(parts, LABELS, SMALL, cache=cache)
        assert dataset.prepare().clips == 2
        with open_video(path) as video:
            for number, (first, last) in enumerate([(0, frames // 2), (frames // 2, frames)]):
                part = video.read(first, last, each=SMALL.view_resize).data
                wanted = SMALL.indices(video.times[first:last] - video.times[first])[0]
                assert torch.equal(dataset[number][0], SMALL.to_clip(center_crop(part[wanted], SMALL.size)))


def test_too_little_memory_leaves_no_clip_out(rows: list[Clip], monkeypatch: pytest.MonkeyPatch):
    def no_memory(*_: object, **__: object):
        raise OutOfMemoryError("a.mp4", "there is not enough memory to read it")

    monkeypatch.setattr(part_module, "open_video", no_memory)
    with pytest.raises(OutOfMemoryError):
        ClipDataset(rows, LABELS, SMALL, cache=FrameCache()).prepare("skip")
