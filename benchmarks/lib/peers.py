"""What is measured: our model in its variants, the same model in other code, and other models for the same task.

A peer of the same model takes over our weights, and its outputs and gradients must be ours before it is timed. Another model
(TimeSformer, ViViT, VideoMAE) has its own clip and its own accuracy, which are shown beside its time.

A new peer is a new class. One that cannot be trained, as an exported file, sets ``trainable = False`` and returns from
``build`` any callable that takes a video and gives logits.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import torch
from benchmarks.lib.job import Job
from benchmarks.lib.multihead import MultiheadSwin
from benchmarks.lib.torchvision_swin import torchvision_swin, torchvision_title
from torch import Tensor, nn

from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, MissingExtraError, nearest
from videoswin.export.runtime import load_exported
from videoswin.kernels import use_engine
from videoswin.model import VideoSwin
from videoswin.model.config import Grid
from videoswin.weights.formats import FAMILIES
from videoswin.zoo.swin_macs import count_macs

__all__ = [
    "OTHERS", "PEERS", "Compiled", "Exported", "Multihead", "Ours", "OursCheckpointed", "Peer", "Torchvision", "choose",
]  # fmt: skip

Model = Callable[[Tensor], Tensor]


class Peer(ABC):
    """One line of the tables."""

    name: str
    same_model = True
    """Whether it must compute what our model computes."""
    trainable = True
    device = ""
    """The kind of device that it is bound to, if any."""
    accuracy: str = ""
    """Published top-1 on Kinetics-400 with its views, where it is another model."""
    source: str = ""
    """Where that figure stands."""

    @abstractmethod
    def build(self, job: Job, ours: VideoSwin) -> Model:
        """The model on the job's device, with our weights if it is the same model: video -> logits (B, num_classes).

        A trainable one is an ``nn.Module``.

        Raises:
            MissingExtraError: its library is not installed; the message says how to get it.
        """

    def require(self) -> str:
        """How the library was loaded; "" where there is nothing to say. Raises what ``build`` raises."""
        return ""

    def clip(self, job: Job) -> Grid:
        """Frames, height, width of the clips it takes."""
        return job.clip

    def gradients(self, model: nn.Module) -> dict[str, Tensor]:
        """Of the last backward pass, by our names."""
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    def gmacs(self, job: Job) -> float:
        """Multiply-adds of one clip, in units of 10^9."""
        return count_macs(job.config, *job.clip).executed / 1e9


class Ours(Peer):
    """This package, as ``create_model`` gives it."""

    name = "videoswin"

    def build(self, job: Job, ours: VideoSwin) -> VideoSwin:
        model = VideoSwin(job.config)
        model.load_state_dict(ours.state_dict())
        return model.to(job.device)


class OursCheckpointed(Ours):
    """With ``set_grad_checkpointing()``: blocks are computed again in the backward pass."""

    name = "videoswin, recomputed"

    def build(self, job: Job, ours: VideoSwin) -> VideoSwin:
        model = super().build(job, ours)
        model.set_grad_checkpointing()
        return model


class OursPlain(Ours):
    """With PyTorch's own operators only (:mod:`videoswin.kernels.choose`): what the compiled CPU engine is worth."""

    name = "videoswin, plain engine"

    def build(self, job: Job, ours: VideoSwin) -> VideoSwin:
        model = _Plain(job.config)
        model.load_state_dict(ours.state_dict())
        return model.to(job.device)


class _Plain(VideoSwin):
    def forward(self, video: Tensor) -> Tensor:
        with use_engine("plain"):
            return super().forward(video)


class OursTriton(Ours):
    """With the GPU engine, which nobody has measured yet, and which therefore serves only where it is named."""

    name = "videoswin, triton engine"
    device = "cuda"

    def build(self, job: Job, ours: VideoSwin) -> VideoSwin:
        self.require()
        model = _Triton(job.config)
        model.load_state_dict(ours.state_dict())
        return model.to(job.device)

    def require(self) -> str:
        try:
            with use_engine("triton"):
                pass
        except ConfigError as error:
            raise MissingExtraError(str(error)) from error
        return f"triton {importlib.import_module('triton').__version__}"


class _Triton(VideoSwin):
    def forward(self, video: Tensor) -> Tensor:
        with use_engine("triton"):
            return super().forward(video)


class Exported(Peer):
    """Our model as ``videoswin export`` writes it, float32 on the CPU."""

    trainable = False
    device = "cpu"

    def __init__(self, to: str, library: str, name: str) -> None:
        self.to = to
        self.library = library
        self.name = f"videoswin, {name}"

    def build(self, job: Job, ours: VideoSwin) -> Model:
        if torch.device(job.device).type != "cpu":
            raise ConfigError(f"Exported files run on the CPU. Leave {self.to} out of --peers.")
        self.require()
        from videoswin.export import default_path, export

        frames, height, width = job.clip
        preprocessing = Preprocessing(clip_len=frames, size=(height, width), short_side=None)
        labels = tuple(f"class {i}" for i in range(job.config.num_classes))
        with TemporaryDirectory() as folder:
            file = Path(folder) / default_path("model", self.to)
            export(Classifier(ours, preprocessing, labels), file, self.to)
            return load_exported(file).logits

    def require(self) -> str:
        try:
            return f"{self.library} {importlib.import_module(self.library).__version__}"
        except ImportError:
            extra = f"pip install 'videoswin[{self.to}]'"
            raise MissingExtraError(f"{self.library} is not installed: {extra}") from None


