"""Ways to adapt a model to new clips: which of its parameters learn.

==============  ======================================================================================================
``full``        everything
``head``        the classification head alone
``last:K``      the last K blocks, what comes after them (a final norm) and the head
``bitfit``      biases and the head (Ben Zaken et al., 2022)
``lora:R``      the head, and beside the linear layers of attention two thin matrices of rank R each (Hu et al., 2022)
==============  ======================================================================================================

Parts that do not learn keep no gradient and no optimiser state, and layers below the first one that learns are not even
gone back through. LoRA's matrices are added to the weights when a checkpoint is written: what is saved is a model like any
other, as fast and as large as before.
"""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videoswin.errors import ConfigError, MissingExtraError, nearest
from videoswin.interface.video_model import VideoModel
from videoswin.train.randomness import seeded
from videoswin.weights.safetensors import write_tensors

__all__ = [
    "Adaptation",
    "adapt",
    "describe",
    "folded",
    "has_adapters",
    "learning",
    "parse_adaptation",
    "require_adaptable",
    "restore",
    "save_adapter",
    "set_training",
]

_KINDS = ("full", "head", "last", "lora", "bitfit")
_RANK = 8
_LARGE = 10_000_000  # parameters
_LORA_LAYERS = r".*\.(attn|attn_time|attn_space|attention)\.(qkv|proj|out|(query|key|value)(_global)?)"
"""Queries, keys and values, and the projection after them, of every block of every system. The MLP is left out: its inputs
would have to be kept for the backward pass, and they are four times as large as these. The embedding of patches is called
proj, too."""


@dataclass(frozen=True)
class Adaptation:
    """``kind``: full, head, last, lora or bitfit; ``number``: the K of ``last``, the rank of ``lora``; else 0."""

    kind: str = "full"
    number: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" if self.number else self.kind


def parse_adaptation(text: str) -> Adaptation:
    """``full``, ``head``, ``last:2``, ``lora`` (rank 8), ``lora:4`` or ``bitfit``.

    Raises:
        ConfigError: anything else.
        MissingExtraError: ``lora`` without the library ``peft``.
    """
    kind, colon, number = text.strip().lower().partition(":")
    if kind not in _KINDS:
        raise ConfigError(f'adapt="{text}" is unknown. {nearest(kind, _KINDS)}')
    if kind in ("last", "lora"):
        if not colon and kind == "lora":
            number = str(_RANK)
        if not (number.isascii() and number.isdigit() and 0 < int(number) < 10_000):
            raise ConfigError(f'adapt="{text}" needs a number above 0: {kind}:{1 if kind == "last" else _RANK}.')
    elif colon:
        raise ConfigError(f'adapt="{text}": {kind} takes no number; write adapt="{kind}".')
    if kind == "lora":
        _peft()
    return Adaptation(kind, int(number) if number else 0)


def adapt(model: VideoModel, adaptation: Adaptation, seed: int = 0) -> None:
    """Lets only the wanted parameters of ``model`` learn, in place. ``lora`` wraps linear layers.

    Raises:
        ConfigError: the model has no head, fewer blocks than ``last`` names, or no attention for ``lora`` to stand beside.
    """
    if adaptation.kind == "full":
        return
    require_adaptable(model, adaptation)
    blocks = model.trunk_blocks()
    for name, parameter in model.named_parameters():
        if not model.is_of_head(name):
            parameter.requires_grad_(adaptation.kind == "bitfit" and name.endswith(".bias"))
    if adaptation.kind == "last":
        for block in blocks[len(blocks) - adaptation.number :]:
            block.requires_grad_(True)
        _after(model, blocks[-1])
    if adaptation.kind == "lora":
        peft = _peft()
        with seeded(seed):
            for child in _with_attention(model):
                peft.inject_adapter_in_model(_lora_config(peft, adaptation.number), child)
        if sum(p.numel() for p in model.parameters()) > _LARGE:
            model.set_grad_checkpointing()  # activations, not optimiser states, are what a step of video needs memory for


def require_adaptable(model: VideoModel, adaptation: Adaptation) -> None:
    """A :class:`ConfigError` if :func:`adapt` would refuse this model; the model stays as it is."""
    if adaptation.kind != "full" and model.head is None:
        raise ConfigError("A model without a head cannot be adapted to labels; create it with num_classes.")
    if adaptation.kind == "last" and adaptation.number > len(model.trunk_blocks()):
        raise ConfigError(f"The model has {len(model.trunk_blocks())} blocks; last:{adaptation.number} asks for more.")
    if adaptation.kind == "lora" and not _with_attention(model):
        name = type(model).__name__
        raise ConfigError(f"LoRA stands beside layers of attention, and {name} has none. Use head, last:1 or bitfit.")


