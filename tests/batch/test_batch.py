"""A batch ends with the same bytes however often it is killed, and with a reason for each file that failed."""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.batch.toy import run
from tests.tiny import tiny_classifier, write_video
from videoswin.batch.manifest import read_manifest
from videoswin.batch.place import place_of
from videoswin.batch.run import plan_batch, run_batch, weights_digest
from videoswin.batch.work import Label
from videoswin.cli.main import main
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, OutputError, VideoSwinError
from videoswin.predict.scoring import predict

pq = pytest.importorskip("pyarrow.parquet")
ROOT = Path(__file__).parent.parent.parent


def table(out: Path) -> dict[str, bytes]:
    """Every file that a reader of the table sees."""
    return {path.name: path.read_bytes() for path in sorted((out / "table").glob("[!.]*"))}


def test_every_file_is_there_once_with_its_reason(names: Path, undisturbed: Path, tmp_path: Path) -> None:
    outcome = run(names, tmp_path / "out")
    found = pq.read_table(tmp_path / "out" / "table").to_pydict()
    assert sorted(found["row"]) == list(range(200))
    assert outcome.failed == sum(error is not None for error in found["error"]) == 12
    assert all("it is bad" in error for error in found["error"] if error)
    again = run(names, tmp_path / "out")
    assert (again.resumed, again.failed) == (200, 12)
    assert table(tmp_path / "out") == table(undisturbed)


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.parent.name))
    return found


def workers_of(driver: int) -> list[int]:
    """Its children but the one that looks after resources."""
    found = []
    for pid in children(driver):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in words:
            found.append(pid)
    return found


def kill_and_restart(names: Path, out: str | Path, kills: int, seed: int, pause_s: float = 0.004) -> int:
    """Kill workers, drivers or all of them at random moments; gives how many were killed before the batch was done.

    Args:
        pause_s: how long a file takes; the longer, the later the batch is done by itself.
    """
    chance, done = random.Random(seed), 0
    while True:
        command = [sys.executable, "-m", "tests.batch.toy", str(names), str(out), str(pause_s)]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        driver = subprocess.Popen(command, cwd=ROOT, env=environment)
        whom = "nobody"
        while driver.poll() is None and done < kills and whom in ("nobody", "worker"):
            time.sleep(chance.uniform(0.02, 0.8))
            whom = chance.choice(["worker", "driver", "all"])
            workers = workers_of(driver.pid)
            victims = {
                "worker": chance.sample(workers, min(1, len(workers))),
                "driver": [driver.pid],
                "all": [driver.pid, *workers],
            }[whom]
            for pid in victims:
                try:
                    os.kill(pid, signal.SIGKILL)
                    done += 1
                except ProcessLookupError:
                    pass
        if driver.wait() == 0:
            return done
        assert driver.returncode == -signal.SIGKILL or done == 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_kills_at_any_moment_change_no_byte(names: Path, undisturbed: Path, tmp_path: Path) -> None:
    assert kill_and_restart(names, tmp_path / "out", 4, seed=0) >= 1
    assert_same(tmp_path / "out", undisturbed)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("place", ["folder", "store"])
def test_fifty_kills_change_no_byte(names: Path, undisturbed: Path, tmp_path: Path, place: str) -> None:
    """Slowly enough that all of them come before the end."""
    out = tmp_path / "out"
    assert kill_and_restart(names, f"bucket://{out}" if place == "store" else out, 50, 1, pause_s=0.08) >= 50
    assert_same(out, undisturbed)


def assert_same(out: Path, undisturbed: Path) -> None:
    """No file lost, none twice, and the same bytes, whatever the names of the parts say of failures."""
    assert sorted(pq.read_table(out / "table").to_pydict()["row"]) == list(range(200))
    assert list(table(out).values()) == list(table(undisturbed).values())


