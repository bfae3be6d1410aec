"""Two processes do what one does with twice the accumulation. Processes of their own, over gloo."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from videoswin.errors import ConfigError
from videoswin.train.order import class_shares, epoch_order, steps_of
from videoswin.train.processes import Processes, joined
from videoswin.weights.safetensors import read_tensors


def run(videos: Path, out: Path, processes: int, strategy: str = "ddp", stop_at: int = 0) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", str(port)]
    command = [sys.executable, *(start if processes > 1 else []), "-m", "tests.train.two_processes"]
    done = subprocess.run(
        [*command, str(videos), str(out), strategy, str(stop_at)],
        capture_output=True, text=True, cwd=Path(__file__).parent.parent.parent, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(Path(f"{out}.json").read_text())


def near(left: Any, right: Any) -> None:
    torch.testing.assert_close(torch.tensor(left), torch.tensor(right), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_are_one(videos: Path, tmp_path: Path, strategy: str):
    one = run(videos, tmp_path / "one", 1)
    two = run(videos, tmp_path / "two", 2, strategy)
    assert len(one["losses"]) == 20
    near(one["losses"], two["losses"])
    near(one["rows"], two["rows"])  # held-out clips are counted once
    for name in ("best", "last"):
        left, right = (read_tensors(tmp_path / run / name / "model.safetensors") for run in ("one", "two"))
        for key, value in left.items():
            torch.testing.assert_close(value, right[key], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_resumed_with_another_number_of_processes(videos: Path, tmp_path: Path):
    one = run(videos, tmp_path / "one", 1)
    first = run(videos, tmp_path / "cut", 2, "ddp", stop_at=4)
    assert len(first["losses"]) == 8  # the processes agree on the stop at the end of the next step
    second = run(videos, tmp_path / "cut", 1, "ddp", stop_at=7)
    third = run(videos, tmp_path / "cut", 2, "fsdp")
    near(first["losses"] + second["losses"] + third["losses"], one["losses"])
    near(third["rows"], one["rows"])


# How steps are shared -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("clips", [8, 13, 24])
def test_every_clip_is_in_one_batch_of_one_process(clips: int, world: int):
    order = epoch_order(clips, 0, 3)
    shares = [steps_of(order, 2, 6, rank, world) for rank in range(world)]
    for step, of_all in enumerate(zip(*shares, strict=True)):
        assert len({len(batches) for batches in of_all}) == 1
        real = [batch for batches in of_all for batch in batches if batch.share]
        assert sum(batch.share for batch in real) == pytest.approx(1)
        drawn = sorted(draw for batch in real for draw in batch.draws)
        assert drawn == sorted(order[12 * step : 12 * step + 12])
        assert sorted(batch.number for batch in real) == list(range(len(real)))


def test_orders():
    assert sorted(epoch_order(5, 0, 0)) == [(i, 0) for i in range(5)]
    repeated = epoch_order(5, 0, 0, repeat=3)
    assert sorted(repeated) == [(i, copy) for i in range(5) for copy in range(3)]
    assert all(len({index for index, _ in repeated[i : i + 3]}) == 1 for i in range(0, 15, 3))


def test_rare_classes_are_shown_as_often():
    labels = [("rare",)] * 20 + [("common",)] * 380
    drawn = [index for epoch in range(20) for index, _ in epoch_order(400, 0, epoch, class_shares(labels))]
    share = sum(index < 20 for index in drawn) / len(drawn)
    assert abs(share - 0.5) < 0.03
    one = epoch_order(400, 0, 0, class_shares(labels))
    assert len(set(one)) == 400  # a clip that is drawn twice is varied twice


def test_one_process_needs_no_group():
    with joined("ddp", torch.device("cpu")) as processes:
        assert (processes.rank, processes.world, processes.first) == (0, 1, True)
        assert processes.sum([1.0, 2.0]) == [1.0, 2.0]
        assert processes.gather([3]) == [3]
    with pytest.raises(ConfigError, match="torchrun"), joined("fsdp", torch.device("cpu")):
        pass
    assert not Processes().shares
