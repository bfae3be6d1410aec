"""Clips with several labels: from the cells of a list to answers by thresholds."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from tests.train.helpers import AUGMENT, PREPROCESSING, Recorder, tiny_classifier
from videoswin import load
from videoswin.cli.main import main
from videoswin.data.annotations import Clip, ClipList, read_index
from videoswin.data.dataset import Augment, ClipDataset
from videoswin.data.label_cells import SeveralLabelCells
from videoswin.errors import ConfigError, WeightsError
from videoswin.export import export
from videoswin.predict.answers import SeveralLabels
from videoswin.predict.scoring import predict
from videoswin.predict.several import average_precision, best_thresholds, map_interval, mean_average_precision
from videoswin.train.loop import Trainer
from videoswin.train.measured import FoldResult, MeasuredSeveral
from videoswin.train.order import class_shares
from videoswin.train.settings import TrainSettings
from videoswin.train.targets import SeveralLabelsTarget

CELLS = ("nod", "wave", "nod | wave", "|")


@pytest.fixture(scope="module")
def labelled(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of the twelve videos, with eight to train on; read only."""
    path = tmp_path_factory.mktemp("several") / "labels.csv"
    found = sorted(videos.glob("*/*.mp4"), key=lambda video: int(video.stem))
    lines = [f"{video},{CELLS[n % 4]},{'train' if n < 8 else 'val'}" for n, video in enumerate(found)]
    path.write_text("path,label,split\n" + "\n".join(lines) + "\n")
    return path


def several(path: Path) -> ClipList:
    return read_index(path, cells=SeveralLabelCells())


def trainer(labelled: Path, out: Path, **settings) -> Trainer:
    index = several(labelled)
    rows = [[row for row in index.rows if row.split == split] for split in ("train", "val")]
    clips = [ClipDataset(rows[i], index.labels, PREPROCESSING, (AUGMENT, None)[i]) for i in (0, 1)]
    chosen = {"epochs": 1, "batch_size": 4, "lr": 2e-3, **settings}
    return Trainer(tiny_classifier(), clips[0], clips[1], TrainSettings(**chosen), out)


# Reading --------------------------------------------------------------------------------------------------------------------


def test_cells(labelled: Path):
    index = several(labelled)
    assert index.labels == ("nod", "wave")
    assert [row.classes for row in index.rows[:4]] == [("nod",), ("wave",), ("nod", "wave"), ()]
    assert "multi-label: 3 of 12 clips have several labels." in index.notes
    with pytest.raises(ConfigError, match="--multi-label"):
        read_index(labelled)  # not taken for a third class


def test_bad_cells_are_named(labelled: Path, tmp_path: Path):
    paths = [line.split(",")[0] for line in labelled.read_text().splitlines()[1:4]]
    bad = tmp_path / "bad.csv"
    bad.write_text("path,label\n" + "\n".join(f"{p},{c}" for p, c in zip(paths, ("a||b", "a|a", "a|x"), strict=True)))
    with pytest.raises(ConfigError) as caught:
        read_index(bad, labels=("a", "b"), cells=SeveralLabelCells())
    text = str(caught.value)
    assert "3 entries" in text
    for line in ('line 2: "a||b" has an empty label', 'line 3: "a|a" names a class twice', 'the label "x"'):
        assert line in text


def test_flipped_labels_swap_sides(labelled: Path, tmp_path: Path):
    path = tmp_path / "sides.csv"
    video = labelled.read_text().splitlines()[1].split(",")[0]
    path.write_text(f"path,label\n{video},left|up\n")
    index = read_index(path, labels=("left", "right", "up"), cells=SeveralLabelCells())
    clips = ClipDataset(index.rows, index.labels, PREPROCESSING, Augment(flip=True))
    seen = {tuple(torch.as_tensor(clips[0, copy][1]).tolist()) for copy in range(12)}
    assert seen == {(1.0, 0.0, 1.0), (0.0, 1.0, 1.0)}


def test_clips_of_no_class_count_as_those_of_one():
    assert class_shares([("a",), ("a", "b"), (), ()]) == [0.5, 1.0, 0.5, 0.5]


