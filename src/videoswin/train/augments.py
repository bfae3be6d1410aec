"""How much the clips of a run vary: four amounts, and two published ways, by name."""

from collections.abc import Mapping

from videoswin.data.dataset import Augment
from videoswin.data.photometric import ColourJitter, GaussianNoise, RandomErasing
from videoswin.data.rand_augment import RandAugment
from videoswin.data.transforms import RandomAffine

__all__ = ["AUGMENTS"]

AUGMENTS: Mapping[str, Augment | None] = {
    "none": None,
    "gentle": Augment(crop_scale=(0.8, 1.0), crop_ratio=(0.9, 1.1), colour=ColourJitter(0.2, 0.2, 0.2)),
    "standard": Augment(crop_scale=(0.3, 1.0), colour=ColourJitter(0.3, 0.3, 0.3, hue=0.05)),
    "strong": Augment(
        # Whole frames and smaller pictures are among the draws, so that an evaluation, which cuts nothing off, is too.
        crop_scale=(0.75, 1.0),
        crop_ratio=(0.85, 1.18),
        speed_jitter=0.1,
        affine=RandomAffine(degrees=10, shift=0.08, scale=(0.8, 1.1)),
        colour=ColourJitter(0.4, 0.4, 0.5, hue=0.1, grayscale=0.15),
        noise=GaussianNoise(8),
    ),
    "kinetics": Augment(),  # crops of 8 to 100 % of the area, and nothing else
    "ssv2": Augment(rand=RandAugment(4, 7), erasing=RandomErasing(0.25)),
}
"""How much the clips of a run vary. Everything is the same for all frames of a clip; nothing flips unless asked."""
