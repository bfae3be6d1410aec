"""Evidence for people: a sheet of frames, and a video of what the model saw with the evidence drawn in."""

import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from videoswin.data.preprocessing import Preprocessing
from videoswin.data.record import Recorder
from videoswin.explain.evidence import Box, Evidence
from videoswin.predict.plain_text import spelled_out

__all__ = ["overlay", "seen_frames", "write_sheet", "write_video"]

_SIDE = 224  # pixels, at least: what a person can look at
_COLUMNS = 8
_HOT, _OUTLINE = np.array([255, 64, 32], np.float32), (255, 220, 60)
_SECONDS_A_FRAME = 0.2


def seen_frames(clip: Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """A normalised clip (3, T, H, W) as uint8 (T, H, W, 3)."""
    std, mean = (torch.tensor(values).view(3, 1, 1, 1) for values in (preprocessing.std, preprocessing.mean))
    return (clip * std + mean).round().clamp(0, 255).byte().permute(1, 2, 3, 0).numpy()


def overlay(frames: np.ndarray, evidence: Evidence, box: Box) -> list[Image.Image]:
    """The frames, enlarged, with the evidence in red and the strongest window outlined where it is."""
    heat = evidence.smooth().numpy()
    scale = max(1, -(-_SIDE // min(frames.shape[1:3])))
    pictures = []
    for number, (frame, hot) in enumerate(zip(frames, heat, strict=True)):
        strength = (0.75 * hot)[..., None]
        mixed = frame * (1 - strength) + _HOT * strength
        picture = Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)
        if box.frames[0] <= number < box.frames[1]:
            corners = (box.columns[0], box.rows[0], box.columns[1], box.rows[1])
            left, top, right, bottom = (corner * scale for corner in corners)
            ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline=_OUTLINE, width=2)
        pictures.append(picture)
    return pictures


def write_sheet(path: Path, frames: np.ndarray, evidence: Evidence, box: Box, times: Tensor) -> None:
    """Each frame that was seen, below it the same with the evidence, its time, and a bar with its share. PNG."""
    drawn = overlay(frames, evidence, box)
    width, height = drawn[0].size
    font, line = ImageFont.load_default(13), 20
    columns = min(_COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    cell = 2 * height + line + 10
    sheet = Image.new("RGB", (columns * (width + 4), rows * cell + 2 * line), (18, 22, 30))
    pen = ImageDraw.Draw(sheet)
    title = f"{spelled_out(evidence.label)}  {100 * evidence.score:.1f} %   stage {evidence.stage}"
    pen.text((6, 6), title, fill=(255, 255, 255), font=font)
    shares = evidence.frames / evidence.frames.max().clamp(min=1e-12)
    for number, (picture, frame) in enumerate(zip(drawn, frames, strict=True)):
        left, top = number % columns * (width + 4), number // columns * cell + 2 * line
        sheet.paste(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC), (left, top))
        sheet.paste(picture, (left, top + height))
        bar = (left, top + 2 * height + 1, left + round(width * float(shares[number])), top + 2 * height + 6)
        pen.rectangle(bar, fill=_OUTLINE)
        pen.text((left + 2, top + 2 * height + 8), f"{float(times[number]):.2f} s", fill=(200, 208, 220), font=font)
    facts = PngInfo()
    facts.add_text("Software", "videoswin")
    sheet.save(path, "PNG", pnginfo=facts)


def write_video(path: Path, frames: np.ndarray, evidence: Evidence, box: Box) -> None:
    """The overlaid frames one after the other, five a second. MP4."""
    recorder = Recorder(path)
    for number, picture in enumerate(overlay(frames, evidence, box)):
        recorder.add(number * _SECONDS_A_FRAME, np.asarray(picture))
        until = time.monotonic() + 10
        while recorder.frames <= number and time.monotonic() < until:  # it would leave frames out rather than wait
            time.sleep(0.001)
    recorder.close()
