"""Published runs: the paper's, as its public code was configured (configs/recognition/swin of the authors' repository), and one of
another system.

Eight GPUs with eight clips each make a step of 64. With one device, ``batch_size`` 8 and ``accumulate`` 8 are the same step; with
other numbers the learning rate is scaled in proportion. What a recipe takes over from another one, because it was not published,
its ``about`` says. The public code's runs differ from their own configuration in which
parameters decay (``parameter_rule``, see :mod:`videoswin.train.optim`); these recipes do what the runs did.
"""

from collections.abc import Mapping
from typing import Any

from videoswin.data.preprocessing import Preprocessing
from videoswin.train.recipe import Recipe

__all__ = ["PUBLISHED"]

_AS_THE_CODE: Mapping[str, Any] = {
    "accumulate": 8,
    "parameter_rule": "official",
    "schedule": "epoch",
    "max_grad_norm": 0.0,
    "precision": "fp16",
}
_CARRIED = "not published: the numbers are those on Kinetics-400"
_IN_1K, _IN_22K = "of image models (Swin, ImageNet-1K)", "of image models (Swin, ImageNet-22K)"


def _kinetics(about: str, model: str, lr: float, decay: float, drop_path: float, start: str) -> Recipe:
    return Recipe(
        about=about,
        steps=0,
        epochs=(30, 30),
        batch_size=8,
        clips_per_step=64,
        lr=lr,
        backbone_lr_ratio=0.1,
        weight_decay=decay,
        warmup_epochs=2.5,
        label_smoothing=0.0,
        augment="kinetics",
        flip=True,
        drop_path=drop_path,
        settings=_AS_THE_CODE,
        model=model,
        start=start,
        preprocessing=Preprocessing(antialias=False),
    )


PUBLISHED: Mapping[str, Recipe] = {
    "kinetics400_t": _kinetics("Swin-T on Kinetics-400", "swin3d_t", 1e-3, 0.02, 0.1, _IN_1K),
    "kinetics400_s": _kinetics("Swin-S on Kinetics-400", "swin3d_s", 1e-3, 0.02, 0.1, _IN_1K),
    "kinetics400_b": _kinetics("Swin-B on Kinetics-400", "swin3d_b", 1e-3, 0.05, 0.3, _IN_1K),
    "kinetics400_b_22k": _kinetics("Swin-B on Kinetics-400, from 22K", "swin3d_b", 3e-4, 0.05, 0.2, _IN_22K),
    "kinetics400_l": _kinetics(
        "Swin-L on Kinetics-400, from 22K (not published: the numbers are those of Swin-B from 22K)",
        "swin3d_l",
        3e-4,
        0.05,
        0.2,
        _IN_22K,
    ),
    "kinetics600_t": _kinetics(f"Swin-T on Kinetics-600 ({_CARRIED})", "swin3d_t", 1e-3, 0.02, 0.1, _IN_1K),
    "kinetics600_s": _kinetics(f"Swin-S on Kinetics-600 ({_CARRIED})", "swin3d_s", 1e-3, 0.02, 0.1, _IN_1K),
    "kinetics600_b": _kinetics(f"Swin-B on Kinetics-600 ({_CARRIED})", "swin3d_b", 1e-3, 0.05, 0.3, _IN_1K),
    "kinetics600_b_22k": _kinetics("Swin-B on Kinetics-600, from 22K", "swin3d_b", 3e-4, 0.05, 0.2, _IN_22K),
    "kinetics600_l": _kinetics(
        "Swin-L on Kinetics-600, from 22K (not published: the numbers are those of Swin-B from 22K)",
        "swin3d_l",
        3e-4,
        0.05,
        0.2,
        _IN_22K,
    ),
    "ssv2_b": Recipe(
        about="Swin-B on Something-Something v2",
        steps=0,
        epochs=(60, 60),
        batch_size=8,
        clips_per_step=64,
        lr=3e-4,
        backbone_lr_ratio=0.1,
        weight_decay=0.05,
        warmup_epochs=2.5,
        label_smoothing=0.1,
        augment="ssv2",
        drop_path=0.4,
        settings=_AS_THE_CODE,
        model="swin3d_b_ssv2",
        start="of Swin-B, trained on Kinetics-400 with windows of 16x7x7",
        preprocessing=Preprocessing(sampling="uniform", antialias=False),
    ),
    # SlowFast's MVIT_B_16x4_CONV. The clips of a step are not given with it, so that the rate is taken as it is.
    "kinetics400_mvit_b": Recipe(
        about="MViT-B on Kinetics-400, from fresh weights (the clips of a step are not published with it)",
        steps=0,
        epochs=(200, 200),
        batch_size=8,
        lr=1e-4,
        backbone_lr_ratio=1.0,
        weight_decay=0.05,
        warmup_epochs=30,
        label_smoothing=0.1,
        augment="ssv2",  # the same amounts: crops of 8 to 100 %, RandAugment 4 of strength 7, erasing 0.25
        flip=True,
        drop_path=0.2,
        settings={"repeat": 2, "mixup": 0.8, "cutmix": 1.0},
        model="mvit_v1_b",
        preprocessing=Preprocessing(clip_len=16, frame_interval=4),
    ),
}
