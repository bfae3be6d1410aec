"""How the publishers of the zoo's files prepared their clips: it has to travel with the weights."""

from dataclasses import dataclass
from typing import Any

from videoswin.data.preprocessing import Preprocessing

__all__ = ["prepared_as_published"]

_IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_KINETICS = ((110.2008, 100.63983, 95.99475), (58.14765, 56.46975, 55.332495))
_GREY = ((114.75, 114.75, 114.75), (57.375, 57.375, 57.375))
_ONE = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
_CAFFE = ((104.0, 117.0, 128.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class _Published:
    """``time``: fields of sampling; ``short``: the short side over the crop; ``crop``: over the model's own crop."""

    time: dict[str, Any]
    short: float
    colours: tuple[tuple[float, ...], tuple[float, ...]]
    crop: float = 1.0
    notes: str = ""


def _every(n: int) -> dict[str, Any]:
    return {"sampling": "interval", "frame_interval": n}


def _rate(fps: float) -> dict[str, Any]:
    return {"sampling": "time", "fps": fps}


_UNIFORM = {"sampling": "uniform"}
_171 = "Published with frames stretched to 128x171, here with a short side of 128."
_CAFFE_NOTE = "Caffe's weights saw blue first and a mean of their own; here as MMAction2 does. " + _171
_UNKNOWN = "Its publisher's preprocessing is not known; this is the usual one."
_TV_RESNET = _Published(_rate(15), 128 / 112, _KINETICS, notes=_171)
_SLOWFAST = _Published(_every(8), 256 / 224, _GREY)
_MM_RESNET = _Published(_every(8), 1.0, _IMAGENET, crop=256 / 224)
_INCEPTION = _Published(_rate(25), 256 / 224, _ONE)
_VIVIT = _Published(_every(2), 1.0, _ONE)
_FRAMES = _Published(_UNIFORM, 256 / 224, _IMAGENET, notes="An image network: frames are spread over the video.")
_HUB_TIMESFORMER = "The hub's colours are taken to be the official code's, .45 and .225."

_FAMILIES: dict[str, _Published] = {
    "r3d_torchvision": _TV_RESNET,
    "r2plus1d_torchvision": _TV_RESNET,
    "s3d_torchvision": _Published(_rate(15), 256 / 224, _KINETICS),
    "mvit_torchvision": _Published(_rate(7.5), 256 / 224, _GREY),
    "resnet_slowfast": _SLOWFAST,
    "resnet_caffe2": _SLOWFAST,
    "resnet_pytorchvideo": _SLOWFAST,
    "resnet_pytorchvideo_flat": _SLOWFAST,
    "mvit_slowfast": _Published(_every(4), 256 / 224, _GREY),
    "mvit_pytorchvideo": _Published(_every(4), 256 / 224, _GREY),
    "vtn_official": _Published(_UNIFORM, 256 / 224, _GREY),
    "timesformer_official": _Published(_every(32), 1.0, _GREY),
    "timesformer_transformers": _Published(_every(32), 1.0, _GREY, notes=_HUB_TIMESFORMER),
    "timesformer_mmaction2": _Published(_every(32), 1.0, _ONE),
    "timesformer_mmaction2_plain": _Published(_every(32), 1.0, _ONE),
    "resnet_mmaction2": _MM_RESNET,
    "resnet_mmaction2_2d": _Published(_every(8), 1.0, _IMAGENET),
    "r2plus1d_mmaction2": _MM_RESNET,
    "mvit_mmaction2": _Published(_every(4), 256 / 224, _IMAGENET),
    "i3d_piergiaj": _INCEPTION,
    "i3d_hassony2": _INCEPTION,
    "s3d_kylemin": _Published(_every(1), 256 / 224, _ONE),
    "c3d_sports1m": _Published(_every(1), 128 / 112, _CAFFE, notes=_CAFFE_NOTE),
    "c3d_mmaction2_backbone": _Published(_every(1), 128 / 112, _CAFFE, notes=_171),
    "c3d_jfzhang95": _Published(_every(1), 128 / 112, _CAFFE, notes=_CAFFE_NOTE),
    "c3d_mmaction2": _Published(_every(1), 128 / 112, _CAFFE, notes=_171),
    "vivit_transformers": _VIVIT,
    "vit_timm": _FRAMES,
    "vit_transformers": _Published(_UNIFORM, 1.0, _ONE, notes=_FRAMES.notes),
    "deit_transformers": _FRAMES,
    "deit_distilled_transformers": _FRAMES,
    "videomae_transformers": _Published(_every(4), 1.0, _IMAGENET),
    "vjepa2_transformers": _Published(_every(4), 1.0, _IMAGENET, notes=_UNKNOWN),
}


def prepared_as_published(family: str, config: Any) -> tuple[Preprocessing, str]:
    """The publisher's test preprocessing for clips of the model's own length and size, and what differs from it, in words.

    Args:
        family: of the load report.
        config: of the model.
    """
    name = "vivit_transformers" if family.startswith("vivit_scenic") else family
    name = "mvit_mmaction2" if family.startswith("mvit_mmaction2") else name
    known = _FAMILIES.get(name, _Published(_every(2), 256 / 224, _IMAGENET, notes=_UNKNOWN))
    time = dict(known.time)
    if name == "resnet_mmaction2" and config.clip_len == 32:
        time["frame_interval"] = 2
    side = round(config.crop_size * known.crop)
    mean, std = known.colours
    settings = {
        "clip_len": config.clip_len, "size": [side, side], "short_side": round(side * known.short), "antialias": False,
        "mean": list(mean), "std": list(std), **time,
    }  # fmt: skip
    return Preprocessing.from_dict(settings), known.notes
