"""The figures of a run as pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lib.report import Report, Row
from benchmarks.lib.scaling import Point

from videoswin.storage.atomic import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_bars", "draw_scaling"]

_OURS, _SAME, _OTHER, _FLOOR = "#d9480f", "#5c6370", "#c3c8cf", "#1864ab"
_LINES = {"videoswin": _OURS, "torchvision": _SAME}
_MIB = 2**20


def draw_bars(path: Path, report: Report) -> None:
    """Forward time, training step and peak memory as bars, as far as they were measured."""
    from matplotlib.figure import Figure  # without pyplot: no window system, no global state

    tables = [(rows, title) for rows, title in ((report.forward, "forward"), (report.train, "training step")) if rows]
    panels = len(tables) + len(report.memory)
    longest = max([len(rows) for rows, _ in tables] + [len(found) for found in report.memory.values()])
    columns = min(panels, 2)
    lines = -(-panels // columns)
    figure = Figure(figsize=(5 * columns, 0.5 + lines * (0.7 + 0.36 * longest)), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for unused in axes[panels:]:
        unused.set_visible(False)
    for (rows, title), panel in zip(tables, axes, strict=False):
        floor = report.limits.floor_s if report.limits is not None and title == "forward" else None
        _time_bars(panel, rows, f"{title}, seconds" + (" (dashed: our matrix products alone)" if floor else ""))
        if floor:
            panel.axvline(floor, color=_FLOOR, linestyle="--", linewidth=1.2)
    for (what, found), panel in zip(report.memory.items(), axes[len(tables) :], strict=False):
        same = {row.name: row.same_model for row in (*report.forward, *report.train)}
        values = [memory.step / _MIB for memory in found.values()]
        colours = [_colour(name, same.get(name, True)) for name in found]
        _bars(panel, list(found), values, [f"{v:,.0f}" for v in values], colours)
        panel.set_title(f"{'training step' if what == 'train' else what}, MiB above model and clip", fontsize=9)
    job = report.job
    clip = "x".join(map(str, job.clip))
    figure.suptitle(
        f"{job.name}, clip {clip}, batch {job.batch}, {job.precision}; light bars: other models on their own clips",
        fontsize=9,
    )
    _save(figure, path)


def draw_scaling(path: Path, points: list[Point]) -> None:
    """Time and memory over frames, pixels and batch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    grid = figure.subplots(2, 3)
    for column, axis in enumerate(("frames", "pixels", "batch")):
        on_axis = [point for point in points if axis in point.axes]
        for name in points[0].times:
            line = sorted(
                (_place(point, axis), point.times[name].median, point.memory[name].step / _MIB) for point in on_axis
            )
            style = {"marker": "o", "markersize": 4, "color": _LINES.get(name), "label": name}
            grid[0][column].plot([p[0] for p in line], [p[1] for p in line], **style)
            grid[1][column].plot([p[0] for p in line], [p[2] for p in line], **style)
        grid[0][column].set_title("height = width, pixels" if axis == "pixels" else axis, fontsize=10)
        for row in (0, 1):
            grid[row][column].set_ylim(bottom=0)
            grid[row][column].set_xlim(left=0)
            grid[row][column].grid(alpha=0.25)
            grid[row][column].spines[["top", "right"]].set_visible(False)
    grid[0][0].set_ylabel("seconds, forward")
    grid[1][0].set_ylabel("MiB above model and clip")
    grid[0][0].legend(frameon=False, fontsize=9)
    job = points[0].job
    figure.suptitle(f"{job.name}, {job.precision}: one axis varied, the others {'x'.join(map(str, job.clip))}, batch {job.batch}",
                    fontsize=10)  # fmt: skip
    _save(figure, path)


def _time_bars(panel: "Axes", rows: list[Row], title: str) -> None:
    medians = [row.times.median for row in rows]
    labels = [f"{row.times.median:.3g}   {row.ratio.median:.2f}x" for row in rows]
    quartiles = [row.times.quartiles for row in rows]
    colours = [_colour(row.name, row.same_model) for row in rows]
    _bars(panel, [row.name for row in rows], medians, labels, colours, ends=[high for _, high in quartiles])
    spread = [[m - low for m, (low, _) in zip(medians, quartiles, strict=True)],
              [high - m for m, (_, high) in zip(medians, quartiles, strict=True)]]  # fmt: skip
    panel.errorbar(medians, range(len(rows)), xerr=spread, fmt="none", ecolor="#222", elinewidth=1, capsize=2)
    panel.set_title(title, fontsize=9)


def _bars(
    panel: "Axes",
    names: list[str],
    values: list[float],
    labels: list[str],
    colours: list[str],
    ends: list[float] | None = None,
) -> None:
    """``ends``: where the labels may begin, if that is not where the bars end."""
    panel.barh(range(len(names)), values, color=colours, height=0.66)
    ends = ends or values
    longest = max(*ends, *values, 1e-9)
    for place, (end, label) in enumerate(zip(ends, labels, strict=True)):
        panel.text(end + 0.02 * longest, place, label, fontsize=8, va="center")
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.invert_yaxis()
    panel.set_xlim(0, 1.35 * longest)
    panel.tick_params(axis="x", labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)


def _colour(name: str, same_model: bool) -> str:
    if name.startswith("videoswin"):
        return _OURS
    return _SAME if same_model else _OTHER


def _place(point: Point, axis: str) -> int:
    return {"frames": point.job.clip[0], "pixels": point.job.clip[1], "batch": point.job.batch}[axis]


def _save(figure: "Figure", path: Path) -> None:
    with replace_file(path) as new:
        figure.savefig(new, format="png", dpi=120)
