"""What a run survives: another run into its folder, kills at bad moments, clips that change, a machine that runs out of things."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.train.helpers import (
    Recorder,
    figures,
    interrupter,
    make_videos,
    same,
    tiny_classifier,
    tiny_trainer,
    weights,
)
from videoswin.classifier.loading import load
from videoswin.cli.main import main
from videoswin.cli.train_options import TrainOptions, read_options, write_options
from videoswin.data.dataset import ClipDataset
from videoswin.errors import ConfigError, Interrupted, OutputError, TrainingError, WeightsError
from videoswin.train.lock import locked_run
from videoswin.train.loop import Trainer
from videoswin.train.mishaps import as_one_line
from videoswin.train.place import require_place
from videoswin.weights.safetensors import read_tensors

pytestmark = pytest.mark.usefixtures("without_pictures")

HOLD = """
import sys
import time
from pathlib import Path
from videoswin.train.lock import locked_run
with locked_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def other_process(out: Path) -> subprocess.Popen[str]:
    """One that holds the run's lock until its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


# Two runs into one folder ----------------------------------------------------------------------------------------------


def test_two_runs_into_one_folder(videos: Path, tmp_path: Path):
    out = tmp_path / "run"
    other = other_process(out)
    try:
        with pytest.raises(OutputError, match=rf"process {other.pid} on .* is writing this run"):
            tiny_trainer(videos, out).run(Recorder())
        assert [path.name for path in out.iterdir()] == [".lock"]
    finally:
        other.kill()
        other.communicate()
    tiny_trainer(videos, out, epochs=1).run(Recorder())  # a killed process locks nothing


def test_a_lock_is_not_handed_on_to_children(tmp_path: Path):
    """Workers that outlive a killed run for a moment must not keep it from being resumed."""
    out = tmp_path / "run"
    child = os.fork()
    if child == 0:  # takes the lock, leaves a child of its own behind, and dies
        with locked_run(out):
            if os.fork() == 0:
                time.sleep(2)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with locked_run(out):
        pass


def test_blocks_of_one_lock_can_be_nested(tmp_path: Path):
    with locked_run(tmp_path / "run"):
        with locked_run(tmp_path / "run"):
            pass
        other = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path / "run")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    assert "is writing this run" in other.stderr


# Where it stands --------------------------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for out in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / "link"):
        with pytest.raises(OutputError):
            require_place(out, resume=False)
    with pytest.raises(OutputError, match="can be written there"):
        require_place(Path("/proc/run"), resume=False)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_occupied_place(tmp_path: Path):
    (tmp_path / "run" / "last").mkdir(parents=True)
    (tmp_path / "run" / "last" / "photo.jpg").write_text("precious")
    with pytest.raises((WeightsError, ConfigError)):
        require_place(tmp_path / "run", resume=False)


def test_nothing_is_made_by_asking(tmp_path: Path):
    require_place(tmp_path / "a" / "b", resume=False)
    assert list(tmp_path.iterdir()) == []


# Kills -------------------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As a ``kill -9``."""


