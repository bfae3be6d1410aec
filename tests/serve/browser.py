"""Chromium with a camera that plays a real clip."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from videoswin.data.decode import open_video

CAMERA_FPS = 12


def write_camera_file(clip: Path, path: Path, width: int = 320, height: int = 240) -> Path:
    """A clip as raw YUV4MPEG, which Chromium plays, over and over, in place of a camera."""
    import numpy as np
    from PIL import Image

    with open_video(clip) as video, path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{round(video.info.fps)}:1 Ip A1:1 C420jpeg\n".encode())
        for _, rgb in video:
            picture = Image.fromarray(rgb.numpy()).resize((width, height)).convert("YCbCr")
            luma, blue, red = (np.asarray(channel) for channel in picture.split())
            file.write(b"FRAME\n" + luma.tobytes() + blue[::2, ::2].tobytes() + red[::2, ::2].tobytes())
    return path


@contextmanager
def chromium(camera: Path | None = None) -> Iterator[Any]:
    """A browser; the test is skipped where there is none."""
    sync = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium here")
    arguments = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    if camera:
        arguments.append(f"--use-file-for-fake-video-capture={camera}")
    with sync.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
