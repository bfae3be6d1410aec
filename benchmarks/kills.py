"""Runs that are killed (``kill -9``) at random moments, resumed, killed again, and compared with undisturbed ones, bit for bit.

    python benchmarks/kills.py --kills 50

Whole runs of ``videoswin train``: reading the clips, folds, saves and all. Each process is a fork of this one, so that a kill
falls into the run and not into the import of PyTorch.
"""

import argparse
import importlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch

from videoswin.classifier.classifier import Classifier
from videoswin.cli.main import main
from videoswin.data.preprocessing import Preprocessing
from videoswin.model import SwinConfig, create_model
from videoswin.weights.safetensors import read_tensors

KINDS = {
    "plain, workers 0": ["--val-share", "0.25"],
    "plain, workers 2": ["--val-share", "0.25", "--workers", "2"],
    "EMA, accumulation, workers 0": ["--val-share", "0.25", "--ema", "0.9", "--accumulate", "2"],
    "EMA, accumulation, workers 2": ["--val-share", "0.25", "--ema", "0.9", "--accumulate", "2", "--workers", "2"],
    "2 folds, EMA, MixUp, workers 0": ["--folds", "2", "--ema", "0.9", "--mixup", "0.8"],
    "saved within epochs, workers 2": ["--val-share", "0.25", "--save-every", "0.001", "--workers", "2"],
}
CONFIG = SwinConfig(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 3, 3), num_classes=2, drop_path=0.3)


def write_clips(root: Path) -> None:
    for number in range(12):
        path = root / ("nod", "wave")[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = np.random.default_rng(number).integers(0, 256, (10, 32, 40, 3), dtype=np.uint8)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=12)
            stream.width, stream.height, stream.pix_fmt = 40, 32, "yuv420p"
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))


def in_child(arguments: list[str], after_s: float | None) -> tuple[bool, int]:
    """Runs the command in a process that is killed after so long. Whether it was, and its exit code."""
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            os._exit(main(arguments))
    if after_s is not None:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1


def same_end(left: Path, right: Path) -> bool:
    """The bits of the checkpoints and of the optimiser."""
    for name in ("best/model.safetensors", "last/model.safetensors", "last/optimizer.safetensors"):
        one, two = read_tensors(left / name), read_tensors(right / name)
        if one.keys() != two.keys() or not all(torch.equal(one[key], two[key]) for key in one):
            return False
    return True


def torture(root: Path, options: list[str], kills: int, draw: random.Random) -> tuple[int, int, int]:
    """Kills, runs, and runs that ended with the bits of the undisturbed one."""
    command = [
        "train",
        str(root / "data"),
        "--weights",
        str(root / "ck"),
        "--epochs",
        "3",
        "--batch-size",
        "2",
        *options,
    ]
    began = time.monotonic()
    if in_child([*command, "--out", str(root / "whole")], None)[1] != 0:
        sys.exit("the undisturbed run failed")
    seconds = time.monotonic() - began
    done, runs, right = 0, 0, 0
    while done < kills:
        out = root / f"run{runs}"
        while True:
            resume = ["--resume"] if (out / "settings.toml").is_file() or (out / "metrics.csv").exists() else []
            wanted = done < kills
            killed, code = in_child(
                [*command, "--out", str(out), *resume], draw.uniform(0, 0.9 * seconds) if wanted else None
            )
            if not killed:
                break
            done += 1
        runs += 1
        right += code == 0 and same_end(root / "whole", out)
    return done, runs, right


def run() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds of runs with this text in their name")
    arguments = parser.parse_args()
    kinds = {name: options for name, options in KINDS.items() if arguments.only in name}
    torch.set_num_threads(1)
    for module in ("matplotlib.figure", "videoswin.train.folds", "videoswin.train.advice", "videoswin.cli.watch"):
        importlib.import_module(module)  # once, not in every child
    draw = random.Random(arguments.seed)
    print("| run | kills | runs | with the bits of the undisturbed run |\n| --- | --- | --- | --- |", flush=True)
    for number, (name, options) in enumerate(kinds.items()):
        share = arguments.kills * (number + 1) // len(kinds) - arguments.kills * number // len(kinds)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_clips(root / "data")
            torch.manual_seed(0)
            preprocessing = Preprocessing(clip_len=4, sampling="uniform", size=(16, 16), short_side=16)
            Classifier(create_model(CONFIG), preprocessing, ("nod", "wave"), name="tiny").save(root / "ck")
            kills, runs, right = torture(root, options, share, draw)
        print(f"| {name} | {kills} | {runs} | {right} |", flush=True)


if __name__ == "__main__":
    run()