def test_a_part_that_is_not_whole_is_not_seen(names: Path, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    folder = tmp_path / "out" / "table"
    first = min(folder.glob("[!.]*"))
    half = folder / f".{first.name}.abcd1234.new"
    half.mkdir()
    (half / first.name).write_bytes(first.read_bytes()[:50])
    first.unlink()
    assert len(pq.read_table(folder)) == 192
    assert 0 not in place_of(tmp_path / "out").parts()
    run(names, tmp_path / "out")
    assert not half.exists()
    assert table(tmp_path / "out") == table(undisturbed)


def test_a_file_that_kills_becomes_a_row(tmp_path: Path) -> None:
    source = tmp_path / "list.txt"
    source.write_text("a.mp4\ndeadly.mp4\nbad.mp4\nb.mp4\n")
    outcome = run(source, tmp_path / "out", part_rows=3)
    found = pq.read_table(tmp_path / "out" / "table").sort_by("row").to_pydict()
    assert outcome.failed == 2
    assert "dies each time" in found["error"][1]
    assert [path for path, error in zip(found["path"], found["error"], strict=True) if error is None] == [
        str(tmp_path / "a.mp4"),
        str(tmp_path / "b.mp4"),
    ]


def test_workers_end_with_their_driver(names: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-m", "tests.batch.toy", str(names), str(tmp_path / "out")]
    driver = subprocess.Popen(command, cwd=ROOT, env=environment)
    while driver.poll() is None and not list((tmp_path / "out" / "table").glob("[!.]*")):
        time.sleep(0.01)
    workers = children(driver.pid)
    driver.kill()
    driver.wait()
    until = time.monotonic() + 300  # patience for a busy machine
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_another_batch_and_other_things_are_left_alone(names: Path, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "out")
    with pytest.raises(ConfigError, match="part_rows 8 -> 9"):
        run(names, tmp_path / "out", part_rows=9)
    (tmp_path / "other.txt").write_text("other.mp4\n")
    with pytest.raises(ConfigError, match="another batch"):
        run(tmp_path / "other.txt", tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(OutputError, match="something else"):
        run(names, tmp_path / "mine")


def test_two_drivers_do_not_share_a_batch(names: Path, tmp_path: Path) -> None:
    manifest, work = read_manifest([str(names)]), Label("none")
    caught: list[Exception] = []

    def second() -> None:
        try:
            with plan_batch(tmp_path / "out", manifest, work, "", 8):
                pass
        except ConfigError as error:
            caught.append(error)

    with plan_batch(tmp_path / "out", manifest, work, "", 8):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "another process" in str(caught[0])


def test_lists(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text('path,label\na.mp4,x\n"b, c.mp4",y\na.mp4,x\ns3://bucket/k.mp4,z\n')
    found = read_manifest([str(tmp_path / "l.csv")])
    assert found.paths == (str(tmp_path / "a.mp4"), str(tmp_path / "b, c.mp4"), "s3://bucket/k.mp4")
    assert found.repeated == 1
    (tmp_path / "l.csv").write_text("a.mp4,x\n")
    with pytest.raises(ConfigError, match="Put the line path"):
        read_manifest([str(tmp_path / "l.csv")])
    (tmp_path / "l.csv").write_text('label,path\r\nx,"a,\u2028.mp4"\r\n\r\n,\r\n,b.mp4')
    assert read_manifest([str(tmp_path / "l.csv")]).paths == (str(tmp_path / "a,\u2028.mp4"), str(tmp_path / "b.mp4"))
    (tmp_path / "l.csv").write_text("label,path\nx,a.mp4\nx,\ny\n")
    with pytest.raises(ConfigError, match="lines 3, 4 have no path"):
        read_manifest([str(tmp_path / "l.csv")])
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ConfigError, match="names no files"):
        read_manifest([str(tmp_path / "empty.txt")])


def test_a_million_rows_are_planned_without_opening_one(tmp_path: Path) -> None:
    """Counts, not seconds: benchmarks/batch.py has those."""
    source = tmp_path / "l.csv"
    source.write_text("path\n" + "".join(f"/v/{n}.mp4\n" for n in range(50_000)))
    with plan_batch(tmp_path / "out", read_manifest([str(source)]), Label("none"), "", 128) as plan:
        assert plan.parts == 391
        assert sum(len(files) for _, files in plan.left()) == 50_000
        assert multiprocessing.active_children() == []


def test_labels_are_those_of_predict(tmp_path: Path) -> None:
    preprocessing = Preprocessing(clip_len=8, sampling="time", fps=6, size=(32, 32), short_side=32)
    classifier = tiny_classifier(preprocessing=preprocessing)
    classifier.save(tmp_path / "m")
    videos = [write_video(tmp_path / "v" / f"{n}.mp4", frames=30, seed=n) for n in range(3)]
    (tmp_path / "v" / "broken.mp4").write_bytes(b"nothing")
    address = videos[0].as_uri()  # as of an object store, through fsspec
    arguments = [str(tmp_path / "v"), address, "--weights", str(tmp_path / "m"), "--out", str(tmp_path / "out")]
    assert main(["batch", *arguments, "--keep-features", "--keep-timeline", "--workers", "1"]) == 1
    found = pq.read_table(tmp_path / "out" / "table").to_pylist()
    assert [Path(row["path"]).name for row in found] == ["0.mp4", "1.mp4", "2.mp4", "broken.mp4", "0.mp4"]
    for row, video in zip(found, videos, strict=False):
        expected = predict(classifier, video, top_k=5)
        assert row["error"] is None
        assert row["label"] == expected.label
        for mine, theirs in zip(row["predictions"], expected.predictions, strict=True):
            assert mine["label"] == theirs.label
            assert mine["score"] == pytest.approx(theirs.score, abs=2e-6)
        assert len(row["features"]) == 16
        assert isinstance(row["segments"], list)
    assert "broken.mp4" in found[3]["error"]
    assert found[4]["predictions"] == found[0]["predictions"]
    assert main(["batch", *arguments, "--keep-features", "--keep-timeline"]) == 1  # nothing is left, and one had failed


def test_a_checkpoint_that_cannot_be_loaded_is_said_once(names: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    work = Label(str(tmp_path / "m"))
    digest = weights_digest(str(tmp_path / "m"))
    with (
        plan_batch(tmp_path / "o", read_manifest([str(names)]), work, digest, 8) as plan,
        pytest.raises(VideoSwinError),
    ):
        run_batch(plan, work, 1)


def test_a_timeline_that_no_video_could_have_is_said_once(
    names: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not as the error of every file, whose labels would be lost with it."""
    tiny_classifier(preprocessing=Preprocessing(clip_len=8, sampling="uniform", size=(32, 32))).save(tmp_path / "m")
    arguments = ["batch", str(names), "--weights", str(tmp_path / "m"), "--out", str(tmp_path / "o")]
    assert main([*arguments, "--keep-timeline", "--workers", "1"]) == 2
    assert capsys.readouterr().err.count("--clip-seconds") == 1
    assert list((tmp_path / "o" / "table").iterdir()) == []
    assert (
        main([*arguments, "--workers", "1"]) == 1
    )  # nothing was done, so that the folder may become another batch; bad files


@pytest.mark.parametrize("options", [["--clip-seconds", "3"], ["--keep-timeline", "--clip-seconds", "0"]])
def test_seconds_of_a_clip_that_mean_nothing_are_refused(names: Path, tmp_path: Path, options: list[str]) -> None:
    arguments = ["batch", str(names), "--weights", "swin3d_micro_gestures", "--out", str(tmp_path / "o"), *options]
    assert main(arguments) == 2
    assert not (tmp_path / "o").exists()


def test_a_cut_off_batch_json_is_written_anew_while_nothing_is_done(names: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(names, out)
    whole = (out / "batch.json").read_text(encoding="utf-8")
    (out / "batch.json").write_text(whole[:40], encoding="utf-8")
    with pytest.raises(ConfigError, match=r"batch\.json is damaged"):
        run(names, out)  # whose parts are these?
    for part in (out / "table").glob("*.parquet"):
        part.unlink()
    assert run(names, out).failed == 12
    assert (out / "batch.json").read_text(encoding="utf-8") == whole
