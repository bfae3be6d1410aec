"""Two versions of this package beside torchvision's code: what a change did to time and memory.

    git worktree add /tmp/before COMMIT
    python -m benchmarks.versions /tmp/before/src [--threads 1] [--what forward,train,memory] [--json FILE]

Each form is a process of its own, for two versions of one package cannot be in the same. All have the same weights and the same
clip, their logits are compared first, and then they take turns, each round beginning with another one; the others wait
meanwhile, without a thread at work. Processor time is given beside the time of the clock: it says more where others use the
machine. Memory is what two passes add to model and clip, in a fresh process for each figure.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

_REPOSITORY = Path(__file__).resolve().parent.parent
_CLIP = (32, 224, 224)
_EQUAL = 1e-5
_STATUS = Path("/proc/self/status")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("before", type=Path, help="the src folder of the other version")
    parser.add_argument("--model", default="swin3d_t", help="a preset that both know")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7, help="rounds; in each, every form runs once")
    parser.add_argument("--what", default="forward,train,memory", help="some of forward, train and memory")
    parser.add_argument("--json", type=Path, help="also write the figures into this file")
    arguments = parser.parse_args()
    what = arguments.what.split(",")
    forms = {"before": arguments.before, "now": _REPOSITORY / "src", "torchvision": _REPOSITORY / "src"}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.pt")

        def start(form: str) -> "_Form":
            return _Form(form, forms[form], arguments.model, arguments.threads, weights)

        result: dict[str, Any] = {"model": arguments.model, "clip": _CLIP, "threads": arguments.threads}
        result |= {"torch": torch.__version__, "load": os.getloadavg()}
        _write_weights(weights, arguments.model)
        if set(what) & {"forward", "train"}:
            running = {form: start(form) for form in forms}
            result["difference"] = _differences(running, folder)
            for name in [name for name in ("forward", "train") if name in what]:
                result[name] = _take_turns(running, name, arguments.repeats)
                _show(name, result[name])
            for form in running.values():
                form.end()
        if "memory" in what:
            for name in [name for name in ("forward", "train") if name in what]:
                found = {form: statistics.median(_memory(start, form, name) for _ in range(5)) for form in forms}
                result[f"memory_{name}"] = found
                print(f"memory, {name}: " + ", ".join(f"{form} {mib:.0f} MiB" for form, mib in found.items()))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


class _Form:
    """A process that holds one model and runs a pass when asked to."""

    def __init__(self, form: str, src: Path, model: str, threads: int, weights: Path) -> None:
        command = [sys.executable, __file__, form, model, str(threads), str(weights)]
        path = os.pathsep.join([str(src.resolve()), str(_REPOSITORY), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": path, "VERSIONS_WORKER": "1", "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=weights.parent
        )

    def ask(self, *words: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"One form ended with exit code {self._process.wait()}.")
        return json.loads(answer)

    def end(self) -> None:
        self._process.communicate()


def _write_weights(file: Path, model: str) -> None:
    from benchmarks.lib.job import Job

    torch.save(Job.of(model, "x".join(map(str, _CLIP)), device="cpu").ours().state_dict(), file)


def _differences(running: dict[str, _Form], folder: str) -> dict[str, float]:
    """Relative, of the logits; nothing is timed before they are equal."""
    outputs = {}
    for name, form in running.items():
        form.ask("output", str(Path(folder, name)))
        outputs[name] = torch.load(Path(folder, name))
    expected = outputs["torchvision"]
    found = {name: float((out - expected).norm() / expected.norm()) for name, out in outputs.items()}
    if max(found.values()) > _EQUAL:
        raise SystemExit(f"The forms do not compute the same: {found}")
    return found


def _take_turns(running: dict[str, _Form], what: str, repeats: int) -> dict[str, Any]:
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in running}
    for form in running.values():
        form.ask(what)  # warm
    names = list(running)
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            taken[name].append(running[name].ask(what))
    return {name: _summary(rounds, taken["torchvision"]) for name, rounds in taken.items()}


def _summary(mine: list[dict[str, float]], theirs: list[dict[str, float]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for clock in ("processor", "clock"):
        seconds, peer = [x[clock] for x in mine], [x[clock] for x in theirs]
        ratios = [b / a for a, b in zip(seconds, peer, strict=True)]
        median = statistics.median(seconds)
        found[clock] = {
            "median_s": median,
            "least_s": min(seconds),
            "times_as_fast": statistics.median(peer) / median,
            "least_and_most": [min(ratios), max(ratios)],
        }
    return found


def _memory(start: Callable[[str], _Form], form: str, what: str) -> float:
    process = start(form)
    found = process.ask("memory", what)
    process.end()
    return found


def _show(what: str, result: dict[str, Any]) -> None:
    for clock in ("processor", "clock"):
        for name, row in result.items():
            found = row[clock]
            low, high = found["least_and_most"]
            print(
                f"{what}, {clock} time, {name:12} median {found['median_s']:6.3f} s, least {found['least_s']:6.3f} s; "
                f"{found['times_as_fast']:.2f} times as fast as torchvision ({low:.2f} to {high:.2f})"
            )


# In the process of a form: needs only PyTorch and the model ---------------------------------------------------------------


def _worker(form: str, model: str, threads: str, weights: str) -> None:
    from videoswin.model import create_model, get_config

    torch.set_num_threads(int(threads))
    ours = create_model(get_config(model).replace(drop_path=0.0, head_dropout=0.0))
    ours.load_state_dict(torch.load(weights))
    if form == "torchvision":
        from benchmarks.lib.torchvision_swin import torchvision_swin

        network: torch.nn.Module = torchvision_swin(ours)
        del ours
    else:
        network = ours
    video = torch.randn(1, 3, *_CLIP, generator=torch.Generator().manual_seed(1))

    @cache
    def optimizer() -> torch.optim.Optimizer:
        return torch.optim.AdamW(network.parameters(), lr=1e-6)

    @torch.inference_mode()
    def forward() -> torch.Tensor:
        return network.eval()(video)

    def train() -> None:
        optimizer().zero_grad(set_to_none=True)
        F.cross_entropy(network.train()(video), torch.zeros(1, dtype=torch.long)).backward()
        optimizer().step()

    passes: dict[str, Callable[[], object]] = {"forward": forward, "train": train}
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "output":
            torch.save(forward().clone(), rest[0])
            answer: Any = None
        elif word == "memory":
            answer = _peak_mib(passes[rest[0]])
        else:
            clock, processor = time.perf_counter(), time.process_time()
            passes[word]()
            answer = {"processor": time.process_time() - processor, "clock": time.perf_counter() - clock}
        print(json.dumps(answer), flush=True)


def _peak_mib(run: Callable[[], object]) -> float:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the highest value
    before = _status("VmRSS")
    for _ in range(2):  # the optimiser's state is made in the first step and in the way of the second
        run()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    if "VERSIONS_WORKER" in os.environ:
        _worker(*sys.argv[1:])
    else:
        main()
