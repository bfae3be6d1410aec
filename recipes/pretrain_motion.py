"""Generated motion: the weights that swin3d_micro starts from on small sets of real clips.

    python recipes/pretrain_motion.py --out runs/motion

Time: 31 minutes on one busy core (2026-11-23). Figures: .92 of the generated paths named right at the end; .968 of the 217 real
clips of ego_pointing_gestures, none of which it has seen (one view, the label "none" left out).

Nothing real is read. See docs/train.md for why this exists, and docs/log.md for what it replaced.
"""

import argparse
import os
from pathlib import Path

import torch
from generated.gesture_pretraining import MotionFigures, Phase, pretrain
from generated.hand import GESTURES

from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.model import create_model

LABELS = (*GESTURES, "none")

PREPROCESSING = Preprocessing(clip_len=16, sampling="uniform", size=(56, 56), short_side=None)
"""The whole gesture in 16 frames, and the whole frame: a finger may draw near the edge. 56 pixels are 14x14 patches, which
windows of 7 tile exactly in every stage."""

PHASES = [
    Phase(clips=2400, steps=300, clutter=0.0, table_lr_ratio=10.0),
    Phase(clips=9000, steps=2000, clutter=1.0),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint, e.g. runs/motion")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    model = create_model("swin3d_micro", num_classes=len(LABELS), drop_path=0.0, head_dropout=0.0)
    pretrain(model, PREPROCESSING, PHASES, arguments.seed, os.cpu_count() or 1, _report)
    notes = "Pretrained on generated pointing motion only (recipes/pretrain_motion.py)."
    Classifier(model, PREPROCESSING, LABELS, name="swin3d_micro_motion", notes=notes).save(arguments.out)
    print(f"saved {arguments.out}")


def _report(phase: Phase, figures: MotionFigures) -> None:
    if figures.step % 50 == 0 or figures.step == phase.steps:
        print(
            f"clutter {phase.clutter:.0%}  step {figures.step}/{phase.steps}  loss {figures.loss:.3f}  "
            f"path named right {figures.accuracy:.1%}  where: {figures.heat_loss:.3f} {figures.tip_loss:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
