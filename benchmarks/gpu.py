"""What the GPU engine computes and how fast, beside the plain engine, torch.compile and torchvision. One command:

    python benchmarks/gpu.py

Needs PyTorch 2.10 or later and a CUDA device; Triton and torchvision are measured where they are installed, and none of
videoswin's other dependencies is. It ends within six minutes, whatever happens: every part has its time, each row is
written as soon as it is known, and what failed or did not fit is a row that says so. In the end a table is printed.

1. kernel: 200 random cases of the operator, forward and all gradients, in float32, bf16 and fp16, against the plain engine;
   in eight processes, since compiling is most of it.
2. forward, train: swin3d_t and swin3d_b on 32x224x224 clips, batches of 1, 8 and 32, bf16 and float32. All models of a row take
   turns, after their outputs (gradients) were compared with our plain engine's in float32. "Share of products" is the
   model's multiply-adds at the rate of the card's best matrix product; "share of memory" is what its layers would move,
   unfused, at the rate of its best copy.
3. latency: one clip at a time, with and without a CUDA graph.

    python benchmarks/gpu.py --parts speed --models swin3d_t --precisions bf16 --turns compiled --batches 8 --seconds 250

leaves the time to what has to be compiled first.

    python benchmarks/gpu.py --device cpu --quick     # a rehearsal of a minute without a GPU; its times say nothing

With TRITON_INTERPRET=1 the rehearsal runs the Triton kernels, under Triton's interpreter.
"""

import argparse
import json
import os
import platform
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

# From a bare checkout: nothing has to be installed.
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / part) for part in ("src", ".")]

import torch  # noqa: E402
from benchmarks.lib.clock import Budget  # noqa: E402
from benchmarks.lib.gpu_kernel import check_kernel  # noqa: E402
from benchmarks.lib.gpu_speed import TURNS, Sizes, latency, measure_peak, speed  # noqa: E402
from benchmarks.lib.torchvision_swin import torchvision_title  # noqa: E402

PARTS = ("kernel", "speed", "latency")
SECONDS = {"kernel": 60.0, "speed": 220.0, "latency": 40.0}
GRACE = 20.0  # for what cannot be interrupted at once


