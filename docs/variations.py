"""Makes docs/figures/variations.png: what each variation of training clips does to one of the bundled clips.

python docs/variations.py
"""

import io
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from videoswin.data.clips import Clip
from videoswin.data.dataset import clip_generator
from videoswin.data.part import open_clip
from videoswin.data.rand_augment import RandAugment
from videoswin.data.transforms import RandomErasing, Resize, resize_short_side
from videoswin.train.augments import AUGMENTS
from videoswin.train.mixing import Mixing

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "src" / "videoswin" / "assets" / "samples"
SIDE, FRAMES = 112, 4


def frames_of(name: str) -> Tensor:
    """uint8 (FRAMES, SIDE, SIDE, 3), spread over a bundled clip."""
    path = next(SAMPLES.glob(f"{name}*.mp4"))
    with open_clip(Clip(path, name)) as video:
        picked = torch.linspace(0.15, 0.85, FRAMES).mul(len(video)).long()
        frames = resize_short_side(video.get_frames(picked).data, SIDE)
    left = (frames.shape[2] - SIDE) // 2
    return frames[:, :, left : left + SIDE].contiguous()


def varied(name: str, frames: Tensor, seed: int) -> Tensor:
    augment = AUGMENTS[name]
    assert augment is not None
    return augment(frames, 0, Resize(None, (SIDE, SIDE)), None, clip_generator(0, 0, seed))[0]


def mixed(mixing: Mixing, one: Tensor, two: Tensor, seed: int) -> Tensor:
    clips = torch.stack([one, two]).permute(0, 4, 1, 2, 3).float()
    both, _ = mixing(clips, torch.eye(2), clip_generator(0, 0, seed))
    return both[0].permute(1, 2, 3, 0).round().to(torch.uint8)


def main() -> None:
    one, two = frames_of("star"), frames_of("tick")
    rows = {
        "as it is": one,
        "gentle": varied("gentle", one, 1),
        "standard": varied("standard", one, 2),
        "strong": varied("strong", one, 3),
        "kinetics": varied("kinetics", one, 4),
        "RandAugment 4, 7": RandAugment(4, 7)(one, clip_generator(0, 0, 11)),
        "random erasing": RandomErasing(1.0)(one, clip_generator(0, 0, 6)),
        "MixUp": mixed(Mixing(mixup=0.8), one, two, 7),
        "CutMix": mixed(Mixing(cutmix=1.0), one, two, 9),
    }
    figure = Figure(figsize=(8.4, 2.6), layout="constrained")
    axes = figure.subplots(3, 3).flatten()
    for each, (name, frames) in zip(axes, rows.items(), strict=True):
        each.imshow(torch.cat(list(frames), dim=1).numpy())
        each.set_title(name, fontsize=9)
        each.axis("off")
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=80)
    picture = Image.open(drawn).convert("RGB").quantize(96)
    picture.save(ROOT / "docs" / "figures" / "variations.png", optimize=True)


if __name__ == "__main__":
    main()
