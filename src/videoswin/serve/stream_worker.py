"""What runs inside the process of a live stream: pictures or a recording in, the frames that the model looks at out.

A message to it is one byte that says what it is, and then: ``P`` a picture (JPEG, WebP or PNG) after its time and the moment at
which it was due, two floats; ``M`` the next piece of a recording; ``E`` the end. A message from it is JSON, for a sample
followed by the bytes of its frame.
"""

import io
import json
import math
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from videoswin.data.containers import Limits
from videoswin.data.live_decode import LiveInput, open_pipe
from videoswin.data.live_wait import Watch
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import VideoError, VideoSwinError
from videoswin.live.frame_selector import FrameSelector
from videoswin.live.sources import LiveSource, Picture
from videoswin.serve.decode_worker import confine, error_to_dict

__all__ = ["END", "PICTURE", "PIECE", "TIMES", "decode_stream"]

PICTURE, PIECE, END = b"P", b"M", b"E"
TIMES = struct.Struct("<dd")
_FORMATS = ("JPEG", "WEBP", "PNG")


def decode_stream(connection: Connection, settings: dict[str, Any]) -> None:
    """Answer until the end, or until the parent is gone."""
    confine(settings["extra_bytes"])
    limits = Limits(**settings["limits"])
    selector = FrameSelector(Preprocessing.from_dict(settings["preprocessing"]), settings["fps"], settings["cuts"])
    source = _pictures(connection, limits) if settings["kind"] == "pictures" else _recording(connection, limits)
    with suppress(BrokenPipeError, ConnectionError):
        try:
            for picture in source:
                for sample in selector.feed(picture):
                    header = {
                        "time_s": sample.time_s,
                        "due": sample.due,
                        "fresh": sample.fresh,
                        "cut": sample.cut,
                        "moved": sample.moved,
                        "shape": list(sample.frame.shape),
                        "pictures": selector.pictures,
                        "cuts": selector.cuts,
                    }
                    connection.send_bytes(json.dumps(header).encode())
                    connection.send_bytes(memoryview(sample.frame.numpy().data).cast("B"))
            ended = {"end": True, "pictures": selector.pictures, "cuts": selector.cuts}
            connection.send_bytes(json.dumps(ended).encode())
        except VideoSwinError as error:
            connection.send_bytes(json.dumps(error_to_dict(error)).encode())


def _pictures(connection: Connection, limits: Limits) -> Iterator[Picture]:
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        if message[:1] == END:
            return
        time_s, due = TIMES.unpack_from(message, 1)
        if not math.isfinite(time_s):
            raise VideoError("picture", "its time is no number", "Send seconds")
        yield Picture(time_s, _picture(message[1 + TIMES.size :], limits), due)


def _picture(data: bytes, limits: Limits) -> torch.Tensor:
    """uint8 (H, W, 3)."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > limits.max_pixels:
                reason = f"it has {picture.width} x {picture.height} pixels, the limit is {limits.max_pixels:,.0f}"
                raise VideoError("picture", reason, "Send smaller ones")
            return torch.from_numpy(np.array(picture.convert("RGB")))
    except VideoError:
        raise
    except Exception as error:  # Pillow raises errors of many kinds about bad pictures
        raise VideoError("picture", "it is no JPEG, WebP or PNG that can be read", "Send whole pictures") from error


def _recording(connection: Connection, limits: Limits) -> Iterator[Picture]:
    """What a browser records, as it comes."""
    reading, writing = os.pipe()

    def pump() -> None:
        with suppress(EOFError, OSError), os.fdopen(writing, "wb", buffering=0) as pipe:
            while (message := connection.recv_bytes())[:1] == PIECE:
                pipe.write(message[1:])

    threading.Thread(target=pump, name="videoswin pieces", daemon=True).start()
    file = os.fdopen(reading, "rb", buffering=0)

    def opened(watch: Watch) -> LiveInput:
        return open_pipe(file, limits=limits, watch=watch, recorded=True)

    yield from LiveSource(opened, "recording", reconnect=False, max_bytes=float("inf"))
