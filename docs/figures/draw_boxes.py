"""Draws docs/figures/boxes.svg: the regular and the shifted partition of 8x8x8 tokens, window 4 (the paper's Figure 3).

    python docs/figures/draw_boxes.py

The boxes come from the model's own code; the drawing pulls them apart so that they can be seen.
"""

import itertools
import math
from pathlib import Path

import torch

from videoswin.model.windows import partition

GRID, WINDOW = (8, 8, 8), (4, 4, 4)
COLOURS = {0: "#4c6ef5", 1: "#15aabf", 2: "#f59f00", 3: "#e8590c"}  # by how many axes a box is short on
GAP, SCALE = 1.3, 13.0

Point = tuple[float, float]


def boxes(shift: tuple[int, int, int]) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """(first token, size) of every box, as (t, h, w)."""
    parts = partition(GRID, WINDOW, shift, "exact", "attended", torch.device("cpu"))
    found, at = [], 0
    for group in parts.groups:
        for _ in range(group.count):
            first = int(parts.order[at])
            found.append(((first // 64, first // 8 % 8, first % 8), group.shape))
            at += group.tokens_per_box
    return found


def project(t: float, h: float, w: float) -> Point:
    """Time runs to the back right, height down, width to the right."""
    angle = math.radians(28)
    return (w + t * math.cos(angle) * 0.75) * SCALE, (h - t * math.sin(angle) * 0.75) * SCALE


def cuboid(origin: tuple[float, float, float], size: tuple[int, int, int], colour: str) -> list[str]:
    """Three visible faces: front, top, right."""
    (t, h, w), (dt, dh, dw) = origin, size
    faces = [
        ([(t, h, w), (t, h, w + dw), (t, h + dh, w + dw), (t, h + dh, w)], 0.85),
        ([(t, h, w), (t + dt, h, w), (t + dt, h, w + dw), (t, h, w + dw)], 0.55),
        ([(t, h, w + dw), (t + dt, h, w + dw), (t + dt, h + dh, w + dw), (t, h + dh, w + dw)], 0.70),
    ]
    lines = []
    for corners, opacity in faces:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (project(*corner) for corner in corners))
        lines.append(f'<polygon points="{points}" fill="#fff"/>')  # so that what is behind does not shine through
        lines.append(
            f'<polygon points="{points}" fill="{colour}" fill-opacity="{opacity}" stroke="#fff" stroke-width="1"/>'
        )
    return lines


def panel(shift: tuple[int, int, int], left: float, title: str, subtitle: str) -> list[str]:
    found = boxes(shift)
    starts = [sorted({origin[axis] for origin, _ in found}) for axis in range(3)]
    lines = [f'<g transform="translate({left},150)">']
    # Back to front, so that nearer boxes cover farther ones.
    for origin, size in sorted(found, key=lambda box: (-box[0][0], box[0][1], box[0][2])):
        apart = tuple(origin[axis] + GAP * starts[axis].index(origin[axis]) for axis in range(3))
        short = sum(n < w for n, w in zip(size, WINDOW, strict=True))
        lines += cuboid((apart[0], apart[1], apart[2]), size, COLOURS[short])
    lines.append("</g>")
    lines.append(f'<text x="{left}" y="30" font-size="17" font-weight="600">{title}</text>')
    lines.append(f'<text x="{left}" y="52" font-size="13" fill="#666">{subtitle}</text>')
    return lines


def main() -> None:
    body = list(
        itertools.chain(
            panel((0, 0, 0), 30, "Regular: 2 x 2 x 2 boxes", "every box is a full 4 x 4 x 4 window"),
            panel(
                (2, 2, 2), 400, "Shifted by 2: 3 x 3 x 3 boxes", "1 full box (blue); the others are cut by the border"
            ),
        )
    )
    svg = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 330" font-family="system-ui, sans-serif">',
        '<rect width="780" height="330" fill="#fff"/>',
        *body,
        '<text x="30" y="316" font-size="12" fill="#666">8 x 8 x 8 tokens, window 4 x 4 x 4. Width runs right, height down, time '
        "to the back. A token attends to its own box.</text>",
        "</svg>",
    ]
    out = Path(__file__).with_name("boxes.svg")
    out.write_text("\n".join(svg) + "\n", encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
