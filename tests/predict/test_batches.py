"""Videos read beside each other and views scored together give what one video after the other gives."""

import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from threading import Event

import pytest
import torch
from torch import Tensor

from tests.tiny import PREPROCESSING, tiny_classifier, write_video
from videoswin.data.annotations import Clip
from videoswin.data.decode import Limits, Video, open_video
from videoswin.data.preprocessing import Preprocessing, ViewBatch, Views
from videoswin.errors import ConfigError, Interrupted, OutOfMemoryError, VideoError
from videoswin.predict import batches as pipeline
from videoswin.predict.batches import Looked, VideoReader, read_ahead, score_in_groups, views_at_once
from videoswin.predict.parallel import cores_shared, in_parallel
from videoswin.predict.profile import MAIN, READING, Profile
from videoswin.predict.results import Failure, Prediction
from videoswin.predict.scoring import predict, predict_each, predict_many


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for i in range(9):  # of three shapes, so that wide views differ in size
        write_video(root / f"{i}.mp4", frames=14 + 3 * i, size=[(48, 64), (48, 96), (64, 48)][i % 3], seed=i)
    (root / "3_bad.mp4").write_text("hello")
    return root


# The same results


@pytest.mark.parametrize("views", ["1x1", "2x3", "2xwide", "7x3"])
def test_together_is_as_one_by_one(folder: Path, views: str) -> None:
    classifier = tiny_classifier()
    files = [*sorted(folder.iterdir()), folder / "gone.mp4"]
    together = list(predict_many(classifier, files, views, top_k=3))
    assert [Path(r.path) for r in together] == files
    assert [r.path for r in together if isinstance(r, Failure)] == [str(folder / "3_bad.mp4"), str(folder / "gone.mp4")]
    for file, result in zip(files, together, strict=True):
        if isinstance(result, Failure):
            with pytest.raises(VideoError) as alone:
                predict(classifier, file, views, top_k=3)
            assert str(result.error) == str(alone.value)
        else:
            expected = predict(classifier, file, views, top_k=3)
            assert dict(result.predictions) == pytest.approx(dict(expected.predictions), abs=1e-5)
            assert (result.spans, result.repeated) == (expected.spans, expected.repeated)


def test_bytes_and_paths_may_be_mixed(folder: Path) -> None:
    good, text = folder / "0.mp4", b"hello"
    results = list(predict_each(tiny_classifier(), [good, good.read_bytes(), text]))
    assert isinstance(results[0], Prediction)
    assert isinstance(results[1], Prediction)
    assert dict(results[0].predictions) == pytest.approx(dict(results[1].predictions))
    assert isinstance(results[2], Failure)
    assert results[2].path == "video in memory"


def test_nothing_in_nothing_out() -> None:
    assert list(predict_many(tiny_classifier(), [])) == []


def test_no_thread_outlives_the_results(folder: Path) -> None:
    list(predict_many(tiny_classifier(), [folder]))
    results = predict_many(tiny_classifier(), [folder])
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert [t.name for t in threading.enumerate() if t.name.startswith("videoswin-read")] == []


# Reading ahead


def test_order_is_kept_whoever_is_first() -> None:
    def slow_first(item: int, stop: Event | None) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0.0)
        return item

    assert list(read_ahead(slow_first, range(20), 1)) == list(range(20))


def test_readers_see_what_the_caller_has_chosen() -> None:
    chosen = ContextVar("chosen", default="nothing")
    token = chosen.set("plain")
    try:
        assert list(read_ahead(lambda item, stop: chosen.get(), range(6), 1)) == ["plain"] * 6
    finally:
        chosen.reset(token)


def test_shared_cores_are_given_back() -> None:
    before = torch.get_num_threads()
    with cores_shared(before):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    assert list(in_parallel(lambda x: x + torch.get_num_threads(), range(3))) == [1, 2, 3]
    assert torch.get_num_threads() == before


