"""Our model beside every other implementation that can be had, and beside what the machine could do at best.

    python -m benchmarks.compare [--what forward,train,memory,scaling] [--peers torchvision,multihead] [--out FOLDER]

docs/bench.md says what the peers and the figures are. ``videoswin bench`` is the small form that comes with the package.
"""

import argparse
import json
from pathlib import Path

from benchmarks.lib.job import Job
from benchmarks.lib.measure import measure, parse_what
from benchmarks.lib.peers import choose
from benchmarks.lib.pictures import draw_bars, draw_scaling
from benchmarks.lib.report import Report, Row, machine

from videoswin.cli.output import add_row, percent, say, show, steps, table
from videoswin.errors import VideoSwinError

_MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="swin3d_t", help="a preset, with fresh weights")
    parser.add_argument("--clip", default="32x224x224", help="frames x height x width; other models keep their own")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--what", default="forward,memory", help="some of forward, train, memory and scaling")
    parser.add_argument("--peers", default="all", help="names with commas, all or none")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; in each, every model runs once")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--compile", action="store_true", help="also torch.compile of our model and of torchvision's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--out", type=Path, help="also write bench.json and pictures into this folder")
    arguments = parser.parse_args()
    try:
        job = Job.of(arguments.model, arguments.clip, arguments.batch, arguments.device, arguments.precision)
        wanted, chosen = parse_what(arguments.what), choose(arguments.peers)
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
        report = measure(job, chosen, wanted, repeats=arguments.repeats, compiled=arguments.compile, steps=steps)
    except VideoSwinError as error:
        raise SystemExit(str(error)) from error
    if arguments.json:
        print(json.dumps(report.to_dict()))
    else:
        _show(report)
    if arguments.out is not None:
        _write(report, arguments.out)


def _show(report: Report) -> None:
    job, facts = report.job, machine(report.job)
    show(f"{job.name}, clip {_size(job.clip)}, batch {job.batch}, {job.precision}, {report.repeats} rounds")
    show(f"{facts['device']}, {facts['threads']} threads, torch {facts['torch']}")
    for title, rows in (("forward", report.forward), ("training step", report.train)):
        if rows:
            show()
            _show_times(title, rows)
    _show_limits(report)
    _show_memory(report)
    _show_scaling(report)
    for name, loaded in report.loaded.items():
        show(f"{name}: {loaded}")
    for name, hint in report.missing.items():
        show(f"{name}: not measured. {hint}")


def _show_times(title: str, rows: list[Row]) -> None:
    numbers = ["median s", "quartiles", "clips/s", "ratio", "rounds", "GMACs", "params M", "difference"]
    lines = table(title, *numbers, "clip", "K400 top-1", right=numbers)
    for row in rows:
        low, high = row.times.quartiles
        add_row(
            lines,
            row.name,
            f"{row.times.median:.4g}",
            f"{low:.4g} to {high:.4g}",
            f"{row.clips_per_s:.3g}",
            f"{row.ratio.median:.2f}",
            f"{row.ratio.low:.2f} to {row.ratio.high:.2f}",
            f"{row.gmacs:.1f}",
            "-" if row.parameters is None else f"{row.parameters / 1e6:.1f}",
            "another model" if row.difference is None else f"{row.difference:.0e}",
            _size(row.clip),
            row.accuracy,
        )
    show(lines)
    for row in rows:
        if row.compile_s is not None:
            show(f"{row.name}: the first call took {row.compile_s:.1f} s, compiling included")


def _show_limits(report: Report) -> None:
    limits = report.limits
    if limits is None:
        return
    reached = report.reached()
    show()
    lines = table(
        "limit of this machine", "seconds", "GMAC/s", "of our time", right=["seconds", "GMAC/s", "of our time"]
    )
    rate = limits.linear_macs / limits.linear_s / 1e9
    add_row(
        lines, "linear layers, at their shapes", f"{limits.linear_s:.4g}", f"{rate:.1f}", percent(reached["linear"])
    )
    rate = limits.attention_macs / limits.attention_s / 1e9
    share = reached["all_products"] - reached["linear"]
    add_row(lines, "attention products, at their shapes", f"{limits.attention_s:.4g}", f"{rate:.1f}", percent(share))
    add_row(lines, "together", f"{limits.floor_s:.4g}", "", percent(reached["all_products"]))
    show(lines)
    show(f"memory copy: {limits.copy_bytes_per_s / 1e9:.1f} GB/s, read plus write")


def _show_memory(report: Report) -> None:
    for what, found in report.memory.items():
        show()
        numbers = ["peak MiB", "above model and clip", "ratio"]
        lines = table(f"memory, {'training step' if what == 'train' else what}", *numbers, right=numbers)
        base = next(iter(found.values())).step
        for name, memory in found.items():
            ratio = f"{memory.step / base:.2f}" if base > 0 else "-"
            add_row(lines, name, f"{memory.peak / _MIB:,.0f}", f"{memory.step / _MIB:,.0f}", ratio)
        show(lines)


def _show_scaling(report: Report) -> None:
    if not report.scaling:
        return
    show()
    names = list(report.scaling[0].times)
    numbers = [f"{name}, {unit}" for name in names for unit in ("s", "MiB")]
    lines = table("clip", "batch", "GMACs", *numbers, right=["batch", "GMACs", *numbers])
    for point in report.scaling:
        cells = [
            cell
            for name in names
            for cell in (f"{point.times[name].median:.4g}", f"{point.memory[name].step / _MIB:,.0f}")
        ]
        add_row(lines, _size(point.job.clip), str(point.job.batch), f"{point.gmacs:.1f}", *cells)
    show(lines)


def _write(report: Report, out: Path) -> None:
    written = [out / "bench.json"]
    written[0].write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
    if report.forward or report.train or report.memory:
        written.append(out / "bench.png")
        draw_bars(written[-1], report)
    if report.scaling:
        written.append(out / "scaling.png")
        draw_scaling(written[-1], report.scaling)
    say("wrote " + ", ".join(map(str, written)))


def _size(clip: tuple[int, int, int]) -> str:
    return "x".join(map(str, clip))


if __name__ == "__main__":
    main()
