"""The engine for clusters: the same table. The bookkeeping with a Ray that is played, the rest (slow) with a real one."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.batch.test_batch import ROOT, children, table
from tests.batch.toy import Toy
from videoswin.batch.manifest import read_manifest
from videoswin.batch.on_ray import _cluster, run_parts_on_ray
from videoswin.batch.place import Folder
from videoswin.batch.run import plan_batch, run_batch
from videoswin.errors import ConfigError, MissingExtraError, VideoSwinError

pq = pytest.importorskip("pyarrow.parquet")


class Death(BaseException):
    """Of an actor, in the middle of a call."""


class PlayedRay(ModuleType):
    """Actors are objects of this process; a call runs when it is waited for, the latest actor's first."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.__spec__ = ModuleSpec("ray", None)
        self.exceptions = SimpleNamespace(RayActorError=type("RayActorError", (Exception,), {}))
        self.alive: list[Any] = []
        self.most = 0

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def remote(self, **options: Any) -> Any:
        def start(kind: type, *arguments: Any) -> Any:
            held = kind(*arguments)
            actor = SimpleNamespace()
            for name in ("open", "try_one", "part"):
                call = SimpleNamespace(remote=lambda *given, name=name: (getattr(held, name), given))
                setattr(actor, name, call)
            self.alive.append(actor)
            self.most = max(self.most, len(self.alive))
            return actor

        return lambda kind: SimpleNamespace(remote=lambda *arguments: start(kind, *arguments))

    def kill(self, actor: Any) -> None:
        self.alive.remove(actor)

    def wait(self, calls: list[Any]) -> tuple[list[Any], list[Any]]:
        return calls[-1:], calls[:-1]

    def get(self, call: Any) -> Any:
        method, given = call
        try:
            return method(*given)
        except Death as death:
            raise self.exceptions.RayActorError("The actor died.") from death


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> PlayedRay:
    ray = PlayedRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    return ray


class Mortal(Toy):
    """Dies where Toy kills its process, and every twentieth time anyway."""

    calls = 0

    def try_one(self, path: str) -> None:
        Mortal.calls += 1
        if "deadly" in path or Mortal.calls % 20 == 19:
            raise Death

    def open(self) -> Toy:
        return self


def test_actors_that_die_change_no_byte(names: Path, undisturbed: Path, tmp_path: Path, played: PlayedRay) -> None:
    notices: list[str] = []
    work = Mortal()
    with plan_batch(tmp_path / "out", read_manifest([str(names)]), Toy(), "toy", 8) as plan:
        outcome = run_batch(plan, work, None, notice=notices.append, engine=run_parts_on_ray)
    assert outcome.failed == 12
    assert len(notices) > 5
    assert table(tmp_path / "out") == table(undisturbed)
    assert played.alive == []
    assert played.most == 2


def test_a_file_that_kills_actors_becomes_a_row(tmp_path: Path, played: PlayedRay) -> None:
    source = tmp_path / "list.txt"
    source.write_text("a.mp4\ndeadly.mp4\nb.mp4\n")
    Mortal.calls = 100
    with plan_batch(tmp_path / "out", read_manifest([str(source)]), Mortal(), "toy", 8) as plan:
        assert run_batch(plan, Mortal(), None, engine=run_parts_on_ray).failed == 1
    found = pq.read_table(tmp_path / "out" / "table").to_pydict()
    assert [error is None for error in found["error"]] == [True, False, True]
    assert "dies each time" in found["error"][1]


def test_what_every_actor_runs_into_is_said_once(names: Path, tmp_path: Path, played: PlayedRay) -> None:
    class Broken(Toy):
        def open(self) -> Toy:
            raise VideoSwinError("no such checkpoint")

    class Stillborn(Toy):
        def open(self) -> Toy:
            raise Death

    for work, words in ((Broken(), "no such checkpoint"), (Stillborn(), "before they begin")):
        with (
            plan_batch(tmp_path / words, read_manifest([str(names)]), Toy(), "toy", 8) as plan,
            pytest.raises(VideoSwinError, match=words),
        ):
            run_batch(plan, work, 2, engine=run_parts_on_ray)
    assert played.alive == []


