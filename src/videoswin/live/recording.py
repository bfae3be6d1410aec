"""A stream with its labels drawn in, as an mp4: written under a name that says that it is not whole, and renamed when it is."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from videoswin.data.record import Recorder
from videoswin.errors import OutputError, VideoError
from videoswin.live.draw import draw_labels
from videoswin.live.sources import Picture
from videoswin.storage.atomic import require_replaceable_file
from videoswin.storage.outputs import RECORDING, require_writable_output

__all__ = ["Recording"]


class Recording:
    """Draws what is known so far into every picture and hands it to the encoder.

    An older recording of the name stays until this one is whole. Until then frames go to ``NAME.partial.mp4``, which players
    can play up to its last second even if the process is killed.

    Args:
        path: the mp4 to make.
        source: what is streamed, as the user named it: it is never written over.
        labels: names of the classes.
        top_k: labels to draw.

    Raises:
        OutputError, VideoError: it may not, or cannot, be written there.
    """

    def __init__(self, path: Path, source: str, labels: Sequence[str], top_k: int) -> None:
        self.path = require_writable_output(path, RECORDING, inputs=[source])
        self._labels, self._top_k = labels, top_k
        self.partial = _free_name(self.path)
        try:
            self._recorder = Recorder(self.partial)
        except BaseException:
            self.partial.unlink(missing_ok=True)
            raise
        self.failure: VideoError | None = None
        self.scores: list[float] = []
        self.label: int | None = None

    def add(self, picture: Picture) -> None:
        """In the source's thread. A failure is kept in ``failure`` and ends the recording, not the stream."""
        if self.failure is not None:
            return
        scores = self.scores
        best = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[: self._top_k]
        title = "none" if self.label is None else self._labels[self.label]
        drawn = draw_labels(picture.rgb.numpy(), title, [(self._labels[i], scores[i]) for i in best])
        try:
            self._recorder.add(picture.time_s, drawn)
        except VideoError as error:
            self.failure = error

    def close(self) -> str:
        """Finish the file and give it its name. Returns what to tell the user.

        Raises:
            VideoError, OutputError: it is not whole; the message names what there is.
        """
        try:
            self._recorder.close()
            if self.failure is not None:
                raise self.failure
        except VideoError as error:
            kept = "Nothing of it was kept"
            if self._recorder.frames:
                kept = f"What there is stands in {self.partial}"
            else:
                self.partial.unlink(missing_ok=True)
            raise VideoError(str(self.path), error.reason, f"{error.hint}. {kept}") from error
        if not self._recorder.frames:
            self.partial.unlink(missing_ok=True)
            return f"nothing was recorded: no frame came, and {self.path} is as it was"
        try:
            require_replaceable_file(self.path)  # hours may have passed
            with self.partial.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(self.partial, self.path)
        except OSError as error:
            hint = f"It stands in {self.partial}"
            raise OutputError(self.path, f"the recording cannot be put there ({error.strerror})", hint) from error
        lost = f", {self._recorder.dropped:,} frames left out because encoding was too slow" * bool(
            self._recorder.dropped
        )
        return f"recorded {self.path}{lost}"


def _free_name(path: Path) -> Path:
    """``NAME.partial.mp4``, made now, or with a number: what an earlier run left is not written over."""
    for number in range(1, 1000):
        free = path.with_name(f"{path.stem}.partial{f'-{number}' * (number > 1)}{path.suffix or '.mp4'}")
        with suppress(FileExistsError):
            free.open("xb").close()
            return free
    raise OutputError(path, "a thousand unfinished recordings of this name stand beside it", "Remove them")
