"""``videoswin convert``: files of weights of one code base as those of another."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from videoswin.cli.output import DONE, show
from videoswin.cli.weights_argument import told_of
from videoswin.errors import ConfigError

__all__ = ["convert"]

_FILES = (".safetensors", ".pth", ".pt")


def convert(
    weights: Annotated[str, Parameter(name="--weights")],
    out: Annotated[str, Parameter(name="--out")],
    *,
    to: Literal["official", "mmaction2", "torchvision", "ours"] = "ours",
    num_frames_window: int | None = None,
    num_classes: int | None = None,
    like: Annotated[str | None, Parameter(metavar="MODEL")] = None,
    num_heads: int | None = None,
    container: str | None = None,
) -> int:
    """Convert a file of weights to another code base's, or to a checkpoint folder.

    Video models keep every number, bit for bit, unless you ask for another window or head. Image models are inflated to
    video models. Files of other systems (docs/zoo.md) become a checkpoint folder. What was loaded, computed or started anew is printed. OUT must not exist.

    For example:

        videoswin convert swin3d_t-7615ae03.pth runs/kinetics
        videoswin convert runs/mine/best mine.pth --to official
        videoswin convert swin_tiny_patch4_window7_224.pth start.pth --to mmaction2 --num-frames-window 16

    Parameters
    ----------
    weights
        A file of weights, a checkpoint folder, an address on a hub, or a name that videoswin models lists.
    out
        The new file: .safetensors or, except for ours, .pth. For ours, any other name is a checkpoint folder.
    to
        Whose names and container OUT has.
    num_frames_window
        Length of the attention window in tokens of time; bias tables are resampled. By default the file's own; 8 for
        image models.
    num_classes
        Outputs of the head; another number than the file's own starts a new head. By default the file's own.
    like
        For files of weights alone, whose tensors do not tell everything: the name of a model that answers the rest, such as
        timesformer_b_divided.
    num_heads
        The same, for the heads of attention alone.
    container
        The table of the file that holds the weights, where it has more than one: state_dict_ema. By default the plain weights,
        before averaged ones.
    """
    from videoswin.classifier.resolve import Published, PublishedZoo, resolve
    from videoswin.storage.outputs import require_writable_folder

    if os.path.lexists(out):
        raise ConfigError(f"{out} exists already. Give another name, or remove it first.")
    if to != "ours" and Path(out).suffix not in _FILES:
        raise ConfigError(f"{out}: --to {to} writes a file of weights. Name it .pth or .safetensors.")
    require_writable_folder(Path(out))
    meant = resolve(weights)
    from videoswin.classifier.classifier import Classifier
    from videoswin.classifier.loading import weights_of
    from videoswin.classifier.public_weights import classifier_of
    from videoswin.model import SwinConfig
    from videoswin.weights.any_file import inspect_file, load_file
    from videoswin.weights.checkpoint import inspect_checkpoint, load_checkpoint
    from videoswin.weights.convert import convert_model
    from videoswin.weights.formats import FAMILIES
    from videoswin.weights.inflate import inflate_checkpoint

    file, facts = weights_of(meant)
    own_config = facts and facts.config
    told = told_of(None, num_heads)
    published = meant.model if isinstance(meant, Published) else None
    known = meant.model if isinstance(meant, PublishedZoo) else None
    if known is not None and like is None:
        like, told = known.model, {**known.told, **told}
    general = inspect_file(file, like=like, settings=told, own_config=own_config, container=container)
    if like is not None or general.family not in FAMILIES or not isinstance(general.config, SwinConfig):
        if to != "ours" or num_frames_window is not None:
            option = f"to={to}" if to != "ours" else f"num_frames_window={num_frames_window}"
            raise ConfigError(f"{option} is for Video Swin, and {weights} is {general.title}. It converts to ours.")
        if facts is not None:
            raise ConfigError(f"{weights} is a checkpoint of ours already. Copy the folder.")
        settings = {"like": like, "settings": told, "container": container}
        model, report = load_file(file, num_classes, **settings)
        if Path(out).suffix in _FILES:
            raise ConfigError(f"{weights} is {general.title}; give a folder as OUT, which says what model it is.")
        classifier_of(model, report, known).save(out)
        for line in str(report).split("\n"):
            show(line)
        show(f"written to {out}")
        return DONE
    own = inspect_checkpoint(file, own_config=own_config, container=container)
    if published is not None:
        published.require_architecture(own)
    if FAMILIES[own.family].dims == 2:
        frames = 8 if num_frames_window is None else num_frames_window
        model, report = inflate_checkpoint(file, num_classes, window_frames=frames, container=container)
    else:
        window = (num_frames_window, *own.config.window_size[1:]) if num_frames_window is not None else None
        model, report = load_checkpoint(
            file, num_classes, window_size=window, own_config=own_config, container=container
        )
    if to == "ours" and Path(out).suffix not in _FILES:
        if facts is not None and not report.fresh:  # one of ours: it keeps its labels and preprocessing
            classifier = Classifier.of(model, facts)
        else:
            classifier = classifier_of(model, report, published)
        classifier.save(out)
    else:
        convert_model(model, out, to)
    for line in str(report).split("\n"):
        show(line)
    show(f"written to {out}")
    return DONE