def _with_attention(model: VideoModel) -> list[nn.Module]:
    """The parts of the trunk that have layers for LoRA to stand beside."""
    trunk = [child for name, child in model.named_children() if not model.is_of_head(name)]
    return [c for c in trunk if any(re.fullmatch(_LORA_LAYERS, name) for name, _ in c.named_modules())]


def _after(model: VideoModel, block: nn.Module) -> None:
    """Lets learn what comes after the last block: models name their parts in the order in which a clip passes them."""
    inside, passed = {id(parameter) for parameter in block.parameters()}, False
    for name, parameter in model.named_parameters():
        passed |= id(parameter) in inside
        if passed and not model.is_of_head(name):
            parameter.requires_grad_(True)


def learning(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that learn, by name: what a stopped run has to keep of an adapted model."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def set_training(model: VideoModel) -> None:
    """Training mode, but for a trunk of which nothing learns, where stochastic depth would only be noise, and for batch norms
    of which nothing learns, whose statistics stay those of the weights around them."""
    model.train()
    trunk = [(name, child) for name, child in model.named_children() if not model.is_of_head(name)]
    if not any(p.requires_grad for name, p in model.named_parameters() if not model.is_of_head(name)):
        for _, child in trunk:
            child.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d) and not any(p.requires_grad for p in module.parameters()):
            module.eval()


def has_adapters(model: nn.Module) -> bool:
    """Whether it has LoRA's matrices beside its weights."""
    return any(hasattr(module, "get_delta_weight") for module in model.modules())


def folded(model: VideoModel) -> VideoModel:
    """A plain model that gives what ``model`` with its LoRA matrices gives; ``model`` itself if it has none."""
    wrapped: dict[str, Any] = {name: m for name, m in model.named_modules() if hasattr(m, "get_delta_weight")}
    if not wrapped:
        return model
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    plain = copy.deepcopy(model, shared)  # all but the layers themselves
    for name, layer in wrapped.items():
        base = plain.get_submodule(name).get_submodule("base_layer")
        base.weight = nn.Parameter(layer.base_layer.weight.detach() + layer.get_delta_weight("default").detach())
        plain.set_submodule(name, base)
    return plain


def describe(model: nn.Module, adaptation: Adaptation) -> str:
    """What learns, in words and numbers."""
    parts = {
        "full": "all of the model",
        "head": "the head",
        "last": f"the last {adaptation.number} blocks and the head"
        if adaptation.number > 1
        else "the last block and the head",
        "lora": f"the head and matrices of rank {adaptation.number} beside the attention's layers",
        "bitfit": "biases and the head",
    }
    learns = sum(p.numel() for p in learning(model).values())
    whole = sum(p.numel() for p in model.parameters())
    return f"{adaptation}: {parts[adaptation.kind]}: {learns:,} of {whole:,} parameters learn ({learns / whole:.1%})"


def save_adapter(model: VideoModel, adaptation: Adaptation, folder: Path) -> None:
    """LoRA's matrices and the head alone, in peft's own layout, without the weights that they adapt.

    Raises:
        ConfigError: the adaptation is another one.
    """
    if adaptation.kind != "lora":
        raise ConfigError(f'adapt="{adaptation}" has no adapter to keep; only lora has.')
    peft = _peft()
    folder.mkdir(parents=True, exist_ok=True)
    _lora_config(peft, adaptation.number).save_pretrained(folder)
    tensors = {name: tensor.detach() for name, tensor in learning(model).items()}
    write_tensors(folder / "adapter_model.safetensors", {f"base_model.model.{n}": t for n, t in tensors.items()})


def _lora_config(peft: Any, rank: int) -> Any:
    return peft.LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=_LORA_LAYERS, modules_to_save=["head"]
    )


def restore(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    """Puts back what :func:`learning` gave.

    Raises:
        KeyError: other parameters learnt then.
    """
    now = learning(model)
    if now.keys() != kept.keys():
        raise KeyError(", ".join(sorted(now.keys() ^ kept.keys())[:3]))
    with torch.no_grad():
        for name, parameter in now.items():
            parameter.copy_(kept[name])


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise MissingExtraError("LoRA needs peft. Install it: pip install 'videoswin[lora]'") from None
    return peft
