"""``videoswin inspect``: what a file of weights is, whoever made it."""

import json
from typing import Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, show
from videoswin.cli.weights_argument import told_of

__all__ = ["inspect"]


def inspect(
    weights: Annotated[str, Parameter(name="--weights")],
    *,
    like: Annotated[str | None, Parameter(metavar="MODEL")] = None,
    num_heads: int | None = None,
    container: str | None = None,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Show what a file of weights is, and whether it is whole.

    The family and the architecture are read from the names and shapes of its tensors. Nothing in the file is executed,
    and no model is built. Files: .safetensors, and whatever torch.save wrote (.pth, .pt, .ckpt), of the official code,
    MMAction2, torchvision, Microsoft, timm and Hugging Face, and of the systems in docs/zoo.md, also as a training wrote them; and checkpoint folders of
    videoswin.

    For example:

        videoswin inspect swin_tiny_patch244_window877_kinetics400_1k.pth

    Parameters
    ----------
    weights
        A file of weights, a checkpoint folder, an address on a hub, or a name that videoswin models lists.
    like
        For files of weights alone, whose tensors do not tell everything: the name of a model that answers the rest, such as
        timesformer_b_divided.
    num_heads
        The same, for the heads of attention alone.
    container
        The table of the file that holds the weights, where it has more than one: state_dict_ema. By default the plain
        weights, before averaged ones.
    json_only
        Print one JSON object, with every name, and nothing else.
    """
    from videoswin.classifier.resolve import resolve

    target = resolve(weights)
    from videoswin.classifier.loading import weights_of
    from videoswin.weights.any_file import inspect_file

    path, facts = weights_of(target)
    report = inspect_file(
        path, like=like, settings=told_of(None, num_heads), own_config=facts and facts.config, container=container
    )
    if json_only:
        print(json.dumps(report.to_dict()))
    else:
        for line in str(report).split("\n"):
            show(line)
    return DONE
