"""The figures of a run, counted, written and drawn."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from videoswin.errors import ConfigError
from videoswin.train.metrics import EpochRow, Tally, draw_curves, read_rows, write_rows

WITH = EpochRow(1, 1.25, 0.5, 1.5, 0.25, 5e-4, 12.5, 3.25)
WITHOUT = EpochRow(2, 0.5, 1.0, None, None, 1e-8, 10.0, 4.0)


def test_tally_weighs_batches_by_their_clips():
    tally = Tally()
    assert (tally.loss, tally.top1) == (0, 0)
    tally.add(1.0, torch.tensor([[1.0, 0], [1, 0], [0, 1]]), torch.tensor([0, 0, 0]))
    tally.add(3.0, torch.tensor([[1.0, 0]]), torch.tensor([1]))
    assert (tally.clips, tally.loss, tally.top1) == (4, 1.5, 0.5)


def test_rows_come_back(tmp_path: Path):
    write_rows(tmp_path / "m.csv", [WITH, WITHOUT])
    assert read_rows(tmp_path / "m.csv") == [WITH, WITHOUT]
    assert (tmp_path / "m.csv").read_text().splitlines() == [
        "epoch,train_loss,train_top1,val_loss,val_top1,lr,seconds,clips_per_s",
        "1,1.25,0.5,1.5,0.25,0.0005,12.5,3.25",
        "2,0.5,1,,,1e-08,10,4",
    ]


def test_no_file_no_rows(tmp_path: Path):
    assert read_rows(tmp_path / "m.csv") == []


@pytest.mark.parametrize("text", ["epoch,accuracy\n1,2\n", "epoch,train_loss\nfirst,2\n", "path,label\na.mp4,wave\n"])
def test_a_strange_table_is_refused(tmp_path: Path, text: str):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"m\.csv"):
        read_rows(tmp_path / "m.csv")


@pytest.mark.parametrize("rows", [[WITH], [WITHOUT], [WITH, WITHOUT], [WITH] * 20])
def test_the_picture_can_be_opened(tmp_path: Path, rows: list[EpochRow]):
    draw_curves(tmp_path / "curves.png", rows)
    with Image.open(tmp_path / "curves.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert picture.width > 2 * picture.height
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
