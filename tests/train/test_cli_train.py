"""``videoswin train`` from a folder of videos to a checkpoint that predicts."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny import write_video
from tests.train.helpers import LABELS, figures, make_videos, same, tiny_classifier
from videoswin.classifier.loading import load
from videoswin.cli.main import main
from videoswin.data.dataset import ClipDataset
from videoswin.errors import Interrupted
from videoswin.train.metrics import read_rows
from videoswin.train.recipes import RECIPES


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of four videos in ``data``, a tiny checkpoint in ``ck``."""
    root = tmp_path_factory.mktemp("cli")
    make_videos(root / "data", each=4)
    tiny_classifier().save(root / "ck")
    return root


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def arguments(out: Path | str, *more: str) -> list[str]:
    """A fifth of the clips is held out for good."""
    start = ["--weights", "ck", "--batch-size", "4", "--val-share", "0.2"]
    return ["train", "data", "--out", str(out), *start, *more]


@pytest.fixture(scope="module")
def trained(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs."""
    out = tmp_path_factory.mktemp("trained") / "run"
    before = Path.cwd()
    os.chdir(place)
    try:
        assert main(arguments(out, "--epochs", "2")) == 0
    finally:
        os.chdir(before)
    return out


def test_what_it_writes_can_be_used(trained: Path, capsys: pytest.CaptureFixture[str]):
    assert sorted(path.name for path in trained.iterdir()) == [
        *(".lock", "best", "clips.json", "curves.png", "epoch-001", "epoch-002", "last", "metrics.csv"),
        *("report.html", "settings.toml"),
    ]
    assert len(read_rows(trained / "metrics.csv")) == 2
    video = next(Path("data").glob("wave/*.mp4"))
    assert load(trained / "best")(video).predictions[0].label in LABELS
    assert main(["predict", str(video), "--weights", str(trained / "best")]) == 0
    assert "wave" in capsys.readouterr().out


def test_the_checkpoint_knows_what_it_learnt_from(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    training = load(trained / "best").training
    assert training is not None
    assert (training.start, training.data, training.classes) == ("ck", "data", 2)
    assert training.settings["epochs"] == 2
    assert (training.settings["flip"], training.settings["val_share"]) == (True, 0.2)
    assert "momentum" not in training.settings  # of another optimiser
    assert training.clip_seconds == pytest.approx(10 / 12, abs=0.1)
    assert len(training.sums) == training.clips < 8
    page = (trained / "report.html").read_text(encoding="utf-8")
    assert "validation clips, which chose the epoch" in page
    assert "chosen: " in page
    assert main(["evaluate", "data", "--weights", str(trained / "best"), "--report", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr()
    assert f"the model has learnt from {training.clips} clips of these 8" in said.err
    assert f"of the {8 - training.clips} clip" in said.out
    assert "The model has learnt" in (tmp_path / "page.html").read_text(encoding="utf-8").replace(
        "the model", "The model"
    )


def test_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(arguments(tmp_path / "run", "--epochs", "2")) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split("loss")[0].split() for line in lines[:2]] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert all("held out" in line and "clips/s" in line for line in lines[:2])
    assert lines[2].startswith("Trained 2 epochs, held-out accuracy ")
    assert lines[2].endswith(f"The checkpoint: {tmp_path / 'run' / 'best'}")
    assert len(lines) == 4
    assert "Do not use it yet" in lines[3]  # two epochs on noise
    assert "advice: the epoch was chosen by 2 clips: one clip is 50.0 points" in err
    assert "advice: few clips" in err
    assert "held out for validation" in err
    assert "2 of 2 classes are known" in err
    assert "6 training clips, 6 of them kept in memory" in err


def test_fresh_weights_without_validation(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--model", "swin3d_micro", "--size", "32", "--clip-len", "4", "--epochs", "1", "--val-share", "0"]
    assert main(["train", "data", "--out", str(tmp_path / "run"), *options]) == 0
    assert "Trained 1 epoch. The checkpoint" in capsys.readouterr().out
    classifier = load(tmp_path / "run" / "best")
    assert (classifier.name, classifier.preprocessing.size, classifier.preprocessing.clip_len) == ("run", (32, 32), 4)


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The one line on stderr that matters."""
    assert main(list(command)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


def test_refusals(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "holds a run already" in refused(capsys, *arguments(trained))
    assert "no run to resume" in refused(capsys, *arguments(tmp_path / "new", "--resume"))
    changed = refused(capsys, *arguments(trained, "--epochs", "3", "--resume"))
    assert "the run was begun with --epochs 2, not 3. Go on as it was begun: videoswin train --resume --out" in changed
    other = [word.replace("ck", "ck2") for word in arguments(trained, "--epochs", "2", "--resume")]
    shutil.copytree("ck", "ck2")
    assert f"begun with --weights {Path('ck').resolve()}, not ck2." in refused(capsys, *other)
    more = ("--augment", "gentle", "--clip-len", "8", "--causal", "--folds", "3", "--no-flip", "--workers", "1")
    changed = refused(capsys, *arguments(trained, "--resume", *more))
    assert changed.endswith(
        "the run was begun without --folds 3, without --causal, with --clip-len 4, not 8, with --augment strong, not gentle, "
        f"with --flip, not --no-flip. Go on as it was begun: videoswin train --resume --out {trained}, or give another --out."
    )
    assert "DATA is missing" in refused(capsys, "train", "--out", str(tmp_path / "new"))
    assert "no run to resume" in refused(capsys, "train", "--resume", "--out", str(tmp_path / "new"))
    assert "not both" in refused(capsys, *arguments(tmp_path / "new", "--model", "swin3d_micro"))
    assert f"seed={2**70} must be" in refused(capsys, *arguments(tmp_path / "new", "--seed", str(2**70)))
    assert "epochs=0" in refused(capsys, *arguments(tmp_path / "new", "--epochs", "0"))
    assert 'precision="half"' in refused(capsys, *arguments(tmp_path / "new", "--precision", "half"))
    assert 'augment="strongg"' in refused(capsys, *arguments(tmp_path / "new", "--augment", "strongg"))
    assert not (tmp_path / "new").exists()


def test_resuming_a_finished_run(trained: Path, capsys: pytest.CaptureFixture[str]):
    before = load(trained / "best").model.state_dict()
    assert main(arguments(trained, "--epochs", "2", "--resume")) == 0
    assert "Trained 2 epochs" in capsys.readouterr().out
    assert same(load(trained / "best").model.state_dict(), before)


def test_clips_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for number, label in enumerate(LABELS * 2):
        write_video(tmp_path / "data" / "train" / label / f"{number}.mp4", frames=6, size=(32, 40), seed=number)
        write_video(tmp_path / "data" / "val" / label / f"{number}.mp4", frames=6, size=(32, 40), seed=number)
    (tmp_path / "data" / "train" / "nod" / "0.mp4").write_bytes(b"no video")
    command = ["train", str(tmp_path / "data"), "--weights", "ck", "--out", str(tmp_path / "run"), "--epochs", "1"]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert err.count(str(Path("nod") / "0.mp4")) == 1  # once, with what can be done
    assert err.splitlines()[-1].endswith("Or add --skip-bad, which leaves such clips out and lists them")
    assert main([*command, "--skip-bad"]) == 0
    err = capsys.readouterr().err
    assert main(["train", "--resume", "--out", str(tmp_path / "run")]) == 0
    assert "1 unreadable clip left out" in capsys.readouterr().err
    assert "3 training clips, 3 of them kept in memory" in err
    assert "1 unreadable clip left out" in err
    (tmp_path / "data" / "val" / "wave" / "1.mp4").write_bytes(b"no video")
    line = refused(capsys, *command[:-4], "--out", str(tmp_path / "again"), "--skip-bad")
    assert str(Path("val") / "wave" / "1.mp4") in line
    assert "leaves out no clip of a list's own validation" in line


def test_ctrl_c_saves_and_resume_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """As a terminal does it: the signal goes to the workers too."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    options = ["--epochs", "8"]
    monkeypatch.setattr("videoswin.train.loop.draw_curves", lambda path, rows: None)
    assert main(arguments(whole, "--epochs", "8")) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "videoswin", *arguments(cut, *options, "--workers", "1")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("epoch   1/8")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    last = err.splitlines()[-1]
    assert last.startswith("videoswin: Stopped in epoch ")
    assert "Traceback" not in err
    assert load(cut / "last").labels == LABELS
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)  # where neither the clips nor the start are found by their names
    assert main(["train", "--resume", "--out", "cut"]) == 0
    assert f"going on in epoch {last.split('epoch ')[1].split()[0]}" in capsys.readouterr().err
    assert figures(read_rows(cut / "metrics.csv")) == figures(read_rows(whole / "metrics.csv"))
    assert same(load(cut / "last").model.state_dict(), load(whole / "last").model.state_dict())


# Without anything given ------------------------------------------------------------------------------------------------


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny checkpoint in the place of the bundled start."""
    monkeypatch.setattr("videoswin.train.start.DEFAULT_START", "ck")


@pytest.mark.usefixtures("general")
def test_the_data_and_a_folder_are_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "waves"
    assert main(["train", "data", "--out", str(out), "--epochs", "2"]) == 0
    shown, said = capsys.readouterr()
    assert "8 clips of 2 classes, no groups given" in said
    assert "start: ck" in said
    assert "frames a clip" in said
    assert 'recipe "motion"' in said
    assert "2 of 8 clips are held out to measure" in said
    assert "held out: epoch   2/2" in said
    assert "2 clips: one clip is 50.0 points" in shown
    assert f"The checkpoint: {out / 'best'}" in shown
    classifier = load(out / "best")
    assert (classifier.name, classifier.notes) == ("waves", "Fine-tuned from tiny.")
    assert classifier.metrics["held_out_clips"] == 2
    assert len(read_rows(out / "metrics.csv")) == 2
    assert same(classifier.model.state_dict(), load(out / "last").model.state_dict())  # that of all clips
    assert main(["train", "data", "--out", str(out), "--epochs", "2"]) == 2
    assert "holds a run already" in capsys.readouterr().err


@pytest.mark.usefixtures("general")
def test_no_memory_for_the_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """PyTorch says so with an error of its own, where a clip is resized."""

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(ClipDataset, "prepare", full)
    assert main(["train", "data", "--out", str(tmp_path / "run"), "--epochs", "1"]) == 2
    assert "Memory ran out while clips were read." in capsys.readouterr().err


@pytest.mark.usefixtures("general")
def test_folds_and_a_test_split(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    clips = sorted((place / "data").glob("*/*.mp4"), key=lambda path: int(path.stem))
    lines = [f"{p},{p.parent.name},{'test' if i > 5 else 'train'},{'abcd'[i // 2]}" for i, p in enumerate(clips)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split,group", *lines]) + "\n")
    out = tmp_path / "run"
    command = ["train", str(tmp_path / "list.csv"), "--out", str(out), "--epochs", "1", "--folds", "3"]
    assert main(command) == 0
    shown, said = capsys.readouterr()
    assert [line[:8] for line in shown.splitlines()[:3]] == ["fold 1/3", "fold 2/3", "fold 3/3"]
    assert "of 2 clips of 1 group" in shown
    assert "pooled over 3 folds: accuracy" in shown
    assert "95 % interval" in shown
    assert "most often taken for" in shown
    assert "6 clips in 3 folds (whole groups)" in said
    last = shown.splitlines()[-1]
    assert last.startswith("Once, at the end (2 clips: one clip is 50.0 points):")
    assert last.endswith(f"videoswin evaluate {tmp_path / 'list.csv'} --split test --weights {out / 'best'}")
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert "all epochs were done" in capsys.readouterr().err


@pytest.mark.usefixtures("general")
def test_settings_are_compared_before_a_clip_is_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    command = ["train", "data", "--out", str(tmp_path / "run"), "--epochs", "1"]
    assert main(command) == 0

    def decoded(*_: object) -> None:
        raise AssertionError("a clip was decoded")

    monkeypatch.setattr("videoswin.data.dataset.ClipDataset.prepare", decoded)
    capsys.readouterr()
    assert "begun with --lr 0.001, not 0.1." in refused(capsys, *command, "--lr", "0.1", "--resume")
    shutil.copytree("data", tmp_path / "other")
    next((tmp_path / "other").glob("*/*.mp4")).unlink()
    moved = ["train", str(tmp_path / "other"), "--resume", "--out", str(tmp_path / "run")]
    assert "train_clips '6 clips, list" in refused(capsys, *moved)


@pytest.mark.usefixtures("general")
def test_epochs_that_the_parts_choose_are_those_of_the_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """A recipe of today's version, or another number of devices, may lead to others."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    shutil.copytree("data", tmp_path / "clips")
    recipe = RECIPES["motion"]
    monkeypatch.setattr("videoswin.train.plan.get_recipe", lambda name: dataclasses.replace(recipe, epochs=(3, 3)))
    assert main(["train", str(tmp_path / "clips"), "--out", str(whole), "--device", "cpu"]) == 0

    def stopped(*_: object) -> None:
        raise Interrupted("Stopped.")

    with monkeypatch.context() as patched:
        patched.setattr("videoswin.train.loop.Trainer._finish_epoch", stopped)
        assert main(["train", str(tmp_path / "clips"), "--out", str(cut), "--device", "cpu"]) == 130
    monkeypatch.setattr("videoswin.train.plan.get_recipe", lambda name: recipe)
    capsys.readouterr()
    (tmp_path / "clips").rename(tmp_path / "moved")
    assert "the clips of the run are not there any more" in refused(capsys, "train", "--resume", "--out", str(cut))
    assert main(["train", str(tmp_path / "moved"), "--resume", "--out", str(cut)]) == 0
    assert "epoch   3/3" in capsys.readouterr().err
    assert same(load(cut / "best").model.state_dict(), load(whole / "best").model.state_dict())


@pytest.mark.usefixtures("general")
def test_what_learns_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--epochs", "1", "--val-share", "0", "--adapt", "head"]
    assert main(["train", "data", "--out", str(tmp_path / "run"), *options]) == 0
    assert "head: the head: 34 of " in capsys.readouterr().err
    assert 'adapt="lorra"' in refused(capsys, "train", "data", "--out", str(tmp_path / "new"), "--adapt", "lorra")


def test_library_code_leaves_the_callers_draws_alone(tmp_path: Path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert main(arguments(tmp_path / "run", "--epochs", "1")) == 0
    assert torch.equal(torch.rand(3), expected)