def test_reading_is_bounded_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "READ_AHEAD_BYTES", 300)
    begun, most = [], 0

    def read(item: int, stop: Event | None) -> int:
        begun.append(item)
        return item

    for taken, _ in enumerate(read_ahead(read, range(30), bytes_each=100, group=16)):
        time.sleep(0.002)
        most = max(most, len(begun) - taken)
    assert most <= 4  # three that wait, one that was just handed over

    begun.clear()
    results = read_ahead(read, range(30), bytes_each=10**9)
    next(results)
    time.sleep(0.02)
    assert len(begun) <= 2  # even one is too large, but the model is not kept waiting
    results.close()


def test_one_video_needs_no_thread() -> None:
    seen = []

    def read(item: int, stop: Event | None) -> int:
        seen.append((threading.current_thread(), stop))
        return item

    assert list(read_ahead(read, [7], 1)) == [7]
    assert seen == [(threading.main_thread(), None)]


def test_an_interrupted_caller_is_not_kept_waiting() -> None:
    begun = []

    def read(item: int, stop: Event | None) -> int:
        begun.append(item)
        if item:
            assert stop is not None
            assert stop.wait(30), "was never told to stop"
        return item

    def work() -> Iterator[int]:
        for item in read_ahead(read, range(100), 1):
            yield item
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(work())
    assert time.monotonic() - start < 10
    assert len(begun) < 10


def test_a_bug_is_not_hidden() -> None:
    def read(item: int, stop: Event | None) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(read_ahead(read, range(5), 1))


def test_a_video_that_is_being_read_can_be_stopped(folder: Path) -> None:
    stop = Event()
    with open_video(folder / "8.mp4", stop=stop) as video:
        assert len(video.get_frames([3])) == 1
        stop.set()
        with pytest.raises(Interrupted, match=r"8\.mp4: stopped while (decoding|seeking)"):
            video.get_frames([5])
    with pytest.raises(Interrupted):
        open_video(folder / "8.mp4", stop=stop)


# Scoring in groups


def looks(folder: Path, views: str, names: str) -> list[Looked | VideoError]:
    read = VideoReader(PREPROCESSING, Views.parse(views), 0, Limits())
    return [read(folder / ("3_bad.mp4" if name == "x" else f"{name}.mp4")) for name in names]


@pytest.mark.parametrize(
    ("views", "names", "most", "calls"),
    [
        ("1x1", "0123", 16, [4]),
        ("1x1", "0x12x3", 2, [2, 2]),
        ("2x3", "012", 16, [12, 6]),
        ("2x3", "012", 4, [6, 6, 6]),  # one video is never cut in two
        ("1x1", "xx", 16, []),
        ("1xwide", "0136", 16, [1, 1, 2]),  # 0, 3 and 6 are of one shape
    ],
)
def test_groups(folder: Path, views: str, names: str, most: int, calls: list[int]) -> None:
    sizes = []

    def score(clips: Tensor) -> Tensor:
        sizes.append(len(clips))
        return clips.mean(dim=(2, 3, 4))

    results = looks(folder, views, names)
    scored = list(score_in_groups(results, score, most))
    assert sizes == calls
    for result, outcome in zip(results, scored, strict=True):
        if isinstance(result, VideoError):
            assert outcome is result
        else:
            assert isinstance(outcome, tuple)
            assert outcome[0] is result
            assert torch.allclose(outcome[1], result.batch.clips.mean(dim=(2, 3, 4)), atol=1e-6)


def test_small_clips_go_together_and_large_ones_alone() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert views_at_once((3, 16, 56, 56), cpu) == 16
    assert views_at_once((3, 32, 224, 224), cpu) == 1
    assert views_at_once((3, 32, 224, 224), cuda) == 5
    assert views_at_once((3, 4096, 4096, 4096), cpu) == 1


# Where the time goes


@pytest.mark.parametrize("count", [1, 4])
def test_a_profile_accounts_for_all_of_the_time(folder: Path, count: int) -> None:
    profile = Profile()
    files = [folder / f"{i}.mp4" for i in range(count)]
    assert len(list(predict_many(tiny_classifier(), files, "2x3", profile=profile))) == count
    assert profile.videos == count
    seconds = {stage.name: stage.seconds for stage in profile.stages()}
    assert tuple(seconds) == (*READING, *MAIN)
    assert all(seconds[name] > 0 for name in (*READING, "model"))
    assert (profile.readers == 0) == (count == 1)
    here = MAIN if count > 1 else (*READING, *MAIN)
    assert sum(seconds[name] for name in here) == pytest.approx(profile.wall_s, rel=1e-3)