# Figures --------------------------------------------------------------------------------------------------------------------


def test_average_precision():
    truth = torch.tensor([True, False, True, False])
    assert average_precision(torch.tensor([0.9, 0.8, 0.7, 0.1]), truth) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(torch.zeros(4), truth) == 0.5  # equal scores: the order of the clips plays no part
    assert average_precision(torch.zeros(4), truth.flip(0)) == 0.5
    assert average_precision(torch.zeros(4), torch.zeros(4, dtype=torch.bool)) is None
    both = torch.stack([truth, torch.zeros(4, dtype=torch.bool)], 1)
    assert mean_average_precision(torch.tensor([[0.9], [0.1], [0.8], [0.2]]).expand(4, 2), both) == 1.0


def test_thresholds_cut_where_f1_is_best():
    scores = torch.linspace(0.95, 0.05, 10)
    truth = torch.tensor([True] * 5 + [False] * 5)
    rare = torch.tensor([True] + [False] * 9)
    assert best_thresholds(torch.stack([scores, scores], 1), torch.stack([truth, rare], 1)) == (0.5, 0.5)
    shifted = best_thresholds(scores[:, None] / 2, truth[:, None])
    assert shifted == (pytest.approx((scores[4] + scores[5]).item() / 4, abs=1e-6),)


def test_loss():
    target = SeveralLabelsTarget(3, smoothing=0.2)
    logits, labels = torch.randn(2, 3), torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    expected = torch.nn.functional.binary_cross_entropy(logits.sigmoid(), labels * 0.8 + 0.1)
    torch.testing.assert_close(target.loss(logits, labels), expected)
    steps = logits[:, None].expand(2, 4, 3)  # of a causal model
    torch.testing.assert_close(target.loss(steps, labels), expected)
    assert target.right(torch.tensor([[-1.0, 0, 2], [-1, -1, -1]]), labels) == 2
    assert target.right(torch.tensor([[-1.0, 3, 2], [-1, 1, -1]]), labels) == 0


# A run ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_pictures")
def test_a_run_and_its_checkpoint(labelled: Path, tmp_path: Path):
    run = trainer(labelled, tmp_path / "run", epochs=2, mixup=0.5, balance="sampling")
    rows = run.run(Recorder())
    assert all(row.val_map is not None and 0 < row.val_map <= 1 for row in rows)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [float(line["val_map"]) for line in csv.DictReader(file)] == [
            pytest.approx(row.val_map, abs=1e-5) for row in rows
        ]
    assert run.progress.best == max(row.val_map or 0 for row in rows)
    config = json.loads((tmp_path / "run" / "best" / "config.json").read_text())
    assert config["answer"] == "several"
    assert config["thresholds"] == {"nod": 0.5, "wave": 0.5}  # of four clips none is worth more

    kept = load(tmp_path / "run" / "best")
    kept.answer = SeveralLabels((0.0, 1.0))
    kept.save(tmp_path / "other")
    prediction = predict(load(tmp_path / "other"), several(labelled).rows[0].path)
    assert prediction.labels == ("nod",)
    assert prediction.label == "nod"
    assert prediction.to_dict()["labels"] == ["nod"]
    scores = dict(prediction.predictions)
    assert scores.keys() == {"nod", "wave"}
    assert sum(scores.values()) != pytest.approx(1, abs=1e-4)
    with pytest.raises(ConfigError, match="multi-label"):
        export(kept, tmp_path / "x.onnx")


