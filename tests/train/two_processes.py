"""A tiny run as ``torchrun`` starts it: python -m torch.distributed.run --nproc-per-node 2 -m tests.train.two_processes VIDEOS OUT
STRATEGY [--stop-at N]. Its losses go to OUT.json."""

import json
import sys
from pathlib import Path

import torch

from tests.train.helpers import Recorder, interrupter, tiny_trainer
from videoswin.errors import Interrupted
from videoswin.train.metrics import Tally
from videoswin.train.processes import joined


class Losses(Recorder):
    """The mean loss of every step, from the tallies."""

    def __init__(self, so_far: Tally) -> None:
        """``so_far``: of the epoch in which a resumed run goes on."""
        super().__init__()
        self.losses: list[float] = []
        self.before = so_far.loss_sum, so_far.clips

    def step(self, epoch, step, steps, tally, lr) -> None:
        if step == 1:
            self.before = 0.0, 0
        loss_sum, clips = self.before
        self.losses.append((tally.loss_sum - loss_sum) / (tally.clips - clips))
        self.before = tally.loss_sum, tally.clips
        super().step(epoch, step, steps, tally, lr)


SETTINGS = {"epochs": 10, "batch_size": 2, "ema": 0.9, "mixup": 0.5}
"""8 clips in steps of 4: 20 steps."""


def main(videos: str, out: str, strategy: str, stop_at: str = "0") -> None:
    torch.set_num_threads(1)
    with joined(strategy, torch.device("cpu")) as processes:
        accumulate = max(1, 2 // processes.world)
        trainer = tiny_trainer(
            Path(videos), Path(out), strategy=strategy, accumulate=accumulate, processes=processes, **SETTINGS
        )
        if (Path(out) / "last").is_dir():
            trainer.resume()
        watch = Losses(trainer.progress.tally)
        if int(stop_at):
            stopper = interrupter(int(stop_at), 1)
            watch.at, watch.act = stopper.at, stopper.act
        try:
            rows = trainer.run(watch)
        except Interrupted:
            rows = trainer.rows
        if processes.first:
            held = [[row.val_loss, row.val_top1, row.train_loss] for row in rows]
            Path(out + ".json").write_text(json.dumps({"losses": watch.losses, "rows": held}))


if __name__ == "__main__":
    main(*sys.argv[1:])