class Results:
    """All that is known so far, on the disk after every change."""

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self.data: dict[str, Any] = {"machine": facts, "complete": False, "peak": None, "kernel": None, "rows": []}
        self._lock = threading.Lock()
        self.write()

    def write(self, **changes: Any) -> None:
        with self._lock:
            self.data |= changes
            new = self.path.with_name(f".{self.path.name}.new")
            new.write_text(json.dumps(self.data, indent=1) + "\n", encoding="utf-8")
            os.replace(new, self.path)

    def add(self, row: dict[str, Any]) -> None:
        row = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()}
        self.write(rows=[*self.data["rows"], row])
        print(_line(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="where the results go, as JSON")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--models", nargs="+", choices=("swin3d_t", "swin3d_b"), default=("swin3d_t", "swin3d_b"))
    parser.add_argument("--precisions", nargs="+", choices=("bf16", "float32"), default=("bf16", "float32"))
    parser.add_argument("--turns", choices=("all", *TURNS), default="all", help="of the speed part")
    parser.add_argument("--batches", type=int, nargs="+", default=Sizes.batches, help="of the speed part")
    parser.add_argument("--seconds", type=float, default=sum(SECONDS.values()), help="for all parts together")
    parser.add_argument("--cases", type=int, default=200, help="of the kernel part")
    parser.add_argument("--quick", action="store_true", help="small models and clips: a rehearsal")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA device. --device cpu --quick rehearses without one.")
    torch.set_float32_matmul_precision("highest")  # float32 means float32, in all models
    models, precisions = tuple(arguments.models), tuple(arguments.precisions)
    turns = TURNS if arguments.turns == "all" else (arguments.turns,)
    sizes = Sizes(models, precisions, batches=tuple(arguments.batches), turns=turns)
    if arguments.quick:
        sizes = Sizes(("tiny",), precisions, (4, 32, 32), (2, 3, 1), 0.0, turns)
    results = Results(arguments.out, machine(device) | {"quick": arguments.quick})
    print(json.dumps(results.data["machine"]), flush=True)
    watchdog = threading.Timer(arguments.seconds + GRACE, give_up, [results])
    watchdog.daemon = True
    watchdog.start()
    scale = arguments.seconds / sum(SECONDS[part] for part in arguments.parts)
    budgets = {part: SECONDS[part] * scale for part in arguments.parts}
    for part, seconds in budgets.items():
        try:
            run(part, device, sizes, Budget(seconds), results, arguments)
        except Exception as error:  # noqa: BLE001  what a part has found is written; the others have their turn
            traceback.print_exc()
            results.add({"part": part, "error": f"{type(error).__name__}: {error}"[:300]})
    results.write(complete=True, seconds=round(time.perf_counter() - BEGUN, 1))
    show(results.data)


def run(
    part: str, device: torch.device, sizes: Sizes, budget: Budget, results: Results, arguments: argparse.Namespace
) -> None:
    """One part, into the results."""
    quick = arguments.quick
    if part == "kernel":
        processes = 8 if device.type == "cuda" else 1
        found = check_kernel(device, arguments.cases, budget, 8 if quick else 20, processes)
        results.write(kernel=found)
        print(json.dumps({k: v for k, v in found.items() if k != "failures"}), flush=True)
    elif part == "speed":
        peak = measure_peak(device, *(512, 2**24) if quick else ())
        results.write(peak={"flops": peak.flops, "bytes_per_s": peak.bytes_per_s})
        for row in speed(device, sizes, peak, budget):
            results.add(row)
    else:
        for row in latency(device, sizes, budget, calls=5 if quick else 50):
            results.add(row)


def machine(device: torch.device) -> dict[str, Any]:
    """What a reader needs to know before comparing figures; no names of hosts or paths."""
    facts: dict[str, Any] = {
        "device": platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        facts |= {"device": card.name, "memory_gib": round(card.total_memory / 2**30, 1), "cuda": torch.version.cuda}
        facts["processors"] = card.multi_processor_count
    for name, title in (("triton", _triton_title), ("torchvision", torchvision_title)):
        try:
            facts[name] = title()
        except Exception as error:  # noqa: BLE001  what is missing or broken is told, and not measured
            facts[name] = f"none ({type(error).__name__}: {str(error)[:120]})"
    return facts


def give_up(results: Results) -> None:
    """Time is over and something hangs: what is known is on the disk."""
    results.write(stopped="out of time: something did not come back")
    show(results.data)
    sys.stdout.flush()
    os._exit(3)


def show(data: dict[str, Any]) -> None:
    """The table."""
    print()
    if (found := data["kernel"]) and "error" in found:
        print(f"kernel: {found['error']}")
    elif found:
        print(f"kernel: {found['done']} of {found['asked']} cases, {found['failed']} failed; worst {found['worst']}")
    if peak := data["peak"]:
        rates = ", ".join(f"{name} {value / 1e12:.0f} TFLOP/s" for name, value in peak["flops"].items())
        print(f"peak: {rates}; copy {peak['bytes_per_s'] / 1e9:.0f} GB/s")
    for row in data["rows"]:
        print(_line(row))


def _line(row: dict[str, Any]) -> str:
    where = f"{row['part']:8} {row.get('model', ''):12} {row.get('precision', ''):8} {row.get('batch', '')!s:>3}"
    start = f"{where}  {row.get('turns', ''):13}  {row.get('name', ''):24}"
    if "error" in row:
        return f"{start} {row['error']}"
    numbers = f"{row['ms']:10.3f} ms  {row['ratio']:6.3f} of {row['ratio_to']}"
    if "clips_per_s" in row:
        numbers += (
            f"  {row['clips_per_s']:9.1f} clips/s  {row['memory_mib']:9.1f} MiB  products {row['share_of_products']:6.1%}"
            f"  memory {row['share_of_memory']:6.1%}  first {row['first_s']} s"
        )
    return f"{start} {numbers}"


def _triton_title() -> str:
    import triton  # type: ignore[import-not-found]

    return f"triton {triton.__version__}"


BEGUN = time.perf_counter()
if __name__ == "__main__":
    main()
