"""Held-out parts: each clip is answered by a model that has not seen its group."""

import json
from pathlib import Path

import pytest
import torch

from tests.train.helpers import LABELS, Recorder, interrupter, rows_of, same, tiny_classifier
from videoswin.classifier.loading import load
from videoswin.data.annotations import Clip
from videoswin.errors import ConfigError, Interrupted, WeightsError
from videoswin.train.folds import keep, measure
from videoswin.train.measured import FoldResult, Measured
from videoswin.train.metrics import EpochRow
from videoswin.train.plan import Plan, make_plan
from videoswin.train.preferences import Preferences

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    tiny_classifier().save(tmp_path_factory.mktemp("folds") / "ck")
    return str(tmp_path_factory.getbasetemp() / "folds0" / "ck")


@pytest.fixture
def listed(videos: Path, tmp_path: Path) -> Path:
    """Twelve clips of four people, three each; those of "dan" are the test split."""
    lines = ["path,label,split,group"]
    for number, row in enumerate(rows_of(videos)):
        person = ("ann", "ben", "cat", "dan")[number // 2 % 4]
        lines.append(f"{row.path},{row.label},{'test' if person == 'dan' else 'train'},{person}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "list.csv"


def plan_of(listed: Path, checkpoint: str, out: Path, resume: bool = False, **wanted) -> Plan:
    settings = {"epochs": 2, "batch_size": 4}
    return make_plan(listed, out, None, checkpoint, Preferences(**wanted), 0, resume, settings=settings)


def run(plan: Plan, out: Path, resume: bool = False, watches=None) -> Measured:
    for clips in (plan.train_clips,):
        clips.prepare()
    return measure(plan, out, resume, lambda number, trainer: (watches or {}).get(number, Recorder()), lambda *_: None)


def test_every_clip_is_held_out_once_with_its_group(listed: Path, checkpoint: str):
    plan = plan_of(listed, checkpoint, listed.parent / "run", folds=3)
    held = [row for part in plan.parts for row in part.held]
    assert sorted(held, key=lambda r: r.path) == sorted(plan.train_clips.rows, key=lambda r: r.path)
    for part in plan.parts:
        assert not {row.group for row in part.kept} & {row.group for row in part.held}
    assert not any(row.group == "dan" for row in held)  # the test split is never touched
    assert plan.val_clips is None


def test_by_default_a_part_is_lent(listed: Path, checkpoint: str):
    plan = plan_of(listed, checkpoint, listed.parent / "run")
    assert len(plan.parts) == 1
    assert len(plan.parts[0].kept) + len(plan.parts[0].held) == len(plan.train_clips)
    assert any("then a model learns from all of them" in note for note in plan.notes)


@pytest.mark.parametrize(("folds", "said"), [(1, "at least 2"), (4, "Too few groups")])
def test_refused(listed: Path, checkpoint: str, folds: int, said: str):
    with pytest.raises(ConfigError, match=said):
        plan_of(listed, checkpoint, listed.parent / "run", folds=folds)


def test_folds_hold_everything_out_so_no_share(listed: Path, checkpoint: str):
    with pytest.raises(ConfigError, match="val_share has no say"):
        plan_of(listed, checkpoint, listed.parent / "run", folds=3, val_share=0.2)


def test_what_is_written(listed: Path, checkpoint: str, tmp_path: Path):
    out = tmp_path / "run"
    plan = plan_of(listed, checkpoint, out, folds=3)
    measured = run(plan, out)
    assert measured.logits.shape == (len(plan.train_clips), 2)
    summary = json.loads((out / "folds" / "summary.json").read_text())
    assert summary["n"] == len(plan.train_clips)
    assert summary["top1"] == measured.figure
    assert len(summary["folds"]) == 3
    assert len((out / "folds" / "predictions.csv").read_text().splitlines()) == 1 + len(plan.train_clips)
    assert (out / "folds" / "confusion.png").is_file()
    trainer = plan.trainer(out, measured.epochs(2))
    trainer.run(Recorder())
    keep(trainer, measured, out)
    best = load(out / "best")
    assert best.metrics["cross_validation_top1"] == round(summary["top1"], 4)
    assert best.none_threshold is None  # ten clips say nothing on that
    assert same(best.model.state_dict(), trainer.model.state_dict())


def test_the_answers_are_those_of_the_last_epoch(listed: Path, checkpoint: str, tmp_path: Path):
    plan = plan_of(listed, checkpoint, tmp_path / "run", folds=3)
    measured = run(plan, tmp_path / "run")
    for number, fold in enumerate(measured.folds, 1):
        assert fold.epochs[-1].val_top1 == pytest.approx(sum(fold.correct(LABELS)) / len(fold.rows))
        last = load(tmp_path / "run" / "folds" / f"fold-{number}" / "last")
        clip = plan.part_trainer(plan.parts[number - 1], tmp_path / "x").val_clips
        assert clip is not None
        torch.testing.assert_close(last.logits(clip[0][0][None])[0], fold.logits[0])


def test_stopped_and_gone_on_with(listed: Path, checkpoint: str, tmp_path: Path):
    whole = run(plan_of(listed, checkpoint, tmp_path / "whole", folds=3), tmp_path / "whole")
    cut = plan_of(listed, checkpoint, tmp_path / "cut", folds=3)
    with pytest.raises(Interrupted):
        run(cut, tmp_path / "cut", watches={2: interrupter(1, 1)})
    again = plan_of(listed, checkpoint, tmp_path / "cut", resume=True, folds=3)
    again.check_resume(tmp_path / "cut", skip_bad=False)
    watch = Recorder()
    resumed = run(again, tmp_path / "cut", resume=True, watches={1: watch})
    assert watch.steps == []  # the first fold was over
    torch.testing.assert_close(resumed.logits, whole.logits)


def test_other_settings_are_refused_before_anything_is_read(listed: Path, checkpoint: str, tmp_path: Path):
    run(plan_of(listed, checkpoint, tmp_path / "run", folds=3), tmp_path / "run")
    other = plan_of(listed, checkpoint, tmp_path / "run", resume=True, folds=3, augment="gentle")
    with pytest.raises(WeightsError, match="augment"):
        other.check_resume(tmp_path / "run", skip_bad=False)


def test_a_finished_part_of_other_clips_is_refused(listed: Path, checkpoint: str, tmp_path: Path):
    run(plan_of(listed, checkpoint, tmp_path / "run", folds=3), tmp_path / "run")
    scores = tmp_path / "run" / "folds" / "fold-1" / "scores.json"
    scores.write_text(scores.read_text().replace(".mp4", ".avi"))
    with pytest.raises(WeightsError, match="other clips"):
        run(plan_of(listed, checkpoint, tmp_path / "run", resume=True, folds=3), tmp_path / "run", resume=True)


# What folds choose ----------------------------------------------------------------------------------------------------


def result(losses: list[float], logits: torch.Tensor | None = None, count: int = 4) -> FoldResult:
    rows = tuple(Clip(Path(f"{i}.mp4"), LABELS[i % 2], "", f"g{i % 7}", 0) for i in range(count))
    epochs = tuple(EpochRow(i, loss, 1.0, loss, 0.5, 1e-4, 1.0, 1.0) for i, loss in enumerate(losses, 1))
    return FoldResult(rows, torch.zeros(count, 2) if logits is None else logits, epochs)


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ([2.0 - 0.1 * i for i in range(10)], 10),  # still falling
        ([1.0] * 10, 10),  # flat: the later one has learnt more
        ([1.0, 0.8, 0.6, 0.5, 0.5, 0.5, 0.8, 1.0, 1.2, 1.4], 6),
        ([1.0, 0.9], 2),
    ],
)
def test_epochs(losses: list[float], chosen: int):
    assert Measured(LABELS, (result(losses), result(losses))).epochs(len(losses)) == chosen


def test_stopped_early_means_fewer_epochs():
    assert Measured(LABELS, (result([1.0, 0.5, 0.9]), result([1.0, 0.6, 0.9, 1.0]))).epochs(30) == 2


def test_threshold_and_temperature_need_clips():
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(60) % 2
    logits = torch.randn(60, 2, generator=generator)
    logits[torch.arange(60), targets] += 1.0
    many = Measured(LABELS, (result([1.0], 8 * logits[:30], 30), result([1.0], 8 * logits[30:], 30)))
    assert many.temperature > 2
    assert many.none_threshold is not None
    assert 0.4 < many.none_threshold < 0.8
    assert many.interval is not None
    assert many.figure is not None
    assert many.interval[0] < many.figure < many.interval[1]
    few = Measured(LABELS, (result([1.0]), result([1.0])))
    assert (few.temperature, few.none_threshold) == (1.0, None)
