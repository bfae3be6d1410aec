"""Grey clips, from weights for colours."""

from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_classifier
from tests.train.helpers import make_videos
from videoswin.classifier.loading import load
from videoswin.cli.main import main
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.train.channels import as_grey, grey_preprocessing


def test_a_grey_clip_gives_the_logits_of_the_clip_in_colours():
    colours = tiny_classifier()
    grey = as_grey(colours)
    frames = torch.randint(0, 256, (8, 32, 32, 1), dtype=torch.uint8).expand(-1, -1, -1, 3).contiguous()
    expected = colours.logits(colours.preprocessing.to_clip(frames)[None])
    clip = grey.preprocessing.to_clip(frames)[None]
    assert clip.shape == (1, 1, 8, 32, 32)
    torch.testing.assert_close(grey.logits(clip), expected, rtol=1e-6, atol=1e-6)
    assert as_grey(grey) is grey


def test_grey_of_colours_is_their_luma():
    preprocessing = Preprocessing(mean=(0.0,), std=(1.0,))
    frames = torch.tensor([[[[200, 100, 50]]]], dtype=torch.uint8)
    assert preprocessing.to_clip(frames).item() == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, rel=1e-5)
    assert grey_preprocessing(Preprocessing()).channels == 1


def test_one_mean_and_three_deviations():
    with pytest.raises(ConfigError, match=r"Preprocessing\.std"):
        Preprocessing(mean=(100.0,))


def test_a_grey_model_is_trained_saved_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("videoswin.train.loop.draw_curves", lambda path, rows: None)
    tiny_classifier().save("ck")
    make_videos(Path("data"), each=2)
    options = ["--weights", "ck", "--channels", "1", "--epochs", "1", "--val-share", "0", "--ema", "0.9"]
    assert main(["train", "data", "--out", "run", *options]) == 0
    classifier = load("run/best")
    assert classifier.model.config.in_channels == 1
    assert len(classifier(next(Path("data").glob("*/*.mp4"))).predictions) == 2
    assert main(["train", "data", "--out", "more", "--weights", "run/best", "--epochs", "1", "--val-share", "0"]) == 0
