import csv
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.tiny import LABELS, tiny_classifier, write_video
from videoswin.classifier.classifier import Classifier
from videoswin.data import part
from videoswin.data.annotations import Clip
from videoswin.data.decode import open_video
from videoswin.data.preprocessing import Views
from videoswin.errors import ConfigError, OutOfMemoryError, VideoError
from videoswin.predict.answers import NONE
from videoswin.predict.calibration import auroc
from videoswin.predict.evaluation import Evaluation, RowResult, evaluate, evaluate_rows
from videoswin.predict.profile import Profile
from videoswin.predict.results import LabelScore
from videoswin.predict.scoring import predict


def row(path: Path | str, label: str) -> Clip:
    return Clip(Path(path), label, "test", "", 3)


def result(label: str, *predicted: str) -> RowResult:
    """A row whose predictions are these labels, best first; unreadable if there are none."""
    error = None if predicted else VideoError("x.mp4", "broken")
    scores = tuple(LabelScore(name, 1 / (i + 2)) for i, name in enumerate(predicted))
    return RowResult(row("x.mp4", label), scores, error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for i in range(4):
        write_video(root / f"{i}.mp4", frames=18, seed=i)
    (root / "bad.mp4").write_text("hello")
    return root


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return tiny_classifier()


def test_an_evaluation_is_its_predictions_counted(folder: Path, classifier: Classifier) -> None:
    truth = [predict(classifier, folder / f"{i}.mp4", "2x3").predictions[0].label for i in range(4)]
    wrong = next(label for label in LABELS if label != truth[3])
    rows = [row(folder / f"{i}.mp4", label) for i, label in enumerate([*truth[:3], wrong])]
    evaluation = evaluate(classifier, rows, "2x3")
    assert (evaluation.n, evaluation.top1, evaluation.top5) == (4, 0.75, 1.0)
    assert evaluation.unreadable == []
    assert evaluation.views == Views(2, 3)


def test_unreadable_videos_count_as_wrong_and_are_listed(folder: Path, classifier: Classifier) -> None:
    label = predict(classifier, folder / "0.mp4").predictions[0].label
    evaluation = evaluate(classifier, [row(folder / "0.mp4", label), row(folder / "bad.mp4", label)])
    assert (evaluation.n, evaluation.top1, evaluation.top5) == (2, 0.5, 0.5)
    assert evaluation.to_dict() == {
        "n": 2,
        "top1": 0.5,
        "top5": 0.5,
        "mean_class": 0.5,
        "unreadable": [str(folder / "bad.mp4")],
    }
    assert int(evaluation.confusion.sum()) == 1


@pytest.mark.parametrize("views", ["1x1", "2xwide"])
def test_rows_come_back_in_their_order_with_their_own_result(folder: Path, classifier: Classifier, views: str) -> None:
    names = ["2", "0", "bad", "3", "gone", "1", "0"]
    profile = Profile()
    results = list(evaluate_rows(classifier, [row(folder / f"{n}.mp4", "nod") for n in names], views, profile=profile))
    assert [r.row.path.stem for r in results] == names
    assert [bool(r.error) for r in results] == [n in ("bad", "gone") for n in names]
    for r in results:
        if not r.error:
            alone = predict(classifier, r.row.path, views)
            assert dict(r.predictions) == pytest.approx(dict(alone.predictions), abs=1e-5)
    assert profile.videos == len(names)


def test_labels_are_checked_before_the_first_video(classifier: Classifier) -> None:
    with pytest.raises(ConfigError, match=r'gone\.mp4 \(line 3\): the model has no label "wafe". Did you mean "wave"'):
        evaluate(classifier, [row("gone.mp4", "wafe")])
    with pytest.raises(ConfigError, match="no videos to evaluate"):
        evaluate(classifier, [])


def test_figures_by_hand() -> None:
    evaluation = Evaluation(
        ("a", "b", "c", "d", "e", "f", "g"),
        Views(1, 1),
        (
            result("a", "a", "b"),
            result("a", "b", "a"),
            result("a", "b", "c", "d", "e", "f", "a"),  # sixth: not among the best five
            result("b", "b"),
            result("c"),
        ),
    )
    assert evaluation.top1 == 2 / 5
    assert evaluation.top5 == 3 / 5
    assert evaluation.mean_class == pytest.approx((1 / 3 + 1 + 0) / 3)  # d to g do not occur
    a, b, c, d, *_ = evaluation.per_class
    assert (a.n, a.correct, a.predicted, a.recall, a.precision) == (3, 1, 1, 1 / 3, 1.0)
    assert (b.n, b.correct, b.predicted, b.precision) == (1, 1, 3, 1 / 3)
    assert (c.n, c.correct, c.unreadable, c.recall) == (1, 0, 1, 0.0)
    assert (d.n, d.recall, d.precision) == (0, 0.0, 0.0)
    expected = torch.zeros(7, 7, dtype=torch.int64)
    expected[0, 0], expected[0, 1], expected[1, 1] = 1, 2, 1
    assert torch.equal(evaluation.confusion, expected)


def test_predictions_csv(tmp_path: Path) -> None:
    evaluation = Evaluation(("a", "b"), Views(1, 1), (result("a", "a", "b"), result("b", "a"), result("b")))
    evaluation.write_csv(tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["predicted"] for line in lines] == ["a", "a", ""]
    assert [line["correct"] for line in lines] == ["1", "0", "0"]
    assert lines[0]["score"] == "0.500000"
    assert "broken" in lines[2]["error"]


@pytest.mark.parametrize("classes", [1, 3, 45, 130])
def test_the_confusion_picture(tmp_path: Path, classes: int) -> None:
    labels = tuple(f"class ${i}$ {'x' * (i % 60)}" for i in range(classes))
    rows = tuple(result(label, labels[(i * i) % classes]) for i, label in enumerate(labels))
    path = tmp_path / "confusion.png"
    Evaluation(labels, Views(4, 3), (*rows, result(labels[0]))).write_confusion(path, title="a $ model")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500
        assert max(picture.size) < 4000
        assert math.prod(picture.size) < 8e6
    assert [p.name for p in tmp_path.iterdir()] == ["confusion.png"]


def test_what_this_machine_could_not_read_is_no_wrong_answer(
    folder: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(path: Path, **options: object) -> object:
        if path.name == "2.mp4":
            raise OutOfMemoryError(path, "there is not enough memory to read it", "Free some")
        return open_video(path, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(part, "open_video", no_memory)
    rows = [row(folder / f"{i}.mp4", LABELS[0]) for i in range(4)]
    with pytest.raises(OutOfMemoryError, match=r"2\.mp4: there is not enough memory"):
        evaluate(classifier, rows)


def test_parts_of_videos_and_odd_names_in_the_csv(folder: Path, classifier: Classifier, tmp_path: Path) -> None:
    rows = [
        Clip(folder / "0.mp4", LABELS[0], end=0.5),
        Clip(folder / "0.mp4", LABELS[0], start=0.5),
        Clip(Path("-=odd\x1b\u202e.mp4"), LABELS[0]),
    ]
    evaluation = evaluate(classifier, rows)
    evaluation.write_csv(tmp_path / "predictions.csv")
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["path", "start", "end", "label", "predicted", "score", "correct", "in_top5", "error"]
    assert [line[1:3] for line in lines[1:]] == [["0.0", "0.5"], ["0.5", ""], ["0.0", ""]]
    assert lines[3][0] == r"'-=odd\x1b\u202e.mp4"
    assert lines[3][-1].startswith(r"'-=odd\x1b\u202e.mp4: the file was not found")


def said(label: str, predicted: str, score: float, none: bool) -> RowResult:
    """A row of a classifier that says none below .5, or by a label."""
    other = LABELS[0] if predicted != LABELS[0] else LABELS[1]
    return RowResult(row("x.mp4", label), (LabelScore(predicted, score), LabelScore(other, 1 - score)), none=none)


SAID = (
    said(LABELS[0], LABELS[0], 0.9, False),
    said(LABELS[0], LABELS[0], 0.45, True),  # its label, but below the threshold
    said(LABELS[1], NONE, 0.7, True),
    said(LABELS[1], LABELS[0], 0.6, False),
    said(NONE, NONE, 0.8, True),
    said(NONE, LABELS[1], 0.6, False),
    RowResult(row("x.mp4", NONE), (), VideoError("x.mp4", "broken")),
)


def test_none_is_wrong_for_clips_of_the_classes_and_right_for_others(tmp_path: Path) -> None:
    evaluation = Evaluation((*LABELS, NONE), Views(1, 1), SAID, says_none=True)
    assert (evaluation.n, evaluation.top1, evaluation.mean_class) == (4, 0.5, 0.5)
    assert evaluation.none is not None
    assert (evaluation.none.answered, evaluation.none.top1) == (2, 0.25)
    assert (evaluation.none.others, evaluation.none.others_refused) == (3, 1)
    inside, outside = (0.9, 0.45, 0.3, 0.6), (0.2, 0.6)  # the best score of a class
    above = sum((a > b) + 0.5 * (a == b) for a in inside for b in outside)
    assert evaluation.none.auroc == pytest.approx(above / 8)
    assert [c.none for c in evaluation.per_class] == [1, 1, 0, 0]
    assert int(evaluation.confusion.sum()) == 4
    assert evaluation.to_dict()["none"]["others_refused"] == 1
    evaluation.write_csv(tmp_path / "p.csv")
    with (tmp_path / "p.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [r["none"] for r in read] == ["0", "1", "1", "0", "1", "0", "0"]
    assert [r["correct"] for r in read] == ["1", "1", "0", "0", "1", "0", "0"]


def test_none_is_a_class_like_others_where_it_is_no_answer() -> None:
    """As in a training run, whose clips all have a class."""
    evaluation = Evaluation((*LABELS, NONE), Views(1, 1), SAID[2:6])
    assert evaluation.n == 4
    assert evaluation.none is None
    assert "none" not in evaluation.to_dict()


def test_other_things_may_be_asked_of_whoever_may_say_none(folder: Path) -> None:
    plain = tiny_classifier()
    rows = [row(folder / "0.mp4", LABELS[0]), row(folder / "1.mp4", NONE)]
    with pytest.raises(ConfigError, match="no label"):
        evaluate(plain, rows)
    plain.none_threshold = 0.999
    none = evaluate(plain, rows).none
    assert none is not None
    assert (none.answered, none.top1, none.others, none.others_refused) == (1, 0, 1, 1)
    with pytest.raises(ConfigError, match="Add some of the classes"):
        evaluate(plain, rows[1:])


def test_auroc() -> None:
    assert auroc(torch.tensor([0.9, 0.8]), torch.tensor([0.1, 0.2])) == 1
    assert auroc(torch.tensor([0.5]), torch.tensor([0.5])) == 0.5