def test_resume_keeps_the_kind(labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("videoswin.train.loop.draw_curves", lambda path, rows: None)
    trainer(labelled, tmp_path / "run").run(Recorder())
    again = trainer(labelled, tmp_path / "run")
    again.resume()
    assert again.done
    assert again.rows[0].val_map is not None


def test_configs_that_cannot_be_right(labelled: Path, tmp_path: Path):
    classifier = tiny_classifier()
    classifier.answer = SeveralLabels((0.5, 0.25))
    classifier.save(tmp_path / "kept")
    path = tmp_path / "kept" / "config.json"
    right = json.loads(path.read_text())
    assert load(tmp_path / "kept").answer == SeveralLabels((0.5, 0.25))
    for changes in (
        {"thresholds": {"nod": 0.5}},
        {"thresholds": {"nod": 0.5, "wave": 2}},
        {"answer": "many"},
        {"answer": "one"},
        {"none_threshold": 0.5},
    ):
        path.write_text(json.dumps({**right, **changes}))
        with pytest.raises(WeightsError):
            load(tmp_path / "kept")


def test_the_commands(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    assert main(["train", str(labelled), "--out", str(out), "--model", "swin3d_micro", "--multi-label",
                 "--epochs", "1", "--clip-len", "4", "--size", "28", "--device", "cpu"]) == 0  # fmt: skip
    assert "held out mAP" in capsys.readouterr().out
    assert "multi_label = true" in (out / "settings.toml").read_text()
    best = str(out / "best")
    assert main(["evaluate", str(labelled), "--weights", best, "--split", "val", "--json", "--out", str(tmp_path)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["n"] == 4
    assert 0 < figures["map"] <= 1
    lines = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert [line["labels"] for line in lines] == ["nod", "wave", "nod|wave", ""]
    assert main(["evaluate", str(labelled), "--weights", best, "--split", "val"]) == 0
    assert "mAP" in capsys.readouterr().out
    assert main(["predict", str(several(labelled).rows[0].path), "--weights", best, "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out)["labels"], list)
    assert main(["predict", str(several(labelled).rows[0].path), "--weights", best]) == 0
    assert main(["timeline", str(several(labelled).rows[0].path), "--weights", best]) == 2
    page = tmp_path / "page.html"
    assert main(["evaluate", str(labelled), "--weights", best, "--split", "val", "--report", str(page)]) == 0
    for text in (page.read_text(encoding="utf-8"), (out / "report.html").read_text(encoding="utf-8")):
        for part in ("mAP on 4 clips", "Labels", "nod, wave", "Configuration"):
            assert part in text
    assert "chose the epoch and the thresholds" in (out / "report.html").read_text(encoding="utf-8")


def with_groups(labelled: Path, path: Path) -> Path:
    """The twelve videos of four people, without a split."""
    lines = [line.rsplit(",", 1)[0] for line in labelled.read_text().splitlines()[1:]]
    listed = [f"{line},{'abcd'[n // 3]}" for n, line in enumerate(lines)]
    path.write_text("path,label,group\n" + "\n".join(listed) + "\n")
    return path


SMALL = ["--model", "swin3d_micro", "--multi-label", "--clip-len", "4", "--size", "28", "--device", "cpu"]


def test_folds(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data, out = with_groups(labelled, tmp_path / "labels.csv"), tmp_path / "run"
    assert main(["train", str(data), "--out", str(out), *SMALL, "--folds", "2", "--epochs", "1"]) == 0
    said = capsys.readouterr().out
    for number in (1, 2):
        assert f"fold {number}/2   held out mAP " in said
    assert "pooled over 2 folds: mAP " in said
    summary = json.loads((out / "folds" / "summary.json").read_text())
    assert summary["n"] == 12
    assert [fold["n"] for fold in summary["folds"]] == [6, 6]
    low, high = summary["interval"]
    assert 0 <= low <= summary["map"] <= high <= 1
    assert set(summary["thresholds"]) == {"nod", "wave"}
    lines = list(csv.DictReader((out / "folds" / "predictions.csv").read_text().splitlines()))
    assert len(lines) == 12
    assert not (out / "folds" / "confusion.png").exists()
    kept = load(out / "best")
    assert isinstance(kept.answer, SeveralLabels)
    assert dict(zip(kept.labels, kept.answer.thresholds, strict=True)) == summary["thresholds"]
    assert kept.metrics["cross_validation_map"] == round(summary["map"], 4)
    page = (out / "report.html").read_text(encoding="utf-8")
    for part in ("2 folds", "mAP on 12 clips", "over groups", "chosen by the other folds", "Where the time went"):
        assert part in page
    said_wrong = re.findall(r"is (missed|wrongly given) \((\d+) %; threshold (\d+) %\)", page)
    assert said_wrong
    assert all(
        (int(score) <= int(low)) if what == "missed" else (int(score) >= int(low)) for what, score, low in said_wrong
    )
    assert main(["train", str(data), "--out", str(out), *SMALL, "--folds", "2", "--epochs", "1", "--resume"]) == 0


def test_few_clips_are_only_lent(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """As with one label: a part measures and chooses the thresholds, and the model that is kept learns from all."""
    data, out = with_groups(labelled, tmp_path / "labels.csv"), tmp_path / "run"
    assert main(["train", str(data), "--out", str(out), *SMALL, "--epochs", "1"]) == 0
    said = capsys.readouterr()
    assert "held out: mAP " in said.out
    assert "too few groups for an interval" in said.out
    assert "flatters" in said.err
    training = load(out / "best").training
    assert training is not None
    assert training.clips == 12


def scored(scores: torch.Tensor, truth: torch.Tensor, names: str) -> FoldResult:
    rows = tuple(
        Clip(
            Path(f"/{name}{n}"),
            "",
            group=name,
            several=tuple(label for label, has in zip("xy", t.tolist(), strict=True) if has),
        )
        for n, (name, t) in enumerate(zip(names, truth, strict=True))
    )
    return FoldResult(rows, scores.logit(), ())


def test_a_part_is_judged_by_the_thresholds_of_the_others():
    truth = torch.tensor([[True, False]] * 5 + [[False, True]] * 5)
    high = torch.tensor([[0.9, 0.8]] * 5 + [[0.8, 0.9]] * 5)
    low = torch.tensor([[0.2, 0.1]] * 5 + [[0.1, 0.2]] * 5)
    measured = MeasuredSeveral(("x", "y"), (scored(high, truth, "a" * 10), scored(low, truth, "b" * 10)))
    assert [measured.figure_of(fold) for fold in measured.folds] == [1.0, 1.0]
    evaluation = measured.evaluation()
    # The first part's cut lies at 0.85 and the second's at 0.15: each gives the other all labels, or none.
    assert [r.predicted for r in evaluation.rows[:10]] == [("x", "y")] * 5 + [("y", "x")] * 5
    assert [r.predicted for r in evaluation.rows[10:]] == [()] * 10
    alone = MeasuredSeveral(("x", "y"), (measured.folds[0],))
    assert alone.evaluation().exact == 1.0


def test_the_interval_draws_whole_groups():
    torch.manual_seed(0)
    truth = torch.rand(120, 3) < 0.3
    scores = (truth * 0.3 + torch.rand(120, 3)).double()
    groups = [str(n // 10) for n in range(120)]
    low, high = map_interval(scores, truth, groups) or (0.0, 0.0)
    value = mean_average_precision(scores, truth) or 0.0
    assert low < value < high
    # The same by drawing lists of clips, one by one.
    generator = torch.Generator().manual_seed(0)
    means = []
    for drawn in torch.randint(12, (1000, 12), generator=generator).tolist():
        chosen = [n for g in drawn for n in range(10 * g, 10 * g + 10)]
        means.append(mean_average_precision(scores[chosen], truth[chosen]))
    expected = torch.tensor(means, dtype=torch.float64).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    assert (low, high) == (pytest.approx(float(expected[0]), abs=1e-9), pytest.approx(float(expected[1]), abs=1e-9))
    assert map_interval(scores, truth, ["a"] * 60 + ["b"] * 60) is None
    assert map_interval(scores, truth & False, groups) is None


def test_a_model_without_skill_is_not_recommended():
    truth = torch.tensor([[True, False], [False, True]] * 12)
    good = torch.where(truth, 0.8, 0.2)
    names = "".join(name * 4 for name in "abcdef")
    assert not MeasuredSeveral(("x", "y"), (scored(good, truth, names),)).poor
    assert MeasuredSeveral(("x", "y"), (scored(1 - good, truth, names),)).poor
