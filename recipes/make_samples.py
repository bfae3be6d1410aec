"""Re-encodes a few clips small enough to ship: 171 pixels high, H.264, every frame and its time kept.

python recipes/make_samples.py OUT clip.mp4 [clip.mp4 ...]
"""

import sys
from fractions import Fraction
from pathlib import Path

import av

HEIGHT = 170  # even, as H.264 wants
CRF = "29"


def shrink(source: Path, target: Path) -> None:
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = reader.streams.video[0]
        width = round(stream.codec_context.width * HEIGHT / stream.codec_context.height / 2) * 2
        rate = stream.average_rate or Fraction(30)
        encoder = writer.add_stream("libx264", rate=rate, options={"crf": CRF, "preset": "veryslow"})
        encoder.width, encoder.height, encoder.pix_fmt = width, HEIGHT, "yuv420p"
        assert stream.time_base is not None
        encoder.time_base = stream.time_base
        for frame in reader.decode(stream):
            small = frame.reformat(width=width, height=HEIGHT, format="yuv420p", interpolation="LANCZOS")
            small.pts, small.time_base = frame.pts, stream.time_base
            writer.mux(encoder.encode(small))
        writer.mux(encoder.encode(None))


def main() -> None:
    out, clips = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    out.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        shrink(clip, out / clip.name)
        print(f"{out / clip.name}: {(out / clip.name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