def test_a_profile_changes_no_result(folder: Path) -> None:
    files = [folder / f"{i}.mp4" for i in range(3)]
    plain = list(predict_many(tiny_classifier(), files))
    timed = list(predict_many(tiny_classifier(), files, profile=Profile()))
    assert [r.to_dict() for r in plain] == [r.to_dict() for r in timed]


def test_the_profile_of_nothing_is_zero() -> None:
    assert Profile().to_dict()["videos_per_s"] == 0.0
    profile = Profile()
    assert list(predict_many(tiny_classifier(), [], profile=profile)) == []
    assert profile.videos == 0


# Wide views


def test_a_wide_view_is_one_look_at_what_three_crops_show(folder: Path) -> None:
    with open_video(folder / "1.mp4") as video:  # 96 x 48
        wide = PREPROCESSING.views(video, Views(2, "wide")).clips
        three = PREPROCESSING.views(video, Views(2, 3)).clips
    assert wide.shape == (2, 3, 8, 32, 64)
    for clip in range(2):
        left, right, middle = three[3 * clip : 3 * clip + 3]
        assert torch.equal(wide[clip, ..., :32], left)
        assert torch.equal(wide[clip, ..., 32:], right)
        assert torch.equal(wide[clip, ..., 16:48], middle)


def test_a_wide_view_of_a_stretched_frame_is_eight_sevenths_wide(folder: Path) -> None:
    preprocessing = Preprocessing(clip_len=4, sampling="uniform", size=(56, 56), short_side=None)
    with open_video(folder / "1.mp4") as video:
        assert preprocessing.views(video, Views(1, "wide")).clips.shape == (1, 3, 4, 56, 64)


# One bad file never costs the others their labels


@pytest.mark.parametrize("error", [TypeError("'<' not supported"), IndexError("out of range"), ZeroDivisionError()])
def test_an_error_that_nobody_thought_of_is_the_files(
    folder: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def views(self: Preprocessing, video: Video, views: Views) -> ViewBatch:
        if video.info.path.endswith("2.mp4"):
            raise error
        return real(self, video, views)

    real = Preprocessing.views
    monkeypatch.setattr(Preprocessing, "views", views)
    files = [folder / f"{number}.mp4" for number in range(4)]
    results = list(predict_many(tiny_classifier(), files))
    assert [isinstance(result, Failure) for result in results] == [False, False, True, False]
    failure = results[2]
    assert isinstance(failure, Failure)
    assert f"2.mp4: it cannot be read (unexpected {type(error).__name__}" in str(failure.error)
    assert failure.error.__cause__ is error


def test_settings_that_suit_no_video_are_no_videos_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def views(*_: object) -> ViewBatch:
        raise ConfigError("odd setting")

    monkeypatch.setattr(Preprocessing, "views", views)
    with pytest.raises(ConfigError, match="odd setting"):
        list(predict_many(tiny_classifier(), [folder / "0.mp4", folder / "1.mp4"]))


def test_too_little_memory_is_a_failure_of_its_own_kind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def views(*_: object) -> ViewBatch:
        raise MemoryError

    monkeypatch.setattr(Preprocessing, "views", views)
    (result,) = predict_many(tiny_classifier(), [folder / "0.mp4"])
    assert isinstance(result, Failure)
    assert isinstance(result.error, OutOfMemoryError)
    assert "not enough memory" in str(result.error)


def test_parts_of_a_file_are_scored_as_videos_of_their_own(folder: Path, tmp_path: Path) -> None:
    path = folder / "8.mp4"
    parts = [Clip(path, "x", end=1.0), Clip(path, "x", start=1.0)]
    first, second, whole = predict_each(tiny_classifier(), [*parts, path])
    assert isinstance(first, Prediction)
    assert isinstance(second, Prediction)
    assert isinstance(whole, Prediction)
    assert first.path == second.path == whole.path == str(path)
    assert first.duration_s == pytest.approx(1.0)
    assert first.duration_s + second.duration_s == pytest.approx(whole.duration_s)
    assert dict(first.predictions) != dict(second.predictions)
