"""What was found as one page that stands alone: moving thumbnails, no script, nothing loaded from elsewhere."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from videoswin.data.decode import Limits, open_video
from videoswin.data.transforms import Resize
from videoswin.errors import VideoError
from videoswin.predict.pages import render_page
from videoswin.search.index import Hit
from videoswin.storage.atomic import replace_file

__all__ = ["thumbnail", "write_search_page"]

_FRAMES, _BOX, _PAUSE_MS = 10, (150, 220), 140
_LIMITS = Limits()


def thumbnail(path: str, start_s: float, end_s: float | None, limits: Limits = _LIMITS) -> str:
    """Ten frames of a moment as an animated WebP, in a ``data:`` address. Raises VideoError."""
    with open_video(path, limits=limits) as video:
        inside = video.times >= start_s
        if end_s is not None:
            inside &= video.times < end_s
        numbers = inside.nonzero().reshape(-1)
        numbers = numbers if len(numbers) else torch.tensor([len(video) - 1])
        chosen = numbers[torch.linspace(0, len(numbers) - 1, min(_FRAMES, len(numbers))).round().long()]
        scale = min(_BOX[0] / video.info.height, _BOX[1] / video.info.width, 1.0)
        size = max(1, round(video.info.height * scale)), max(1, round(video.info.width * scale))
        frames = video.get_frames(chosen, each=Resize(None, size)).data
    first, *rest = [Image.fromarray(frame.numpy()) for frame in frames]
    file = io.BytesIO()
    first.save(file, "WEBP", save_all=True, append_images=rest, duration=_PAUSE_MS, loop=0, quality=60)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def write_search_page(path: Path, query: str, hits: Sequence[Hit], limits: Limits = _LIMITS) -> list[VideoError]:
    """Write the page; gives the errors of videos that are not there any more, which stay on it without a picture."""
    errors: list[VideoError] = []
    cards = []
    for hit in (Hit(query, Path(query).name, "", 0.0, None, 1.0), *hits):
        try:
            picture = thumbnail(hit.path, hit.start_s, hit.end_s, limits)
        except VideoError as error:
            errors.append(error)
            picture = None
        cards.append({"hit": hit, "file": Path(hit.path).name, "picture": picture})
    with replace_file(path) as new:
        page = render_page("search.html", query=cards[0], cards=cards[1:])
        new.write_text(page, encoding="utf-8", errors="backslashreplace")
    return errors
