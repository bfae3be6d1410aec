"""The general start: weights of swin3d_micro that know motion of many kinds and no class.

    python recipes/general_start.py --out runs/general --device cuda

Nothing real is read. Hands that draw, people who walk, jump, wave, clap, strike and meet, things that fly, turn and fall,
over clutter, before still and moving cameras, all of it drawn (recipes/generated). The checkpoint that comes with the package
as swin3d_micro_motion was made so on one H200: 3,700 steps of 64 clips in 225 seconds, drawing beside it; docs/log.md has the
figures. The clips take 1.5 MB of memory each, and a processor some hundred times as long for the steps.
"""

import argparse
import os
from multiprocessing import get_context
from pathlib import Path

import torch
from generated.general_pretraining import Course, Figures, View, pretrain
from generated.scenes import Scenes, draw_scenes

from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.model import VideoSwin, create_model

PREPROCESSING = Preprocessing(clip_len=16, sampling="uniform", size=(112, 112), short_side=None)
"""The whole clip in 16 frames and the whole frame: what moves may be near the edge."""
DRAWN_FRAMES, DRAWN = 32, (128, 128)
VIEWS = (
    View(frames=16, interval=2, size=(112, 112), batch_size=64, share=0.5),
    View(frames=32, interval=1, size=(112, 112), batch_size=32, share=0.25),
    View(frames=16, interval=1, size=(112, 112), batch_size=64, share=0.1),
    View(frames=16, interval=2, size=(56, 56), batch_size=128, share=0.15),
)
"""Mostly the whole clip, now finer in time, now a part of it, now small: one start for all of these."""
STEPS = 3700
PLAIN, CLUTTERED = 1600, 7200
CHUNK = 25


class Drawn:
    """All clips, on one device."""

    def __init__(self, device: torch.device, processes: int, seed: int, plain: int, cluttered: int) -> None:
        self._plain = draw(plain, 0.0, 2 * seed, processes, device)
        self._cluttered = draw(cluttered, 1.0, seed, processes, device)

    def pick(self, plain: int, cluttered: int) -> Scenes:
        """So many random clips of each kind, plain ones first."""
        parts = [
            [column[chosen] for column in scenes]
            for scenes, count in ((self._plain, plain), (self._cluttered, cluttered))
            for chosen in [torch.randint(len(scenes.frames), (count,)).to(scenes.frames.device)]
        ]
        return Scenes(*(torch.cat(pair) for pair in zip(*parts, strict=True)))


def draw(count: int, clutter: float, seed: int, processes: int, device: torch.device) -> Scenes:
    """``count`` clips, drawn by several processes."""
    jobs = [(min(CHUNK, count - i), clutter, seed + i) for i in range(0, count, CHUNK)]
    with get_context("spawn").Pool(processes) as pool:
        parts = [Scenes(*(torch.from_numpy(a).to(device) for a in arrays)) for arrays in pool.imap(_chunk, jobs)]
    return Scenes(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _chunk(job: tuple[int, float, int]) -> tuple[object, ...]:
    """Arrays: tensors would be sent between processes through shared memory, a file each."""
    count, clutter, seed = job
    torch.set_num_threads(1)
    scenes = draw_scenes(count, DRAWN_FRAMES, DRAWN, torch.Generator().manual_seed(seed), clutter)
    return tuple(tensor.numpy() for tensor in scenes)


def show(figures: Figures) -> None:
    """A line every two hundred steps."""
    if figures.step % 200 == 0:
        right = "  ".join(f"{name} {value:.2f}" for name, value in figures.right.items())
        print(f"step {figures.step}: heat {figures.heat:.3f}  pose {figures.pose:.3f}  {right}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--clips", type=int, nargs=2, default=(PLAIN, CLUTTERED), help="plain and cluttered ones")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="that draw clips")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    device = torch.device(arguments.device)
    model = create_model("swin3d_micro", num_classes=0, drop_path=0.02).to(device)
    pool = Drawn(device, arguments.processes, 1_000_000 * (arguments.seed + 1), *arguments.clips)
    course = Course(views=VIEWS, autocast=device.type == "cuda")
    pretrain(model, PREPROCESSING, course, pool, lambda step: step / arguments.steps, show, arguments.seed)
    write(model.cpu(), arguments.out)


def write(model: VideoSwin, out: Path) -> None:
    """The checkpoint, in half precision, without a head: fine-tuning makes one."""
    plain = create_model("swin3d_micro", num_classes=0)
    plain.backbone.load_state_dict(model.backbone.state_dict())
    notes = (
        "A start for small sets of clips, not a classifier: it learnt generated motion of hands, bodies and objects. "
        "recipes/general_start.py made it; no real clip was used."
    )
    Classifier(plain.half(), PREPROCESSING, (), name="swin3d_micro_motion", notes=notes).save(out)
    print(f"the checkpoint: {out}")


if __name__ == "__main__":
    main()
