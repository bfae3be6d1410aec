import json
from pathlib import Path

import pytest
import torch

from tests.tiny import LABELS, PREPROCESSING, tiny_classifier, write_video
from videoswin.classifier.classifier import Classifier
from videoswin.data.decode import Limits, open_video
from videoswin.data.preprocessing import Views
from videoswin.errors import ConfigError, VideoError
from videoswin.predict.results import Failure, Prediction
from videoswin.predict.scoring import find_videos, predict, predict_many, score_each_view


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", frames=36, fps=12)


def test_scores_are_the_mean_of_the_views_probabilities(clip: Path) -> None:
    classifier = tiny_classifier()
    prediction = predict(classifier, clip, "2x3")
    with open_video(clip) as video:
        views = PREPROCESSING.views(video, Views(2, 3)).clips
    with torch.inference_mode():
        expected = torch.stack([classifier.model(view[None]).softmax(-1)[0] for view in views]).mean(0)
    assert dict(prediction.predictions) == pytest.approx(dict(zip(LABELS, expected.tolist(), strict=True)), abs=1e-6)
    scores = [score for _, score in prediction.predictions]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1)


def test_times_say_what_was_looked_at(clip: Path) -> None:
    one = predict(tiny_classifier(), clip)
    assert one.duration_s == pytest.approx(3.0)
    assert len(one.spans) == 1
    assert one.span.end - one.span.start == pytest.approx(14 / 12)  # 8 frames, every second one, 12 a second
    many = predict(tiny_classifier(), clip, Views(2, 3))
    assert len(many.spans) == 6
    assert many.span.start < one.span.start < one.span.end < many.span.end
    assert one.repeated == 0


def test_a_short_video_says_that_frames_repeat(tmp_path: Path) -> None:
    prediction = predict(tiny_classifier(), write_video(tmp_path / "short.mp4", frames=5))
    assert prediction.repeated > 0


def test_bytes_work_as_well(clip: Path) -> None:
    assert predict(tiny_classifier(), clip.read_bytes()).predictions == predict(tiny_classifier(), clip).predictions


def test_top_k(clip: Path) -> None:
    classifier = tiny_classifier()
    assert len(predict(classifier, clip, top_k=1).predictions) == 1
    assert len(predict(classifier, clip, top_k=50).predictions) == 3
    with pytest.raises(ConfigError, match="top_k=0"):
        predict(classifier, clip, top_k=0)


def test_none_of_these_keeps_the_scores(clip: Path) -> None:
    classifier = tiny_classifier()
    plain = predict(classifier, clip)
    assert plain.label == plain.predictions[0].label
    classifier.none_threshold = 1.0
    strict = predict(classifier, clip)
    assert strict.label is None
    assert strict.predictions == plain.predictions


def test_views_are_checked_before_any_video(tmp_path: Path) -> None:
    missing = tmp_path / "missing.mp4"
    for views in ("3", "4x2", "0x1", "axb"):
        with pytest.raises(ConfigError):
            predict(tiny_classifier(), missing, views)


def test_the_model_is_evaluated_and_put_back(clip: Path) -> None:
    classifier = tiny_classifier()
    expected = predict(classifier, clip).predictions
    classifier.model.train()
    assert predict(classifier, clip).predictions == expected
    assert classifier.model.training


def test_views_go_through_in_bounded_batches() -> None:
    sizes = []

    class Spy(Classifier):
        def logits(self, clips: torch.Tensor) -> torch.Tensor:
            sizes.append(len(clips))
            return torch.zeros(len(clips), 5)

    classifier = tiny_classifier()
    spy = Spy(classifier.model, classifier.preprocessing, classifier.labels)
    scores = score_each_view(spy, torch.randn(40, 3, 1, 2, 2))
    assert sizes == [16, 16, 8]
    assert scores.shape == (40, 5)
    assert torch.allclose(scores.sum(dim=1), torch.ones(40))


def test_film_shows_frames_that_were_looked_at(clip: Path) -> None:
    prediction = predict(tiny_classifier(), clip, film=4)
    assert prediction.film is not None
    assert prediction.film.data.shape == (4, 48, 64, 3)
    assert prediction.film.times[0] == pytest.approx(prediction.span.start)
    assert prediction.film.times[-1] == pytest.approx(prediction.span.end)
    with open_video(clip) as video:
        number = int((video.times - prediction.film.times[0]).abs().argmin())
        assert torch.equal(video.get_frames([number]).data[0], prediction.film.data[0])


def test_film_is_no_larger_than_it_has_to_be(tmp_path: Path) -> None:
    tall = predict(tiny_classifier(), write_video(tmp_path / "tall.mp4", size=(640, 160)), film=30)
    assert tall.film is not None
    assert tall.film.data.shape == (8, 160, 40, 3)


def test_one_bad_file_does_not_stop_the_rest(clip: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("hello")
    results = list(predict_many(tiny_classifier(), [clip, bad, tmp_path / "none.mp4", clip]))
    assert [type(r) for r in results] == [Prediction, Failure, Failure, Prediction]
    assert isinstance(results[1], Failure)
    assert isinstance(results[1].error, VideoError)
    assert str(bad) in str(results[1].error)


def test_limits_apply(clip: Path) -> None:
    with pytest.raises(VideoError, match="limit"):
        predict(tiny_classifier(), clip, limits=Limits(max_pixels=100))


def test_json_lines_are_a_contract(clip: Path, tmp_path: Path) -> None:
    good, bad = predict_many(tiny_classifier(), [clip, tmp_path / "none.mp4"], "2x3", top_k=2)
    line = json.loads(json.dumps(good.to_dict()))
    assert line.keys() == {"path", "duration_s", "views", "complete", "predictions", "error"}
    assert line["complete"] is True
    assert line["path"] == str(clip)
    assert line["duration_s"] == 3.0
    assert line["views"] == "2x3"
    assert line["error"] is None
    assert [p.keys() for p in line["predictions"]] == [{"label", "score"}] * 2
    line = bad.to_dict()
    assert line.keys() == {"path", "duration_s", "views", "complete", "predictions", "error"}
    assert line["predictions"] == []
    assert line["duration_s"] is None
    assert "not found" in line["error"]
    assert "\n" not in line["error"]


def test_folders_stand_for_the_videos_in_them(tmp_path: Path) -> None:
    for name in ("b/2.MKV", "b/1.mp4", "a.mp4", "notes.txt", ".hidden.mp4", ".trash/x.mp4", "b/c/3.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    found = [Path(p).relative_to(tmp_path).as_posix() for p in find_videos([tmp_path])]
    assert found == ["a.mp4", "b/1.mp4", "b/2.MKV", "b/c/3.avi"]
    assert find_videos([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]


def test_a_folder_without_videos_is_reported(tmp_path: Path) -> None:
    (result,) = predict_many(tiny_classifier(), [tmp_path])
    assert isinstance(result, Failure)
    assert "no videos found in this folder" in str(result.error)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "", "http://127.0.0.1:9/x.mp4", "concat:a|b", "-rf", "-"])
def test_names_that_are_no_files(name: str) -> None:
    (result,) = predict_many(tiny_classifier(), [name])
    assert isinstance(result, Failure)
    assert result.path == name
    assert "\n" not in str(result.error)
