"""Draws docs/figures/engine.svg: what one task of the compiled engine reads and writes.

    python docs/figures/draw_engine.py

One frame of 8x8 tokens, window 4x4, shifted by 2, cut by the model's own partition; one of its boxes, and the block of
scores that its first queries make.
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import torch
from matplotlib.patches import FancyArrowPatch, Rectangle

from videoswin.model.windows import partition

matplotlib.use("svg")
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
matplotlib.rcParams["svg.hashsalt"] = "videoswin"  # the same file every time
SIDE, WINDOW, SHIFT = 8, 4, 2
LIGHT, DARK, WARM, GREY = "#dbe7f3", "#2f6aa8", "#e08a3c", "#8a8a8a"


def draw_grid(axes: plt.Axes, chosen: set[int], border: list[tuple[int, int, int, int]]) -> None:
    for token in range(SIDE * SIDE):
        y, x = divmod(token, SIDE)
        colour = DARK if token in chosen else LIGHT
        axes.add_patch(Rectangle((x, SIDE - 1 - y), 0.92, 0.92, facecolor=colour, edgecolor="none"))
    for top, left, height, width in border:
        place = (left - 0.04, SIDE - top - height - 0.04)
        axes.add_patch(Rectangle(place, width, height, fill=False, edgecolor=WARM, linewidth=1.4))
    axes.text(SIDE / 2, SIDE + 0.5, "qkv of all tokens, in grid order", ha="center")
    axes.text(SIDE / 2, -0.9, "one linear layer made it; no gather before", ha="center", color=GREY, fontsize=8)


def draw_matrix(axes: plt.Axes, place: tuple[float, float], size: tuple[float, float], text: str, note: str) -> None:
    axes.add_patch(Rectangle(place, *size, facecolor=LIGHT, edgecolor=DARK))
    axes.text(place[0] + size[0] / 2, place[1] + size[1] / 2, text, ha="center", va="center")
    axes.text(place[0] + size[0] / 2, place[1] - 0.55, note, ha="center", color=GREY, fontsize=8)


def arrow(axes: plt.Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=GREY))


def main() -> None:
    boxes = partition((1, SIDE, SIDE), (1, WINDOW, WINDOW), (0, SHIFT, SHIFT), "exact", "attended", torch.device("cpu"))
    border, chosen, at = [], set(), 0
    for group in boxes.groups:
        for _ in range(group.count):
            tokens = boxes.order[at : at + group.tokens_per_box].tolist()
            at += len(tokens)
            border.append((tokens[0] // SIDE, tokens[0] % SIDE, group.shape[1], group.shape[2]))
            if group.shape[1:] == (WINDOW, WINDOW):
                chosen = set(tokens)
    figure, axes = plt.subplots(figsize=(11.5, 4.0))
    draw_grid(axes, chosen, border)
    arrow(axes, (6.2, 5.2), (13.4, 6.6))
    arrow(axes, (6.2, 3.4), (13.4, 1.7))
    axes.text(10.8, 4.1, "read through\nthe box index", ha="center", va="center", color=GREY, fontsize=8)
    draw_matrix(axes, (13.5, 5.4), (6.4, 2.2), "keys and values\nof one box and head", "second-level cache")
    draw_matrix(axes, (13.5, 1.2), (6.4, 1.0), "12 of its queries", "")
    draw_matrix(axes, (23.4, 3.2), (6.6, 1.9), "12 x n scores\n+ bias, softmax", "first-level cache, never in memory")
    draw_matrix(axes, (23.4, 7.0), (6.6, 1.0), "bias, from the table", "once for all boxes of a shape")
    arrow(axes, (20.0, 6.2), (23.3, 4.6))
    arrow(axes, (20.0, 1.7), (23.3, 3.6))
    arrow(axes, (26.7, 6.3), (26.7, 5.2))
    arrow(axes, (26.7, 2.4), (26.7, 1.3))
    axes.text(26.7, 0.5, "12 rows of the output, written\nto their places in the grid", ha="center", va="center")
    axes.set_xlim(-0.4, 31)
    axes.set_ylim(-1.5, 9.2)
    axes.set_aspect("equal")
    axes.axis("off")
    figure.savefig(Path(__file__).with_name("engine.svg"), bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()
