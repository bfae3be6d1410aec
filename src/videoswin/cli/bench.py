"""``videoswin bench``: how fast, beside every peer that can be had, and beside what the machine could do."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from videoswin.cli.output import DONE, add_row, percent, say, show, steps, table

if TYPE_CHECKING:
    from videoswin.bench.report import Report, Row

__all__ = ["bench"]

_MIB = 2**20


def bench(
    *,
    model: str = "swin3d_t",
    clip: Annotated[str, Parameter(metavar="TxHxW")] = "32x224x224",
    batch: int = 1,
    what: str = "forward,memory",
    peers: str = "all",
    repeats: int = 5,
    precision: Literal["fp32", "bf16"] = "fp32",
    compile_too: Annotated[bool, Parameter(name="--compile", negative="", show_default=False)] = False,
    device: str = "auto",
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    out: Path | None = None,
) -> int:
    """Measure time and memory beside other implementations, and beside the machine's own limit.

    All are measured in turns in one run, after their outputs (and, for training, their gradients) were found to be equal
    to ours. A peer whose library is not installed is listed with the way to get it.

    For example:

        videoswin bench
        videoswin bench --what forward,train,memory,scaling --out figures/
        videoswin bench --model swin3d_micro --clip 16x56x56 --batch 8 --peers torchvision --compile

    Parameters
    ----------
    model
        A preset, with fresh weights.
    clip
        Frames x height x width of the clips. TimeSformer, ViViT and VideoMAE keep their own.
    batch
        Clips in a batch.
    what
        Some of forward, train, memory and scaling, with commas. With train, memory is measured for training too.
    peers
        Some of torchvision, multihead, timesformer, vivit and videomae, with commas; or all, or none.
    repeats
        Rounds; in each, every model runs once.
    precision
        fp32, or bf16 for matrix products in bfloat16.
    compile_too
        Also measure torch.compile of our model and of torchvision's; the seconds of compiling are reported.
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    json_only
        Print one JSON object and nothing else.
    out
        Also write bench.json, bench.png and, with scaling, scaling.png into this folder.
    """
    from videoswin.bench.job import Job
    from videoswin.bench.measure import measure, parse_what
    from videoswin.bench.peers import choose

    job = Job.of(model, clip, batch, device, precision)
    wanted, chosen = parse_what(what), choose(peers)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    report = measure(job, chosen, wanted, repeats=repeats, compiled=compile_too, steps=steps)
    if json_only:
        print(json.dumps(report.to_dict()))
    else:
        _show(report)
    if out is not None:
        _write(report, out)
    return DONE


def _show(report: "Report") -> None:
    from videoswin.bench.report import machine

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


def _show_times(title: str, rows: "list[Row]") -> None:
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


def _show_limits(report: "Report") -> None:
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


def _show_memory(report: "Report") -> None:
    for what, found in report.memory.items():
        show()
        numbers = ["peak MiB", "above model and clip", "ratio"]
        lines = table(f"memory, {'training step' if what == 'train' else what}", *numbers, right=numbers)
        base = next(iter(found.values())).step
        for name, memory in found.items():
            ratio = f"{memory.step / base:.2f}" if base > 0 else "-"
            add_row(lines, name, f"{memory.peak / _MIB:,.0f}", f"{memory.step / _MIB:,.0f}", ratio)
        show(lines)


def _show_scaling(report: "Report") -> None:
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


def _write(report: "Report", out: Path) -> None:
    from videoswin.bench.pictures import draw_bars, draw_scaling

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