class Compiled(Peer):
    """Another peer through ``torch.compile``."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.name = f"{peer.name}, compiled"

    def build(self, job: Job, ours: VideoSwin) -> Model:
        model = self.peer.build(job, ours)
        if not isinstance(model, nn.Module):
            raise ConfigError(f"{self.peer.name} is no module that could be compiled. Leave --compile out.")
        model.compile()  # in place, so that names of tensors stay
        return model

    def require(self) -> str:
        return self.peer.require()

    def gradients(self, model: nn.Module) -> dict[str, Tensor]:
        return self.peer.gradients(model)

    def gmacs(self, job: Job) -> float:
        return self.peer.gmacs(job)


class Multihead(Peer):
    """The model over ``nn.MultiheadAttention``: rolled windows and a mask."""

    name = "nn.MultiheadAttention"

    def build(self, job: Job, ours: VideoSwin) -> MultiheadSwin:
        model = MultiheadSwin(job.config, job.clip)
        model.load_ours(ours.state_dict())
        return model.to(job.device)

    def gradients(self, model: nn.Module) -> dict[str, Tensor]:
        assert isinstance(model, MultiheadSwin)
        return model.gradients()

    def gmacs(self, job: Job) -> float:
        return _rolled_gmacs(job)


class Torchvision(Peer):
    """torchvision's model code."""

    name = "torchvision"

    def build(self, job: Job, ours: VideoSwin) -> nn.Module:
        self.require()
        return torchvision_swin(ours).to(job.device)

    def require(self) -> str:
        try:
            return torchvision_title()
        except ImportError as error:
            hint = "pip install --no-deps torchvision (docs/bench.md says why --no-deps)"
            raise MissingExtraError(f"torchvision is not installed: {hint}") from error

    def gradients(self, model: nn.Module) -> dict[str, Tensor]:
        return FAMILIES["torchvision_3d"].to_canonical(super().gradients(model)).tensors

    def gmacs(self, job: Job) -> float:
        return _rolled_gmacs(job)


class _Transformers(Peer):
    """A model of the ``transformers`` library at its published size, with random weights."""

    same_model = False
    family: str
    """What its classes are called: ``<family>Config``, ``<family>ForVideoClassification``."""
    frames: int

    def build(self, job: Job, ours: VideoSwin) -> nn.Module:
        return self._fresh().to(job.device)

    def require(self) -> str:
        return f"transformers {_transformers().__version__}, random weights"

    def clip(self, job: Job) -> Grid:
        return self.frames, 224, 224

    def gmacs(self, job: Job) -> float:
        with torch.device("meta"):
            return _counted(self._fresh(), self.clip(job))

    def _fresh(self) -> nn.Module:
        library = _transformers()
        config = getattr(library, f"{self.family}Config")(num_labels=400, num_frames=self.frames)
        return _Logits(getattr(library, f"{self.family}ForVideoClassification")(config))


class TimeSformer(_Transformers):
    name = "TimeSformer"
    family = "Timesformer"
    frames = 8
    accuracy = "77.9 (1x3)"
    source = "README of facebookresearch/TimeSformer, 8 frames of 224 pixels"


class ViViT(_Transformers):
    name = "ViViT-B/16x2"
    family = "Vivit"
    frames = 32
    accuracy = "79.9 (4x3)"
    source = "README of google-research/scenic, projects/vivit"


class VideoMAE(_Transformers):
    name = "VideoMAE-B"
    family = "VideoMAE"
    frames = 16
    accuracy = "80.9 (5x3)"
    source = "MODEL_ZOO of MCG-NJU/VideoMAE, ViT-B, 1600 epochs"


class _Logits(nn.Module):
    """A model of ``transformers`` called as ours is: (B, 3, T, H, W) -> logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, video: Tensor) -> Tensor:
        return self.model(pixel_values=video.transpose(1, 2)).logits


OTHERS: dict[str, Peer] = {
    "torchvision": Torchvision(),
    "plain": OursPlain(),
    "triton": OursTriton(),
    "onnx": Exported("onnx", "onnxruntime", "ONNX Runtime"),
    "openvino": Exported("openvino", "openvino", "OpenVINO"),
    "multihead": Multihead(),
    "timesformer": TimeSformer(),
    "vivit": ViViT(),
    "videomae": VideoMAE(),
}
"""What ``--peers`` can name."""

_VARIANTS: tuple[Peer, ...] = (Ours(), OursCheckpointed(), Compiled(Ours()), Compiled(Torchvision()))
PEERS: dict[str, Peer] = {peer.name: peer for peer in (*_VARIANTS, *OTHERS.values())}
"""All of them by the names of the tables."""


def choose(names: str) -> list[Peer]:
    """ "all", "none", or some names with commas in between.

    Raises:
        ConfigError: a name is unknown.
    """
    if names in {"all", "none"}:
        return list(OTHERS.values()) if names == "all" else []
    wanted = [name.strip().lower() for name in names.split(",")]
    for name in wanted:
        if name not in OTHERS:
            raise ConfigError(f'There is no peer "{name}". {nearest(name, [*OTHERS, "all", "none"])}')
    return [peer for name, peer in OTHERS.items() if name in wanted]


def _rolled_gmacs(job: Job) -> float:
    """Of the public code's way: windows are full ones also at the borders, and a mask throws products away."""
    with torch.device("meta"):
        return _counted(MultiheadSwin(job.config, job.clip), job.clip)


def _counted(model: nn.Module, clip: Grid) -> float:
    """GMACs as torch counts them in a forward pass that computes nothing: model and clip are on the meta device."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with use_engine("plain"), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model(torch.empty(1, 3, *clip, device="meta"))
    return counter.get_total_flops() / 2e9


@cache
def _transformers() -> ModuleType:
    with suppress(ImportError):
        torchvision_title()  # transformers imports it if it is installed, and fails if it cannot
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtraError("transformers is not installed: pip install 'videoswin[bench]'") from error
