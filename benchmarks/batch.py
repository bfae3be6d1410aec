"""How long a manifest of a million rows takes to start and to resume, and a batch's files a second beside raw decoding.

python benchmarks/batch.py --rows 1000000
python benchmarks/batch.py --videos FOLDER --weights swin3d_micro_gestures --workers 2
python benchmarks/batch.py --videos FOLDER --weights swin3d_micro_gestures --workers 2 --engine ray
python benchmarks/batch.py --videos FOLDER --weights swin3d_micro_gestures --shares 64
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from videoswin.batch.manifest import read_manifest
from videoswin.batch.on_ray import run_parts_on_ray
from videoswin.batch.parts import TABLE, part_name, part_table
from videoswin.batch.pool import run_parts
from videoswin.batch.run import plan_batch, run_batch, weights_digest
from videoswin.batch.work import Label
from videoswin.classifier.loading import load
from videoswin.data.decode import open_video
from videoswin.data.folders import find_videos
from videoswin.data.preprocessing import Views
from videoswin.predict.scoring import score_each_view


def plan(rows: int) -> None:
    """Start, and resume with half of the parts done; the parts are empty files, since only their names are read."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "list.csv", Path(folder) / "out"
        source.write_text("path\n" + "".join(f"/videos/{n % 997}/{n}.mp4\n" for n in range(rows)), encoding="utf-8")
        for what in ("start", "resume"):
            began = time.perf_counter()
            with plan_batch(out, read_manifest([str(source)]), Label("none"), "", 128) as found:
                first = next(found.left())
                print(f"{what}: {rows:,} rows, {len(found.done):,} of {found.parts:,} parts done, first left: {first[0]}, "
                      f"{time.perf_counter() - began:.2f} s")  # fmt: skip
            for number in range(found.parts // 2):
                (out / TABLE / part_name(number, 0)).touch()


def decode(path: str) -> torch.Tensor:
    """All that a worker does but the model: open, decode, resize."""
    global _classifier
    if "_classifier" not in globals():
        _classifier = load(_WEIGHTS)
    with open_video(path, threads=1) as video:
        return _classifier.preprocessing.views(video, Views()).clips


def decode_and_forget(path: str) -> None:
    """What goes back to the driver would be a cost of its own."""
    decode(path)


def use(weights: str) -> None:
    """In each decoding process, before the clock starts."""
    global _WEIGHTS
    _WEIGHTS = weights
    torch.set_num_threads(1)


def shares(paths: list[str], weights: str, group: int) -> None:
    """CPU seconds a clip of one process: decoding, the model in groups as a batch makes them, and the whole of a batch's worker.

    A core that decodes and then asks the model cannot do more than decoding / (decoding + model) of what decoding alone does; the
    rest of a worker (tables, results, messages) is what is between that and its own figure.
    """
    use(weights)
    label = Label(weights).open()
    spent = {"decoding": 0.0, "the model": 0.0, "a worker": 0.0}

    def timed(what: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        spent[what] += time.process_time() - began
        return result

    groups = [paths[first : first + group] for first in range(0, len(paths), group)]
    label.rows(list(enumerate(groups[0])))
    classifier = load(weights)
    for some in groups:
        clips = torch.cat([timed("decoding", lambda path=path: decode(path)) for path in some])
        timed("the model", lambda clips=clips: score_each_view(classifier, clips))
        files = list(enumerate(some))
        timed("a worker", lambda files=files: part_table(label.rows(files), features=False, timeline=False))
    each = {what: seconds / len(paths) for what, seconds in spent.items()}
    print(", ".join(f"{what} {1e3 * seconds:.1f} ms" for what, seconds in each.items()) + f" of CPU a clip, in groups of {group}; "
          f"at most {each['decoding'] / (each['decoding'] + each['the model']):.2f} of decoding, a worker by itself "
          f"{each['decoding'] / each['a worker']:.2f}")  # fmt: skip


def throughput(videos: Path, weights: str, workers: int, repeats: int, engine: str, part_rows: int) -> None:
    """Batch and raw decoding in turns, the start of the processes left out of both."""
    paths = [str(path) for path in find_videos([videos])]
    for turn in range(repeats):
        with multiprocessing.get_context("spawn").Pool(workers, use, (weights,)) as pool:
            pool.map(decode_and_forget, paths[:workers], chunksize=1)
            began = time.perf_counter()
            pool.map(decode_and_forget, paths, chunksize=4)
            raw = len(paths) / (time.perf_counter() - began)
        work, seen = Label(weights), list[tuple[float, int]]()
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            with plan_batch(out, read_manifest(paths), work, weights_digest(weights), part_rows) as found:
                run_batch(
                    found,
                    work,
                    workers,
                    each=lambda part, seen=seen: seen.append((time.perf_counter(), part.files)),
                    engine=run_parts_on_ray if engine == "ray" else run_parts,
                )
        # From the first finished part on: the processes are up.
        files, seconds = sum(n for _, n in seen[1:]), seen[-1][0] - seen[0][0]
        print(f"turn {turn}: {workers} processes, {engine} batch {files / seconds:.1f} files/s, only decoding {raw:.1f} files/s, "
              f"ratio {files / seconds / raw:.2f}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--weights", default="swin3d_micro_gestures")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shares", type=int, default=0, help="of so many of the videos: CPU time by part, one process")
    parser.add_argument("--part-rows", type=int, default=8)
    chosen = parser.parse_args()
    if chosen.rows:
        plan(chosen.rows)
    if chosen.videos and chosen.shares:
        found = [str(path) for path in find_videos([chosen.videos])]
        shares(found[:: max(1, len(found) // chosen.shares)][: chosen.shares], chosen.weights, chosen.part_rows)
    elif chosen.videos:
        throughput(chosen.videos, chosen.weights, chosen.workers, chosen.repeats, chosen.engine, chosen.part_rows)
