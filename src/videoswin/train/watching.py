"""Who looks on at a run: a progress bar, a log, TensorBoard, a test, or code of yours."""

from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from videoswin.errors import MissingExtraError
from videoswin.train.metrics import EpochRow, Tally

__all__ = ["TensorBoard", "Watch", "Watches"]


class Watch(Protocol):
    """Called from the loop, in the first of several processes; none of it changes the run. An exception ends the run, as Ctrl-C
    would, but without a save: what was saved last stays."""

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        """After every optimiser step. ``epoch`` and ``step`` count from 1; ``tally`` is of this epoch so far."""

    def epoch(self, row: EpochRow, best: bool) -> None:
        """After every epoch, its checkpoint written."""


class Watches:
    """Several that look on at once."""

    def __init__(self, *watches: Watch) -> None:
        self.watches = watches

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        for watch in self.watches:
            watch.step(epoch, step, steps, tally, lr)

    def epoch(self, row: EpochRow, best: bool) -> None:
        for watch in self.watches:
            watch.epoch(row, best)


class TensorBoard:
    """Scalars for TensorBoard in ``folder``: loss, accuracy and learning rate of training by step, all figures by epoch.

    A context manager, so that the file is closed. A run that is resumed writes another file, and TensorBoard shows both as one.

    Raises:
        MissingExtraError: the extra ``tensorboard`` is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError(
                "--tensorboard needs tensorboard. Install it: pip install 'videoswin[tensorboard]'"
            ) from None
        self._new_writer = lambda: SummaryWriter(str(folder))
        self._writer: Any = None
        self._steps = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        self._steps = (epoch - 1) * steps + step
        self._add({"step/loss": tally.loss, "step/top1": tally.top1, "step/lr": lr}, self._steps)

    def epoch(self, row: EpochRow, best: bool) -> None:
        figures = {f"epoch/{name}": value for name, value in row.as_dict().items() if name != "epoch"}
        self._add(figures, row.epoch)
        self._writer.flush()

    def _add(self, values: dict[str, float | None], at: int) -> None:
        if self._writer is None:
            self._writer = self._new_writer()
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, at)
