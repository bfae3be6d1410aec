"""What a checkpoint learnt from, and whether it is asked about the same clips."""

import json
from pathlib import Path

import pytest

from tests.tiny import tiny_classifier
from videoswin.classifier.folder import read_facts
from videoswin.classifier.loading import load
from videoswin.data.clips import Clip
from videoswin.errors import ConfigError, WeightsError
from videoswin.predict.provenance import Training, known_clips, short_sum, sums_of


def clip(path: Path, content: str = "", start: float = 0.0, end: float | None = None) -> Clip:
    if content:
        path.write_text(content)
    return Clip(path, "nod", start=start, end=end)


def training(*rows: Clip) -> Training:
    return Training("a start", "labels.csv", len(rows), 2, sums=sums_of(rows))


def test_a_clip_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path):
    learnt = training(clip(tmp_path / "a.mp4", "one"), clip(tmp_path / "b.mp4", "two"))
    asked = [clip(tmp_path / "renamed.mp4", "two"), clip(tmp_path / "a.mp4", "changed"), clip(tmp_path / "gone.mp4")]
    assert known_clips(learnt, asked) == [True, False, False]
    assert known_clips(None, asked) == [False] * 3


@pytest.mark.parametrize(
    ("learnt", "asked", "known"),
    [((2, 4), (4, 6), False), ((2, 4), (3.5, 6), True), ((2, 4), (0, None), True), ((0, None), (7, 8), True), ((0, 2.5), (2, 3), True)],
)  # fmt: skip
def test_parts_of_a_file(tmp_path: Path, learnt: tuple, asked: tuple, known: bool):
    path = tmp_path / "a.mp4"
    run = training(clip(path, "one", *learnt))
    assert known_clips(run, [clip(path, "", *asked)]) == [known]


def test_it_goes_with_the_checkpoint(tmp_path: Path):
    classifier = tiny_classifier()
    rows = [clip(tmp_path / "a.mp4", "one"), clip(tmp_path / "b.mp4", "two", 1, 2.5)]
    classifier.training = Training(
        "swin3d_t", "clips <b>", 2, 2, 1, 3.25, {"epochs": 4, "adapt": "full"}, sums=sums_of(rows)
    )
    classifier.save(tmp_path / "ck")
    assert load(tmp_path / "ck").training == classifier.training
    assert classifier.training.sums[1] == f"{short_sum(rows[1]).split(':')[0]}:1-2.5"
    card = (tmp_path / "ck" / "README.md").read_text(encoding="utf-8")
    assert "2 clips of 2 classes (clips &lt;b>)" in card
    assert "| epochs | 4 |" in card
    assert "3.2 s. The start: swin3d_t" in card


def test_older_checkpoints_say_nothing(tmp_path: Path):
    tiny_classifier().save(tmp_path / "ck")
    assert load(tmp_path / "ck").training is None
    assert "training" not in json.loads((tmp_path / "ck" / "config.json").read_text())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"starts": 1}, "Did you mean"),
        ({"start": "x"}, 'no field "data"'),
        ({"start": "x", "data": "y", "clips": "many", "classes": 2}, "Use a int"),
        ({"start": "x", "data": "y", "clips": 1, "classes": 2, "clip_seconds": -1}, "seconds above 0"),
        ({"start": "x", "data": "y", "clips": 1, "classes": 2, "sums": ["a"]}, "one text"),
    ],
)
def test_fields_are_checked(tmp_path: Path, values: dict[str, object], reason: str):
    with pytest.raises(ConfigError, match=reason):
        Training.from_dict(values)
    tiny_classifier().save(tmp_path / "ck")
    config = json.loads((tmp_path / "ck" / "config.json").read_text())
    (tmp_path / "ck" / "config.json").write_text(json.dumps({**config, "training": values}))
    with pytest.raises(WeightsError):
        read_facts(tmp_path / "ck")
