"""Whole runs of the command on a machine that runs out of things: one clear line, and then --resume ends with the same bits."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.train.helpers import make_videos, same, tiny_classifier
from videoswin.classifier.loading import load

pytestmark = pytest.mark.slow

START = """
import resource, signal, sys
from videoswin.cli.main import main
import torch, matplotlib.figure, videoswin.train.run_page  # before any limit, as most of the memory goes there
torch.set_num_threads(1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
exec(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips in ``data``, a start in ``ck``, an undisturbed run in ``whole``."""
    root = tmp_path_factory.mktemp("limits")
    make_videos(root / "data", each=4)
    tiny_classifier().save(root / "ck")
    done = train(root, root / "whole")
    assert done.returncode == 0, done.stderr
    return root


def train(root: Path, out: Path, *more: str, limit: str = "") -> subprocess.CompletedProcess[str]:
    command = ["train", str(root / "data"), "--weights", str(root / "ck"), "--out", str(out), "--epochs", "4",
               "--batch-size", "2", "--val-share", "0.25", "--device", "cpu", *more]  # fmt: skip
    start = [sys.executable, "-c", START, limit, *command]
    return subprocess.run(start, capture_output=True, text=True, cwd=Path(__file__).parents[2])


def require_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """The last line of stderr says what happened; there is no traceback."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last


def require_same_end(root: Path, out: Path) -> None:
    for name in ("last", "best"):
        assert same(load(out / name).model.state_dict(), load(root / "whole" / name).model.state_dict())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own in memory."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", mount], capture_output=True).returncode
    ):
        pytest.skip("mounting is not allowed here")
    try:
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_full_disk(place: Path, small_disk: Path):
    out = small_disk / "run"
    require_one_line(train(place, out), "cannot be written: the disk is full")
    assert not [path for path in out.rglob("*.safetensors") if not path.stat().st_size]  # nothing that is half there
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    done = train(place, out, "--resume")
    assert done.returncode == 0, done.stderr
    require_same_end(place, out)


def test_a_limit_on_files(place: Path, small_disk: Path):
    """A quota on the number of files."""
    subprocess.run(["mount", "-o", "remount,size=64m,nr_inodes=24", small_disk], check=True)
    out = small_disk / "run"
    require_one_line(train(place, out), "cannot be written: the disk is full")
    subprocess.run(["mount", "-o", "remount,nr_inodes=10000", small_disk], check=True)
    assert train(place, out, "--resume").returncode == 0
    require_same_end(place, out)


def test_a_quota(place: Path, tmp_path: Path):
    """A limit on the size of files, which is met within a write, as a quota on blocks is."""
    out = tmp_path / "run"
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (12000, resource.RLIM_INFINITY))"
    require_one_line(train(place, out, limit=limit), "cannot be written")
    assert train(place, out, "--resume").returncode == 0
    require_same_end(place, out)


def test_a_limit_on_memory(place: Path, tmp_path: Path):
    """Of addresses: what is there at the start and little more. A step of large clips then has no room."""
    out = tmp_path / "run"
    limit = (
        "pages = int(open('/proc/self/statm').read().split()[0]); "
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (48 << 20), resource.RLIM_INFINITY))"
    )
    large = ["--size", "224", "--clip-len", "16"]
    require_one_line(train(place, out, *large, limit=limit), "emory")
    assert train(place, out, *large, "--resume").returncode == 0
    load(out / "best")
