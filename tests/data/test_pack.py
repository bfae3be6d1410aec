"""Clips encoded anew for training, and what is checked about them."""

import re
from pathlib import Path

import pytest
import torch

from tests.tiny import write_video
from videoswin.cli.main import main
from videoswin.data.annotations import read_index
from videoswin.data.clips import Clip
from videoswin.data.label_cells import SeveralLabelCells
from videoswin.data.pack import PackSettings, pack_video
from videoswin.data.part import open_clip
from videoswin.errors import ConfigError, VideoError


def smooth_video(path: Path, frames: int = 20) -> Path:
    """Pictures that an encoder can keep: large blocks."""
    return write_video(path, frames=frames, size=(96, 128))


def test_the_same_frames_at_the_same_times(tmp_path: Path):
    source = smooth_video(tmp_path / "a.mp4")
    packed = pack_video(source, tmp_path / "b.mp4", PackSettings(short_side=48, key_every=4))
    assert (packed.frames, packed.width, packed.height) == (20, 64, 48)
    assert packed.psnr >= 32
    with open_clip(Clip(source, "")) as one, open_clip(Clip(tmp_path / "b.mp4", "")) as two:
        assert len(one) == len(two)
        torch.testing.assert_close(one.times, two.times, rtol=0, atol=2e-3)


def test_small_videos_keep_their_size(tmp_path: Path):
    packed = pack_video(smooth_video(tmp_path / "a.mp4", 3), tmp_path / "b.mp4", PackSettings())
    assert (packed.width, packed.height) == (128, 96)


def test_a_poor_frame_is_encoded_better(tmp_path: Path):
    source = smooth_video(tmp_path / "a.mp4", 6)
    poor = pack_video(source, tmp_path / "b.mp4", PackSettings(quality=45, least_psnr=0))
    better = pack_video(source, tmp_path / "c.mp4", PackSettings(quality=45, least_psnr=poor.psnr + 6))
    assert better.psnr >= poor.psnr + 6


def test_a_frame_that_stays_poor_is_an_error(tmp_path: Path):
    source = smooth_video(tmp_path / "a.mp4", 3)
    with pytest.raises(VideoError, match="dB PSNR after encoding"):
        pack_video(source, tmp_path / "b.mp4", PackSettings(quality=6, least_psnr=101))
    assert not (tmp_path / "b.mp4").exists()


def test_a_list_is_packed_and_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for number, (split, label) in enumerate((s, c) for s in ("train", "test") for c in ("nod", "wave")):
        smooth_video(tmp_path / "data" / split / label / f"{number}.mp4", 5)
    out = str(tmp_path / "packed")
    assert main(["pack", str(tmp_path / "data"), "--out", out, "--short-side", "32"]) == 0
    index, packed = read_index(tmp_path / "data"), read_index(out)
    assert [(row.label, row.split) for row in packed.rows] == [(row.label, row.split) for row in index.rows]
    assert "worst frame" in capsys.readouterr().out
    next((tmp_path / "packed" / "videos").glob("2-*.mp4")).unlink()
    assert main(["pack", str(tmp_path / "data"), "--out", out, "--short-side", "32"]) == 0
    assert re.search(r"of them packed before +3\n", capsys.readouterr().out)
    assert main(["pack", str(tmp_path / "data"), "--out", out, "--short-side", "64"]) == 2
    assert "a pack with other settings" in capsys.readouterr().err


def test_bad_videos_and_taken_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    smooth_video(tmp_path / "data" / "nod" / "a.mp4", 3)
    (tmp_path / "data" / "wave").mkdir()
    (tmp_path / "data" / "wave" / "b.mp4").write_bytes(b"no video")
    command = ["pack", str(tmp_path / "data"), "--out", str(tmp_path / "packed")]
    assert main(command) == 2
    assert "b.mp4" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "packed" / "labels.csv").exists()
    assert main([*command, "--skip-bad"]) == 1
    assert len(read_index(tmp_path / "packed")) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("x")
    assert main(["pack", str(tmp_path / "data"), "--out", str(tmp_path / "mine")]) == 2
    with pytest.raises(ConfigError, match="quality=52"):
        PackSettings(quality=52)


def test_cells_of_several_labels_come_along(tmp_path: Path):
    for name in ("a", "b", "c"):
        smooth_video(tmp_path / f"{name}.mp4", 3)
    (tmp_path / "l.csv").write_text("path,label\na.mp4,nod\nb.mp4,nod | wave\nc.mp4,|\n")
    out = tmp_path / "packed"
    assert main(["pack", str(tmp_path / "l.csv"), "--out", str(out)]) == 0
    packed = read_index(out, cells=SeveralLabelCells())
    assert [row.classes for row in packed.rows] == [("nod",), ("nod", "wave"), ()]
