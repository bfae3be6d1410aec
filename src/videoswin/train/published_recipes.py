"""Published runs: the paper's, as its public code was configured (configs/recognition/swin of the authors' repository), and those of
other systems of which all numbers that matter are known.

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


_SGD: Mapping[str, Any] = {"optimizer": "sgd", "momentum": 0.9, "max_grad_norm": 0.0}
_NO_DECAY = "the decay is not published with it, and none is taken"
_HALF = (127.5, 127.5, 127.5)  # pixels in [-1, 1]


def _by_sgd(about: str, model: str, start: str, lr: float, preprocessing: Preprocessing, **others: Any) -> Recipe:
    """30 epochs of 64 clips a step with a warm-up, unless ``others`` says otherwise."""
    numbers: dict[str, Any] = {
        "epochs": (30, 30),
        "batch_size": 8,
        "clips_per_step": 64,
        "warmup_epochs": 2.5,
        "settings": {"accumulate": 8},
    }
    numbers |= others
    numbers["settings"] = {**_SGD, **numbers["settings"]}
    return Recipe(
        about=f"{about} on Kinetics-400 ({_NO_DECAY})",
        steps=0,
        lr=lr,
        backbone_lr_ratio=1.0,
        weight_decay=0.0,
        label_smoothing=0.0,
        augment="strong",
        flip=True,
        drop_path=None,
        model=model,
        start=start,
        preprocessing=preprocessing,
        **numbers,
    )


_VIT = "of image models (ViT-B/16, ImageNet-21K)"
_VIVIT = Preprocessing(clip_len=32, frame_interval=2, mean=_HALF, std=_HALF)

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
    "kinetics400_i3d": _by_sgd(
        "I3D, from image weights,",
        "i3d",
        "of image models (Inception-v1, ImageNet), inflated",
        0.1,
        Preprocessing(clip_len=64, sampling="time", fps=25.0, mean=_HALF, std=_HALF),
        epochs=(184, 184),  # 115,000 steps of 384 of the 240,000 clips
        batch_size=6,
        clips_per_step=384,
        warmup_epochs=0,
        settings={"accumulate": 64, "schedule": "drops", "lr_drops": (97 / 115, 108 / 115)},
    ),
    "kinetics400_vtn_b": _by_sgd(
        "VTN, in steps whose clips are not published,",
        "vtn_b",
        _VIT,
        1e-3,
        Preprocessing(clip_len=16, sampling="time", fps=25 / 8, mean=(114.75,) * 3, std=(57.375,) * 3),
        epochs=(25, 25),
        clips_per_step=0,
        warmup_epochs=0,
        settings={"schedule": "drops", "lr_drops": (13 / 25, 24 / 25)},
    ),
    "kinetics400_vivit_b": _by_sgd("ViViT-B/16x2", "vivit_b_16x2_model1", _VIT, 0.1, _VIVIT),
    "kinetics400_vivit_b_fe": _by_sgd("ViViT-B/16x2, factorised encoder,", "vivit_b_16x2_model2", _VIT, 0.05, _VIVIT),
}
