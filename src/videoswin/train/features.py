"""What a frozen model sees in each clip: computed once, kept on the disk, and read again by whoever asks the same.

One file for each clip, model and preprocessing. Its name is made of what the clip's file holds, what the weights are and how
frames are chosen and cut, so a changed file, another checkpoint or another size never meets old features.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from videoswin.classifier.classifier import Classifier
from videoswin.data.annotations import Clip
from videoswin.data.dataset import ClipDataset
from videoswin.errors import WeightsError
from videoswin.interface.video_model import VideoModel
from videoswin.storage.atomic import replace_file
from videoswin.storage.cache import cache_folder
from videoswin.weights.safetensors import read_tensors, write_tensors

__all__ = ["Features", "extract", "num_stages"]

_PARTS = (8, 2, 2)  # time, height, width: the tokens of a stage are averaged to so many at most
_VERSION = 1  # of what a file holds; part of its name


@dataclass(frozen=True)
class Features:
    """Of N clips, by stage (counted from 1). ``pooled``: (N, C), the mean over space and time. ``tokens``: (N, P, C), means
    over parts of it. ``computed``: how many clips were not there yet."""

    pooled: dict[int, Tensor]
    tokens: dict[int, Tensor]
    computed: int


def extract(
    classifier: Classifier, rows: Sequence[Clip], folder: Path | None = None, step: Callable[[], None] = lambda: None
) -> Features:
    """One centre view of every clip through the backbone. ``folder``: where features are kept, by default the cache.

    Raises:
        VideoError: a clip that cannot be decoded.
    """
    clips = ClipDataset(rows, sorted({row.label for row in rows}), classifier.preprocessing)
    kept = (folder or cache_folder() / "features") / _key(classifier)
    kept.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Tensor]] = []
    computed = 0
    for number, row in enumerate(rows):
        path = kept / f"{_clip_hash(row)}.safetensors"
        tensors = _read(path)
        if tensors is None:
            tensors = _look(classifier, clips[number][0])
            with replace_file(path) as new:
                write_tensors(new, tensors)
            computed += 1
        found.append(tensors)
        step()
    stages = range(1, num_stages(classifier.model) + 1)
    return Features(
        {s: torch.stack([t[f"pooled.{s}"].float() for t in found]) for s in stages},
        {s: torch.stack([t[f"tokens.{s}"].float() for t in found]) for s in stages},
        computed,
    )


def num_stages(model: VideoModel) -> int:
    """Of how many maps features are kept: every stage's of a model with a pyramid, the last one's of others."""
    return len(model.config.depths) if "pyramid" in model.capabilities else 1


def _look(classifier: Classifier, clip: Tensor) -> dict[str, Tensor]:
    """``clip``: (3, T, H, W)."""
    model = classifier.model
    weight = next(model.parameters())
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            maps = _maps(model, clip[None].to(weight.device, weight.dtype))
    finally:
        model.train(was_training)
    tensors = {}
    for stage, (one, pooled) in enumerate(maps, 1):
        time, height, width = (min(n, most) for n, most in zip(one.shape[2:], _PARTS, strict=True))
        parts = F.adaptive_avg_pool3d(one.float(), (time, height, width))
        tensors[f"pooled.{stage}"] = pooled.float()[0].cpu()
        tensors[f"tokens.{stage}"] = parts.flatten(2)[0].T.half().cpu()  # (P, C)
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


def _maps(model: VideoModel, clip: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(1, 3, T, H, W) -> of each stage its map (1, C, T', H', W') and its features (1, C); a system whose last answer is no map
    has one place."""
    if "pyramid" in model.capabilities:
        return [(one, one.float().mean(dim=(2, 3, 4))) for one in model.forward_pyramid(clip)]  # type: ignore[operator]
    last = model.forward_features(clip)
    pooled = model.pool(last)
    return [(last if last.ndim == 5 else pooled[:, :, None, None, None], pooled)]


def _read(path: Path) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        return read_tensors(path)
    except WeightsError:  # cut off by a full disk, say; it can be had again
        return None


def _key(classifier: Classifier) -> str:
    digest = hashlib.blake2b(digest_size=12)
    digest.update(json.dumps([_VERSION, _PARTS, classifier.preprocessing.to_dict()], sort_keys=True).encode())
    digest.update(json.dumps(classifier.model.config.to_dict(), sort_keys=True).encode())
    for name, tensor in sorted(classifier.model.state_dict().items()):
        if classifier.model.is_of_head(name):
            continue
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _clip_hash(row: Clip) -> str:
    with row.path.open("rb") as file:
        content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return f"{content}-{row.start}-{row.end}" if row.is_part else content