def test_a_cluster_that_is_named_has_to_answer(played: PlayedRay, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one of this machine's own is not started without a word."""
    began: list[str] = []

    def init(address: str, **options: object) -> None:
        if address == "auto":
            raise ConnectionError
        began.append(address)

    for name, value in (("init", init), ("is_initialized", lambda: False), ("shutdown", lambda: None)):
        monkeypatch.setattr(played, name, value, raising=False)
    notices: list[str] = []
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(ConfigError, match="no Ray cluster answers there"), _cluster(2, notices.append):
        pass
    assert began == []
    monkeypatch.delenv("RAY_ADDRESS")
    with _cluster(2, notices.append):
        assert began == ["local"]
    assert notices == ["no Ray cluster runs here; one is started on this machine for the batch."]


def test_machines_that_do_not_share_the_folder_are_noticed(
    names: Path,
    tmp_path: Path,
    played: PlayedRay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Folder, "put_part", lambda self, name, content: None)
    with (
        plan_batch(tmp_path / "out", read_manifest([str(names)]), Toy(), "toy", 8) as plan,
        pytest.raises(ConfigError, match="all machines share"),
    ):
        run_batch(plan, Toy(), 2, engine=run_parts_on_ray)


def test_without_ray_a_hint_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from videoswin.batch import on_ray

    def missing(*words: str) -> None:
        raise MissingExtraError(f"{words[2]} {words[0]}, videoswin[{words[1]}]")

    monkeypatch.setattr(on_ray, "require_extra", missing)
    with pytest.raises(MissingExtraError, match=r"needs ray, videoswin\[ray\]"):
        on_ray.require_ray()


# With Ray itself ------------------------------------------------------------------------------------------------------


@pytest.fixture
def real() -> Iterator[dict[str, str]]:
    """The environment of a driver; Ray's own folder has a short name, since sockets lie in it."""
    pytest.importorskip("ray")
    folder = tempfile.mkdtemp(prefix="r")
    paths = f"{ROOT / 'src'}:{ROOT}"
    yield {**os.environ, "PYTHONPATH": paths, "RAY_TMPDIR": folder, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    shutil.rmtree(folder, ignore_errors=True)


def actors(driver: int) -> list[int]:
    """Processes of the batch in the cluster that a driver started."""
    found = []
    for raylet in children(driver):
        for pid in children(raylet):
            try:
                title = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::_Hands"):
                found.append(pid)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_kills_on_a_cluster_change_no_byte(
    names: Path, undisturbed: Path, tmp_path: Path, real: dict[str, str]
) -> None:
    """Two actors; one is killed, then the other, then the driver; the same command goes on."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tests.batch.toy", str(names), str(out), "ray"]
    chance = random.Random(0)
    driver = subprocess.Popen(command, cwd=ROOT, env=real)
    killed, most = 0, 0
    while killed < 2 and driver.poll() is None:
        time.sleep(chance.uniform(0.05, 0.3))
        alive = actors(driver.pid)
        most = max(most, len(alive))
        if len(alive) == 2 and len(list((out / "table").glob("[!.]*"))) > 2 * killed:
            os.kill(alive[killed % 2], signal.SIGKILL)
            killed += 1
    left = len(list((out / "table").glob("[!.]*")))
    driver.kill()
    driver.wait()
    assert (killed, most) == (2, 2)
    assert left < 25, "the kill came too late to mean anything"
    subprocess.run(command, cwd=ROOT, env=real, check=True, timeout=600)
    assert table(out) == table(undisturbed)
    assert sorted(pq.read_table(out / "table").to_pydict()["row"]) == list(range(200))
