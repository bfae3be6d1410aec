"""Writes tests/media/cuts: small recordings in every container, whole and streamed, for the tests of files that were cut off.

    PYTHONPATH=. python tests/media/make_cuts.py

They are stored, since what an encoder writes differs from one build to the next, and with it where a cut falls.
"""

from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from tests.media_helpers import moving_picture

OUT = Path(__file__).parent / "cuts"
FRAGMENTS = "frag_keyframe+empty_moov+default_base_moof"
# name: (container, codec, options of the container, with sound)
FILES: dict[str, tuple[str, str, dict[str, str], bool]] = {
    "whole.flv": ("flv", "libx264", {}, False),
    "sound.flv": ("flv", "libx264", {}, True),
    "live.flv": ("flv", "libx264", {"flvflags": "no_duration_filesize"}, False),
    "whole.wmv": ("asf", "wmv2", {}, False),
    "whole.webm": ("webm", "libvpx", {}, False),
    "live.webm": ("webm", "libvpx", {"live": "1"}, False),
    "live.mkv": ("matroska", "libx264", {"live": "1"}, True),
    "whole.mp4": ("mp4", "libx264", {}, False),
    "fragments_mfra.mp4": ("mp4", "libx264", {"movflags": FRAGMENTS}, False),
    "fragments_sidx.mp4": ("mp4", "libx264", {"movflags": f"{FRAGMENTS}+global_sidx+skip_trailer"}, False),
    "fragments_bare.mp4": ("mp4", "libx264", {"movflags": f"{FRAGMENTS}+skip_trailer"}, False),
    "whole.avi": ("avi", "mpeg4", {}, False),
    "whole.mpg": ("mpeg", "mpeg2video", {}, False),
    "whole.ts": ("mpegts", "libx264", {}, False),
    "sound.ts": ("mpegts", "libx264", {}, True),
    "whole.gif": ("gif", "gif", {}, False),
}


def write(name: str, container: str, codec: str, options: dict[str, str], sound: bool) -> None:
    with av.open(str(OUT / name), "w", format=container, container_options=options) as output:
        stream = cast(VideoStream, output.add_stream(codec, rate=30, options={"g": "10", "bf": "0", "crf": "38"}))
        stream.height, stream.width = 48, 64
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        if codec in ("mpeg4", "wmv2", "mpeg2video"):
            stream.codec_context.bit_rate = 100_000
        voice = output.add_stream("aac", rate=8000) if sound else None
        for number, pixels in enumerate(moving_picture(10 if codec == "gif" else 40)):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            if voice is not None and number % 4 == 0:
                tone = np.zeros((1, 1024), np.float32)
                heard = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                heard.sample_rate = 8000
                output.mux(voice.encode(heard))  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        output.mux(stream.encode(None))
        if voice is not None:
            output.mux(voice.encode(None))  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for file, how in FILES.items():
        write(file, *how)
