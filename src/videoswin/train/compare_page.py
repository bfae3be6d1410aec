"""A comparison for people: rows of a table, two pictures, and a page that stands alone."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videoswin.predict.calibration import few_groups
from videoswin.predict.pages import render_page
from videoswin.storage.atomic import replace_file

__all__ = ["COLUMNS", "TableRow", "about_groups", "table_rows", "write_page"]

COLUMNS = (
    "model",
    "recipe",
    "clip",
    "M params",
    "GMACs",
    "ms a clip",
    "MiB",
    "train s",
    "held out",
    "over seeds",
    "95 %",
    "to the first",
)
_PICTURES = (
    ("accuracy_gmacs.svg", "GMACs of one clip", lambda entry: entry["macs"] / 1e9),
    ("accuracy_seconds.svg", "seconds of one training run", lambda entry: entry["train_seconds"]),
)
_COLOURS = (
    "#d9480f",
    "#1f6feb",
    "#2b8a3e",
    "#862e9c",
    "#5f3dc4",
    "#e67700",
    "#0b7285",
    "#a61e4d",
    "#495057",
    "#5c940d",
)


_TOLD = ("folds", "seeds", "adapt")
"""Terms that the page's first sentence has, or that no option changes."""


@dataclass(frozen=True)
class TableRow:
    """A model's cells in the order of :data:`COLUMNS`; or why there are none."""

    cells: tuple[str, ...]
    error: str = ""
    verdict: str = ""
    """Beside the first model: "higher", "lower", "no difference seen", or "" for the first itself."""


def table_rows(results: Mapping[str, Any], order: Sequence[str]) -> list[TableRow]:
    """One row a model, in this order."""
    return [_row(name, results["models"].get(name, {"runs": []})) for name in order]


def _row(name: str, entry: Mapping[str, Any]) -> TableRow:
    latency, memory, seconds = entry.get("latency_s"), entry.get("memory_bytes"), entry.get("train_seconds")
    accuracy, spread, interval = entry.get("accuracy"), entry.get("over_seeds"), entry.get("interval")
    difference = entry.get("difference")
    cells = (
        name,
        entry.get("recipe", "") + (" (own)" if entry.get("recipe_is_own") else ""),
        "x".join(map(str, entry.get("clip", ()))),
        f"{entry['parameters'] / 1e6:.3f}" if "parameters" in entry else "",
        f"{entry['macs'] / 1e9:.3f}" if "macs" in entry else "",
        f"{1000 * latency[0]:.1f}" if latency else "",
        f"{memory / 2**20:.0f}" if memory is not None else "",
        f"{seconds:.0f}" if seconds is not None else "",
        f"{100 * accuracy:.1f} %" if accuracy is not None else "",
        f"± {100 * spread:.1f}" if spread is not None else "",
        f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}" if interval else "",
        _signed(difference) if difference else "",
    )
    return TableRow(cells, entry.get("error", ""), _verdict(difference))


def _signed(difference: Mapping[str, float]) -> str:
    mean, low, high = (100 * difference[name] for name in ("mean", "low", "high"))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def _verdict(difference: Mapping[str, float] | None) -> str:
    if difference is None:
        return ""
    if difference["low"] > 0:
        return "higher"
    return "lower" if difference["high"] < 0 else "no difference seen"


def about_groups(results: Mapping[str, Any]) -> str:
    """What the ranges cannot say, where no groups are given or only few; or nothing."""
    units: list[str] = results.get("groups", [])
    named = _named_groups(units)
    if units and not named:
        return (
            "No groups are given: clips of one person or scene may stand on both sides, and the figures then hold for these people "
            'and scenes, not for new ones. A column "group" says who or where.'
        )
    if units and few_groups(units):
        return f"There are only {len(named)} groups: the ranges count clips alone, and hold for these groups, not for others."
    return ""


def _named_groups(units: Sequence[str]) -> set[str]:
    """Without those that stand for a single clip."""
    return {unit for unit in units if not unit.startswith("\0")}


def write_page(results: Mapping[str, Any], order: Sequence[str], out: Path) -> Path:
    """Writes the pictures and the page; gives the page's path."""
    pictures = []
    for name, axis, value in _PICTURES:
        text = _picture(results, order, axis, value)
        if text is None:
            continue
        with replace_file(out / name) as new:
            new.write_bytes(text)
        pictures.append((f"accuracy against {axis}", "data:image/svg+xml;base64," + base64.b64encode(text).decode()))
    page = render_page(
        "compare.html",
        columns=COLUMNS,
        rows=table_rows(results, order),
        pictures=pictures,
        terms=results["terms"],
        machine=results["machine"],
        clips=results.get("clips", ""),
        data=Path(results.get("asked", {}).get("data", "")).name,
        about_groups=about_groups(results),
        asked_for=", ".join(f"{name} {value}" for name, value in results["terms"].items() if name not in _TOLD),
        grouped=bool(_named_groups(results.get("groups", []))),
        classes=results.get("classes"),
        models=[(name, results["models"].get(name, {})) for name in order],
    )
    path = out / "compare.html"
    with replace_file(path) as new:
        new.write_text(page, encoding="utf-8")
    return path


def _short(name: str) -> str:
    """For a picture, where a long name would squeeze the axes; the table has all of it."""
    return name if len(name) <= 34 else f"{name[:16]}…{name[-16:]}"


def _picture(results: Mapping[str, Any], order: Sequence[str], axis: str, value: Any) -> bytes | None:
    """Accuracy against a cost, on a logarithmic scale, bars for the interval; None before there is a figure."""
    shown = [(name, results["models"].get(name, {})) for name in order]
    shown = [(name, entry) for name, entry in shown if "accuracy" in entry and "macs" in entry]
    from_the_left = [name for name, _ in sorted(shown, key=lambda one: value(one[1]))]
    if not shown:
        return None
    import matplotlib as mpl
    from matplotlib.figure import Figure  # without pyplot: no window system, no global state
    from matplotlib.ticker import MaxNLocator, NullLocator

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, (name, entry) in enumerate(shown):
        share = 100 * entry["accuracy"]
        low, high = (100 * bound for bound in entry["interval"] or (entry["accuracy"],) * 2)
        colour, at = _COLOURS[number % len(_COLOURS)], max(value(entry), 1e-6)
        axes.errorbar([at], [share], [[max(share - low, 0)], [max(high - share, 0)]], fmt="o", color=colour, capsize=3)
        beside = (7, -13 if from_the_left.index(name) % 2 else 5)  # names of equal accuracies do not lie on each other
        axes.annotate(_short(name), (at, share), xytext=beside, textcoords="offset points", color=colour, fontsize=9)
    axes.set(xscale="log", xlabel=axis, ylabel="held-out accuracy, %")
    axes.margins(x=0.25)
    low, high = axes.get_xlim()
    if high < 15 * low:  # 0.36, where the usual labels are 3.6 x 10^-1; few of them, so that none lies on another
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(lambda at, _: f"{at:.3g}")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "videoswin", "svg.fonttype": "path"}):  # the same figures, the same file
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "videoswin"})
    return buffer.getvalue()
