"""Labels drawn into a frame, for recordings."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_labels"]


def draw_labels(rgb: np.ndarray, title: str, scores: Sequence[tuple[str, float]]) -> np.ndarray:
    """A copy of ``rgb``, uint8 ``(H, W, 3)``, with a title and a bar for each of ``scores`` (label, 0 to 1) at the lower left."""
    picture = Image.fromarray(rgb)
    size = max(10, picture.height // 22)
    font = ImageFont.load_default(size)
    line, margin = round(size * 1.35), size // 2
    width, height = min(picture.width, size * 16), line * (1 + len(scores)) + margin
    top = picture.height - height
    shade = Image.new("RGB", (width, height), (12, 16, 24))
    below = picture.crop((0, top, width, picture.height))
    picture.paste(Image.blend(below, shade, 0.65), (0, top))
    pen = ImageDraw.Draw(picture)
    pen.text((margin, top + margin // 2), title, fill=(255, 255, 255), font=font)
    for number, (label, score) in enumerate(scores, 1):
        y = top + margin // 2 + number * line
        pen.rectangle(
            (margin, y + line - size // 4, margin + score * (width - 2 * margin), y + line - 2), fill=(91, 156, 255)
        )
        pen.text((margin, y), f"{label}  {100 * score:.0f} %", fill=(215, 222, 234), font=font)
    return np.asarray(picture)
