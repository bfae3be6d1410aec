"""The general start: weights of swin3d_micro that know motion of many kinds and no class.

    python recipes/general_start.py --out runs/general

Nothing real is read. Hands that draw, people who walk, jump, wave, strike and meet, things that fly, turn and fall, over
clutter, before still and moving cameras, all of it drawn (recipes/generated). The checkpoint that comes with the package as
swin3d_micro_motion was made so; docs/log.md has the time and the figures.
"""

import argparse
import os
from multiprocessing import get_context
from pathlib import Path

import torch
from generated.general_pretraining import Course, Figures, pretrain
from generated.scenes import Scenes, draw_scenes

from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.model import VideoSwin, create_model

PREPROCESSING = Preprocessing(clip_len=16, sampling="uniform", size=(56, 56), short_side=None)
"""The whole clip in 16 frames and the whole frame: what moves may be near the edge."""
DRAWN = (64, 64)
COURSE = Course(steps=4400, plain_until=1800)
PLAIN, CLUTTERED = 3100, 6300
CHUNK = 100


def draw(count: int, clutter: float, seed: int, processes: int) -> Scenes:
    """``count`` clips, drawn by several processes."""
    jobs = [(min(CHUNK, count - i), clutter, seed + i) for i in range(0, count, CHUNK)]
    with get_context("spawn").Pool(processes) as pool:
        parts = [Scenes(*map(torch.from_numpy, arrays)) for arrays in pool.imap(_chunk, jobs)]
    return Scenes(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _chunk(job: tuple[int, float, int]) -> tuple[object, ...]:
    """Arrays: tensors would be sent between processes through shared memory, a file each."""
    count, clutter, seed = job
    torch.set_num_threads(1)
    scenes = draw_scenes(count, PREPROCESSING.clip_len, DRAWN, torch.Generator().manual_seed(seed), clutter)
    return tuple(tensor.numpy() for tensor in scenes)


def show(figures: Figures) -> None:
    """A line every hundred steps."""
    if figures.step % 100 == 0:
        right = "  ".join(f"{name} {value:.2f}" for name, value in figures.right.items())
        print(f"step {figures.step}: heat {figures.heat:.3f}  pose {figures.pose:.3f}  {right}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that draw clips")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    # A head of one class, since a checkpoint has one; fine-tuning makes a new head.
    model = create_model("swin3d_micro", num_classes=1, drop_path=0.02)
    seed = 1_000_000 * (arguments.seed + 1)
    plain = draw(PLAIN, 0.0, 2 * seed, arguments.processes)
    cluttered = draw(CLUTTERED, 1.0, seed, arguments.processes)
    pretrain(model, PREPROCESSING, COURSE, plain, cluttered, show, arguments.seed)
    write(model, arguments.out)


def write(model: VideoSwin, out: Path) -> None:
    """The checkpoint, in half precision."""
    plain = create_model("swin3d_micro", num_classes=1)
    plain.backbone.load_state_dict(model.backbone.state_dict())
    assert plain.head is not None
    torch.nn.init.zeros_(plain.head.fc.weight)
    notes = (
        "A start for small sets of clips, not a classifier: it learnt generated motion of hands, bodies and objects."
    )
    Classifier(plain.half(), PREPROCESSING, ("motion",), name="swin3d_micro_motion", notes=notes).save(out)
    print(f"the checkpoint: {out}")


if __name__ == "__main__":
    main()