def test_no_dead_end_between_the_metrics_and_the_first_state(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Then there is something to lose and nothing to go on from: --resume begins again, with the same end."""
    monkeypatch.chdir(tmp_path)
    tiny_classifier().save("ck")
    command = ["train", str(videos), "--weights", "ck", "--epochs", "2", "--batch-size", "4", "--val-share", "0.25"]
    assert main([*command, "--out", "whole"]) == 0

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("videoswin.train.loop.draw_curves", die)
        with pytest.raises(Killed):
            main([*command, "--out", "cut"])
    assert Path("cut", "metrics.csv").is_file()
    assert not Path("cut", "last").exists()
    assert main([*command, "--out", "cut"]) == 2
    assert "holds a run already. Go on with it by --resume" in capsys.readouterr().err
    assert main([*command, "--out", "cut", "--resume"]) == 0
    assert same(load("cut/last").model.state_dict(), load("whole/last").model.state_dict())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_validation(whole, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    """Is not waited with until the validation is over, and the epoch's steps are not lost."""
    trainer = tiny_trainer(videos, tmp_path / "run")
    asked = []
    logits = trainer._logits

    def signalled(model: torch.nn.Module, clips: torch.Tensor) -> torch.Tensor:
        if not trainer.model.training and not asked:
            asked.append(True)
            os.kill(os.getpid(), number)
        return logits(model, clips)

    monkeypatch.setattr(trainer, "_logits", signalled)
    with pytest.raises(Interrupted, match="epoch 1 before its validation"):
        trainer.run(Recorder())
    second = tiny_trainer(videos, tmp_path / "run")
    second.resume()
    assert (second.progress.epoch, second.progress.step) == (0, 3)
    assert figures(second.run(Recorder())) == figures(whole[1])
    assert same(weights(second), weights(whole[0]))


def test_saved_within_an_epoch(whole, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainer = tiny_trainer(videos, tmp_path / "run", save_every=1e-9)

    def die(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        trainer.run(Recorder((2, 3), die))
    second = tiny_trainer(videos, tmp_path / "run")
    second.resume()
    assert (second.progress.epoch, second.progress.step) == (1, 2)
    assert figures(second.run(Recorder())) == figures(whole[1])
    assert same(weights(second), weights(whole[0]))


@pytest.mark.parametrize(
    "settings",
    [
        {"accumulate": 2, "batch_size": 2},
        {"ema": 0.9},
        {"mixup": 0.8, "cutmix": 1.0},
        {"repeat": 2},
        {"balance": "sampling"},
        {"precision": "fp16"},
        {"layer_decay": 0.7, "parameter_rule": "official", "schedule": "epoch"},
        {"checkpointing": True},
        {"optimizer": "sgd", "lr": 1e-2, "schedule": "drops", "lr_drops": (0.5,)},
    ],
)
def test_every_setting_is_resumed_to_the_bit(videos: Path, tmp_path: Path, settings: dict):
    first = tiny_trainer(videos, tmp_path / "whole", **settings)
    rows = first.run(Recorder())
    with pytest.raises(Interrupted):
        tiny_trainer(videos, tmp_path / "cut", **settings).run(interrupter(2, 1))
    second = tiny_trainer(videos, tmp_path / "cut", **settings)
    torch.manual_seed(4)
    second.resume()
    assert figures(second.run(Recorder())) == figures(rows)
    assert same(weights(first), weights(second))
    for name in ("best", "last"):
        files = [read_tensors(trainer.out / name / "model.safetensors") for trainer in (first, second)]
        assert same(*files)


# Clips that change ------------------------------------------------------------------------------------------------------


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A run that was stopped, in ``run``, on clips of its own, in ``data``."""
    videos = make_videos(tmp_path / "data")
    with pytest.raises(Interrupted):
        tiny_trainer(videos, tmp_path / "run").run(interrupter(2, 1))
    return tmp_path


def test_a_clip_that_was_replaced(cut: Path):
    """Also by one of the same size, with the old times put back."""
    clip = cut / "data" / "nod" / "2.mp4"
    before = clip.stat()
    content = bytearray(clip.read_bytes())
    content[len(content) // 2] ^= 1
    clip.write_bytes(content)
    os.utime(clip, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(WeightsError, match=r"1 clip holds something else.*2\.mp4 \(the same size, other bytes\)"):
        tiny_trainer(cut / "data", cut / "run").resume()


def test_a_held_out_clip_that_grew(cut: Path):
    clip = cut / "data" / "wave" / "11.mp4"
    size = clip.stat().st_size
    with clip.open("ab") as file:
        file.write(b"\0" * 8)
    with pytest.raises(WeightsError, match=rf"11\.mp4 \({size} -> {size + 8} bytes\)"):
        tiny_trainer(cut / "data", cut / "run").resume()


def test_clips_that_were_only_touched_or_copied(cut: Path):
    for clip in (cut / "data").glob("*/*.mp4"):
        content = clip.read_bytes()
        clip.unlink()
        clip.write_bytes(content)
    tiny_trainer(cut / "data", cut / "run").resume()


def test_a_damaged_note_on_the_clips(cut: Path):
    (cut / "run" / "clips.json").write_text("{")
    with pytest.raises(WeightsError, match="damaged"):
        tiny_trainer(cut / "data", cut / "run").resume()


# The machine --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "ended by SIGKILL in epoch 1.*--resume"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "ended unexpectedly.*--resume"),
        (RuntimeError("DataLoader timed out after 300 seconds"), "gave nothing for minutes"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "Memory ran out.*--batch-size"),
        (MemoryError(), "Memory ran out in epoch 1"),
        (OSError(12, "Cannot allocate memory"), "Memory ran out"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "Memory ran out"),
        (RuntimeError("unable to write to file </torch_1_2>: No space left on device (28)"), "/dev/shm.*--workers 0"),
    ],
)  # fmt: skip
def test_mishaps_are_one_line(error: Exception, words: str):
    with pytest.raises(TrainingError, match=words) as found, as_one_line(lambda: "in epoch 1"):
        raise error
    assert "\n" not in str(found.value)


def test_other_errors_stay_what_they_are():
    with pytest.raises(ValueError, match="mine"), as_one_line(lambda: ""):
        raise ValueError("mine")


def test_a_killed_worker(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read = ClipDataset.__getitem__

    def killed(clips: ClipDataset, index: int) -> object:
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(clips, index)

    monkeypatch.setattr(ClipDataset, "__getitem__", killed)
    with pytest.raises(TrainingError, match="A process that prepares clips"):
        tiny_trainer(videos, tmp_path / "run", workers=1).run(Recorder())


def test_a_full_disk(videos: Path, tmp_path: Path):
    """A limit on the size of files is met where a full disk would be: within a write."""
    script = """
import resource, signal, sys
from pathlib import Path
from tests.train.helpers import tiny_trainer, Recorder
from videoswin.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
trainer = tiny_trainer(Path(sys.argv[1]), Path(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
try:
    trainer.run(Recorder())
except OutputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, videos, tmp_path / "run"], capture_output=True, text=True)
    assert done.stdout.count("\n") == 1, done.stderr
    assert "cannot be written" in done.stdout


# Settings in a file -------------------------------------------------------------------------------------------------------


def test_settings_of_a_run_make_the_same_run(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    tiny_classifier().save("ck")
    command = ["train", str(videos), "--weights", "ck", "--val-share", "0.25"]
    changes = [
        "--epochs",
        "2",
        "--batch-size",
        "3",
        "--lr",
        "1e-3",
        "--ema",
        "0.9",
        "--cutmix",
        "1",
        "--augment",
        "gentle",
    ]
    assert main([*command, *changes, "--out", "one"]) == 0
    assert main(["train", str(videos), "--config", "one/settings.toml", "--out", "two"]) == 0
    assert same(load("one/last").model.state_dict(), load("two/last").model.state_dict())
    first, second = (Path(name, "settings.toml").read_text().split("\n", 1)[1] for name in ("one", "two"))
    assert first == second
    assert main(["train", str(videos), "--config", "one/settings.toml", "--out", "three", "--lr", "1e-4"]) == 0
    assert read_options(Path("three/settings.toml")).lr == 1e-4


def test_a_plan_writes_nothing(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    tiny_classifier().save("ck")
    options = ["--weights", "ck", "--batch-size", "2", "--accumulate", "3", "--epochs", "4", "--val-share", "0"]
    monkeypatch.setattr("videoswin.train.estimate._LONGEST", float("inf"))
    assert main(["train", str(videos), "--out", "run", "--plan", *options]) == 0
    out, err = capsys.readouterr()
    assert "6 = 1 device x batch 2 x accumulate 3" in out
    assert "8 in 1 run of 4 epochs" in out
    assert "about" in out
    assert "by 1 step of" in out
    assert "measuring one clip of 4 frames of 16 x 16 pixels, forward and backward, on cpu" in err
    assert "now whole steps" in err
    assert "accumulate = 3" in err
    assert not Path("run").exists()
    monkeypatch.setattr("videoswin.train.estimate._LONGEST", 0.0)  # a large model
    taken: list[int] = []
    real = Trainer.learn
    monkeypatch.setattr(
        Trainer, "learn", lambda self, step, batches: (taken.append(len(step[0].draws)), real(self, step, batches))[1]
    )
    assert main(["train", str(videos), "--out", "run", "--plan", *options]) == 0
    out, err = capsys.readouterr()
    assert "without waiting for a step" in out
    assert "a step is reckoned from that" in err
    assert taken == [1, 1, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr = 'x'", "lr = 'x' must be a number"),
        ("epochs = 1.5", "epochs = 1.5 must be a whole number"),
        ("learning = 1", 'no setting "learning"'),
        ("lr = ", "no TOML"),
        ("causal = 1", "causal = 1 must be true or false"),
    ],
)
def test_settings_that_cannot_be_right(tmp_path: Path, text: str, words: str):
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_options(tmp_path / "settings.toml")


def test_what_is_written_is_what_is_read(tmp_path: Path):
    values = {"name": 'a "b" \\ é', "lr": 1e-4, "epochs": 3, "causal": True, "flip": False}
    write_options(tmp_path / "x.toml", values, "one\ntwo", {"data": "clips", "limits": None})
    assert read_options(tmp_path / "x.toml") == TrainOptions(**values)  # type: ignore[arg-type]


def test_options_given_win():
    given, kept = TrainOptions(lr=1.0, flip=False), TrainOptions(lr=2.0, flip=True, epochs=3, causal=True)
    assert given.over(kept) == TrainOptions(lr=1.0, flip=False, epochs=3, causal=True)
