"""The options of ``videoswin train`` that decide what comes out, in one table that a file can hold too."""

import dataclasses
import json
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from videoswin.errors import ConfigError, nearest
from videoswin.storage.atomic import replace_file

__all__ = ["TrainOptions", "read_options", "read_run", "write_options"]

_RUN = "run"

_NO_NEGATIVE = {"negative": "", "show_default": False}
Switch = Annotated[bool, Parameter(**_NO_NEGATIVE)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What decides what comes out of a run; None leaves it to the recipe, the model or the checkpoint.

    Parameters
    ----------
    model
        Start from fresh weights of this architecture, such as swin3d_micro, or of any system in docs/zoo.md, such as
        r2plus1d_micro. It takes thousands of clips.
    weights
        Start from this checkpoint: a folder, or a name that videoswin models lists. Its preprocessing is kept; the head keeps
        the rows of labels it knows, and the others start afresh.
    like
        For files of weights alone, whose tensors do not tell everything: the name of a model that answers the rest, such as
        timesformer_b_divided.
    num_heads
        The same, for the heads of attention alone.
    recipe
        The table of settings to start from: motion, finetune or scratch, or a published run such as kinetics400_t or
        ssv2_b (docs/recipes.md); by default the one that suits the start.
    multi_label
        Take cells such as smile|talk for several labels of a clip; | alone is none of them. The checkpoint then gives a video
        every label whose score reaches its threshold.
    folds
        Hold every clip out once, in so many parts, whole groups at a time; then train on all clips.
    val_share
        Hold out this share of the training clips for good and let it choose the epoch; 0 for none. Without it few clips are
        only lent for measuring.
    adapt
        What learns: full (everything), head, last:K (the last K blocks and the head), bitfit (biases and the head), or
        lora[:RANK] (thin matrices beside the attention's layers, added to the weights when saved). By default full.
    name
        What the checkpoint calls itself; by default the name of the run's folder.
    epochs
        How often each clip is seen; by default so often that there are enough steps.
    patience
        Stop after so many epochs without a lower held-out loss; by default never.
    batch_size
        Clips that go through the model at once, on each device.
    accumulate
        Batches, on each device, whose gradients make one step.
    lr
        Learning rate of the head, after the warm-up.
    backbone_lr_ratio
        Learning rate of the backbone as a share of --lr.
    layer_decay
        Each block learns at this share of the rate of the block after it; 1 is off, 0.75 usual.
    parameter_rule
        What decays: plain (weight matrices), intent (the published configuration) or official (what the published runs did).
    optimizer
        adamw, or sgd as older systems were trained by.
    momentum
        Of sgd.
    weight_decay
        Decay of what the parameter rule says.
    warmup_epochs
        Epochs over which the learning rate rises, at most a quarter of the run; a cosine then takes it to 0.
    schedule
        When the learning rate moves: every step, once an epoch as in the published runs, or by drops to a tenth.
    lr_drops
        Shares of the run after which the learning rate falls to a tenth, such as 0.5,0.9, with --schedule drops.
    max_grad_norm
        Gradients that are longer are scaled down to this norm; 0 never does.
    ema
        Decay of a running average of the weights, which is then validated and kept; 0 is off, 0.999 usual.
    label_smoothing
        Share of the target spread over all classes.
    mixup
        Strength of MixUp: two clips and their labels are blended; 0 is off, 0.8 usual.
    cutmix
        Strength of CutMix: a box of one clip in another, labels by area; 0 is off, 1 usual.
    repeat
        How often an epoch shows each clip, varied anew each time.
    balance
        Against uneven classes: none, sampling (all classes are shown equally often), or weights (of the loss).
    drop_path
        Stochastic depth of the last block.
    causal
        Let the model look back in time only, so that it can follow a live video step by step. With --weights, those of an
        ordinary model are a start; the checkpoint stays causal.
    channels
        1 for grey clips, from weights for colours; by default as the start has them.
    clip_len
        Frames per clip.
    sampling
        How frames are chosen: interval (every n-th), uniform (spread over the whole video), or time.
    frame_interval
        Every n-th frame, with --sampling interval.
    fps
        Frames per second, with --sampling time.
    size
        Height and width of a clip in pixels.
    whole_frame
        Stretch the whole frame to the size, where the action fills the frame; else the short side is resized and the
        centre cut out.
    augment
        How much the clips vary: strong (scale, position, speed, colours, noise), standard (crops and colours), gentle
        (nearly whole frames), none, or as published: kinetics, ssv2.
    flip
        Mirror half of the clips. Classes that name a side, such as left, swap labels.
    precision
        float32, bf16 or fp16.
    checkpointing
        Compute each block again in the backward pass: less memory, about a third more time, the same numbers.
    strategy
        How several devices share the work: ddp (each holds the model) or fsdp (each holds a part); see docs/distributed.md.
    seed
        Same seed, same run.
    workers
        Processes that prepare clips; 0 is best when all clips fit in memory.
    save_every
        Minutes after which a run is also saved within an epoch; 0: at its end only.
    tensorboard
        Also write scalars for TensorBoard into the folder tensorboard of the run.
    """

    model: str | None = None
    weights: Annotated[str | None, Parameter(metavar="CHECKPOINT")] = None
    like: Annotated[str | None, Parameter(metavar="MODEL")] = None
    num_heads: int | None = None
    recipe: str | None = None
    multi_label: Switch = False
    folds: int | None = None
    val_share: float | None = None
    adapt: str | None = None
    name: str | None = None
    epochs: int | None = None
    patience: int | None = None
    batch_size: int | None = None
    accumulate: int | None = None
    lr: float | None = None
    backbone_lr_ratio: float | None = None
    layer_decay: float | None = None
    parameter_rule: str | None = None
    optimizer: str | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    warmup_epochs: float | None = None
    schedule: str | None = None
    lr_drops: str | None = None
    max_grad_norm: float | None = None
    ema: float | None = None
    label_smoothing: float | None = None
    mixup: float | None = None
    cutmix: float | None = None
    repeat: int | None = None
    balance: str | None = None
    drop_path: float | None = None
    causal: Switch = False
    channels: int | None = None
    clip_len: int | None = None
    sampling: str | None = None
    frame_interval: int | None = None
    fps: float | None = None
    size: int | None = None
    whole_frame: Switch = False
    augment: str | None = None
    flip: Annotated[bool | None, Parameter(show_default=False)] = None
    precision: str | None = None
    checkpointing: Switch = False
    strategy: str | None = None
    seed: int | None = None
    workers: int | None = None
    save_every: Annotated[float | None, Parameter(metavar="MINUTES")] = None
    tensorboard: Switch = False

    def over(self, base: "TrainOptions") -> "TrainOptions":
        """``base``, with what is given here instead. Numbers of another schedule or optimiser than the one that is given go."""
        if self.schedule not in (None, "drops"):
            base = dataclasses.replace(base, lr_drops=None)
        if self.optimizer not in (None, "sgd"):
            base = dataclasses.replace(base, momentum=None)
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return dataclasses.replace(
            base,
            **{n: v for n, v in given.items() if (v is not None and v is not False) or (n == "flip" and v is False)},
        )

    def only(self, *names: str) -> dict[str, Any]:
        """Those of the named options that are given."""
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def write_options(path: Path, values: Mapping[str, Any], about: str, run: Mapping[str, Any]) -> None:
    """As TOML, which :func:`read_options` reads. ``about``: lines of a comment at the top. ``run``: what belongs to one run alone,
    for :func:`read_run`; None is left out."""
    lines = [*(f"# {line}" for line in about.splitlines()), ""]
    known = [f.name for f in dataclasses.fields(TrainOptions)]
    lines += [f"{name} = {_toml(values[name])}" for name in known if name in values and values[name] != ()]
    lines += ["", f"[{_RUN}]", *(f"{name} = {_toml(value)}" for name, value in run.items() if value is not None)]
    with replace_file(path) as new:
        new.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_options(path: Path) -> TrainOptions:
    """The options of a file, such as the ``settings.toml`` of a run.

    Raises:
        ConfigError: it cannot be read, or a name or a value in it cannot be right.
    """
    values = _read(path)
    values.pop(_RUN, None)
    kinds = {f.name: _kind(f.type) for f in dataclasses.fields(TrainOptions)}
    for name, value in values.items():
        if name not in kinds:
            raise ConfigError(f'{path}: there is no setting "{name}". {nearest(str(name), kinds)}')
        kind = kinds[name]
        if kind is float and type(value) is int:
            values[name] = float(value)
        elif type(value) is not kind:
            raise ConfigError(f"{path}: {name} = {value!r} must be {_WORDS[kind]}.")
    return TrainOptions(**values)


def read_run(path: Path) -> dict[str, Any]:
    """What a run's ``settings.toml`` says of it alone; nothing in files of before 2026-11-26.

    Raises:
        ConfigError: it cannot be read.
    """
    found = _read(path).get(_RUN, {})
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}). Give a settings.toml, such as a run's."
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: is no TOML ({error}). Write lines such as lr = 0.0005.") from error


_WORDS = {int: "a whole number", float: "a number", str: "text in quotes", bool: "true or false"}


def _kind(annotation: Any) -> type:
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    kinds = [kind for kind in typing.get_args(annotation) or (annotation,) if kind is not type(None)]
    return kinds[0]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        value = ",".join(str(one) for one in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
