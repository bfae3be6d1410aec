"""The golden checkpoints, one a family, and how numbers are compared."""

from pathlib import Path

from torch import Tensor

from videoswin.weights.safetensors import read_tensors

GOLDEN = Path(__file__).parent.parent / "golden"
VIDEO = {
    "official": ("official_3d.pth", "official_3d_expected.safetensors"),
    "mmaction2": ("mmaction2_3d.pth", "official_3d_expected.safetensors"),
    "torchvision_3d": ("torchvision_3d.pth", "torchvision_3d_expected.safetensors"),
}
IMAGE = {
    "microsoft": ("microsoft_2d.pth", "timm_2d_expected.safetensors"),
    "timm": ("timm_2d.safetensors", "timm_2d_expected.safetensors"),
    "torchvision_2d": ("torchvision_2d.pth", "torchvision_2d_expected.safetensors"),
    "transformers": ("transformers_2d.safetensors", "transformers_2d_expected.safetensors"),
    "transformers5": ("transformers5_2d.safetensors", "transformers_2d_expected.safetensors"),
}
FILES = {family: GOLDEN / file for family, (file, _) in {**VIDEO, **IMAGE}.items()}


def expected(family: str) -> dict[str, Tensor]:
    return read_tensors(GOLDEN / {**VIDEO, **IMAGE}[family][1])


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).norm() / theirs.norm()).item()
