"""What each system is called and which paper describes it, by its configuration: for model cards and whoever cites them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from videoswin.interface.model_config import ModelConfig

__all__ = ["Paper", "paper_of"]


class Paper(NamedTuple):
    """``name``: of the system; ``tag``: the same for hubs; ``citation``: authors, year, arXiv number."""

    name: str
    tag: str
    citation: str


_SWIN = Paper("Video Swin Transformer", "video-swin-transformer", "Liu et al., 2021, arXiv 2106.13230")
_SWIN_2D = Paper("Swin Transformer on frames", "swin-transformer", "Liu et al., 2021, arXiv 2103.14030")
_VIT = Paper("Vision Transformer on frames", "vit", "Dosovitskiy et al., 2021, arXiv 2010.11929")
_DEIT = Paper("DeiT on frames", "deit", "Touvron et al., 2021, arXiv 2012.12877")
_I3D = Paper("I3D", "i3d", "Carreira and Zisserman, 2017, arXiv 1705.07750")
_S3D = Paper("S3D", "s3d", "Xie et al., 2018, arXiv 1712.04851")
_RESNETS = {
    "r3d": Paper("R3D", "r3d", "Tran et al., 2018, arXiv 1711.11248"),
    "mc3": Paper("MC3", "mc3", "Tran et al., 2018, arXiv 1711.11248"),
    "r2plus1d": Paper("R(2+1)D", "r2plus1d", "Tran et al., 2018, arXiv 1711.11248"),
}
_CONTEXTS = {
    "non_local": ("non-local blocks", "non-local", "Wang et al., 2018, arXiv 1711.07971"),
    "global_context": ("global context blocks", "gcnet", "Cao et al., 2019, arXiv 1904.11492"),
    "disentangled": ("disentangled non-local blocks", "dnlnet", "Yin et al., 2020, arXiv 2006.06668"),
}
_MVITS = {
    1: Paper("MViT", "mvit", "Fan et al., 2021, arXiv 2104.11227"),
    2: Paper("MViTv2", "mvitv2", "Li et al., 2022, arXiv 2112.01526"),
}

_HUB = {
    "videomae": Paper("VideoMAE", "videomae", "Tong et al., 2022, arXiv 2203.12602"),
    "vjepa2": Paper("V-JEPA 2", "vjepa2", "Assran et al., 2025, arXiv 2506.09985"),
}


def _of_resnet(config: Any) -> Paper:
    """By which first convolutions see several frames: none, those of the last stages, or all over."""
    frames = [max(cycle) for cycle in config.kernels_t]
    if max(frames) == 1 and config.conv1_kernel_t == 1:
        name, tag, citation = "C2D", "c2d", "Wang et al., 2018, arXiv 1711.07971"
    elif max(frames[:2]) == 1:
        name, tag, citation = "SlowOnly", "slowonly", "Feichtenhofer et al., 2019, arXiv 1812.03982"
    else:
        name, tag, citation = "I3D ResNet", "i3d-resnet", "Carreira and Zisserman, 2017, arXiv 1705.07750"
    if config.context is not None:
        block, tag, cited = _CONTEXTS[config.context.kind]
        name, citation = f"{name} with {block}", f"{citation}; {cited}"
    return Paper(name, tag, citation)


_PAPERS: Mapping[str, Callable[[Any], Paper]] = {
    "swin": lambda c: _SWIN_2D if c.patch_size[0] == c.window_size[0] == 1 else _SWIN,
    "swin_ablation": lambda c: _SWIN._replace(name="Video Swin Transformer with an idea taken away"),
    "c3d": lambda c: Paper("C3D", "c3d", "Tran et al., 2015, arXiv 1412.0767"),
    "inception": lambda c: _S3D._replace(name="S3D-G") if c.gate != "none" else _S3D if c.separable else _I3D,
    "resnet": _of_resnet,
    "r2plus1d": lambda c: _RESNETS[c.convs],
    "p3d": lambda c: Paper("P3D", "p3d", "Qiu et al., 2017, arXiv 1711.10305"),
    "vit": lambda c: _DEIT if c.distilled else _VIT,
    "vtn": lambda c: Paper("VTN", "vtn", "Neimark et al., 2021, arXiv 2102.00719"),
    "timesformer": lambda c: Paper("TimeSformer", "timesformer", "Bertasius et al., 2021, arXiv 2102.05095"),
    "vivit": lambda c: Paper("ViViT", "vivit", "Arnab et al., 2021, arXiv 2103.15691"),
    "mvit": lambda c: _MVITS[c.version],
    "transformers": lambda c: _HUB[c.architecture],
}


def paper_of(config: ModelConfig) -> Paper:
    """The paper of a model of any system."""
    return _PAPERS[getattr(config, "system", "swin")](config)
