"""A clip of any size and length, made of a real one: H.264 with three B-frames and a key frame every 250."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from videoswin.data.decode import open_video
from videoswin.data.transforms import Resize

__all__ = ["enlarge"]

AT_ONCE = 50  # frames in memory


def enlarge(source: Path, target: Path, height: int, frames: int) -> None:
    """Some frames of a clip, again and again if it is short, at this height."""
    with open_video(source) as video:
        width = 2 * round(video.info.width * height / video.info.height / 2)
        resize = Resize(None, (height, width))
        with av.open(str(target), "w") as container:
            stream: Any = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"preset": "veryfast", "bf": "3", "g": "250", "crf": "23"}
            for start in range(0, frames, AT_ONCE):
                numbers = range(start, min(start + AT_ONCE, frames))
                pictures = video.get_frames([n % len(video) for n in numbers], each=resize).data
                for number, pixels in zip(numbers, pictures, strict=True):
                    picture: Any = av.VideoFrame.from_ndarray(pixels.numpy(), format="rgb24")
                    picture.pts, picture.time_base = number, Fraction(1, 25)
                    container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
