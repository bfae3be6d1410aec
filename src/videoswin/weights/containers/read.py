"""The tensors of a file, whatever its kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from videoswin.errors import WeightsError
from videoswin.weights.containers.choose import choose
from videoswin.weights.containers.flax_msgpack import looks_like_flax, read_flax
from videoswin.weights.containers.kinds import what_it_is
from videoswin.weights.containers.stored import read_stored
from videoswin.weights.containers.torch_old import read_plain_pickle
from videoswin.weights.containers.torch_zip import read_torch_zip
from videoswin.weights.containers.unreadable import Unreadable
from videoswin.weights.safetensors import read_tensors, require_finite, require_regular_file

__all__ = ["Contents", "read_container"]

_HEAD = 512


@dataclass(frozen=True)
class Contents:
    """The tensors of a file by name, and what else was in it."""

    tensors: dict[str, Tensor]
    ignored: tuple[str, ...] = ()
    """Names of values beside the weights that were not looked at: ``meta``, ``optimizer``, ``epoch`` ..."""
    container: str = ""
    """The table of the file that the tensors were taken from: "state_dict", "model_state" ...; "" if there is none."""
    others: tuple[str, ...] = ()
    """Other tables of tensors in the file, which ``container`` would have taken."""
    not_built: tuple[str, ...] = ()
    """Names of classes of which the file holds instances. None was made."""


def read_container(path: str | Path, container: str | None = None) -> Contents:
    """All weights of a file, on the CPU, in their own dtypes and in memory of their own.

    Read are ``.safetensors`` files; those of ``torch.save``, of any version (``.pth``, ``.pt``, ``.pyth``, ``.ckpt``);
    plain pickles with arrays of numpy (``.pkl``); and checkpoints of flax. Nothing in a file is run.

    Args:
        container: the table that holds the weights, "state_dict_ema" or "model/state_dict"; None: see
            :mod:`videoswin.weights.containers.choose`.

    Raises:
        WeightsError: the file is missing, damaged, of another kind, larger inside than outside, wants code to be run, holds
            no tensors or several tables of them, or holds NaN or infinity.
    """
    path = Path(path)
    require_regular_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if path.suffix == ".safetensors" or head[8:9] == b"{":
                tensors = read_tensors(path)
                if container:
                    raise Unreadable("a safetensors file has no containers", "Leave the container out")
                return Contents(tensors)
            contents = _read(path, file, head, container)
    except Unreadable as error:
        raise WeightsError(path, error.reason, error.hint) from error
    except OSError as error:
        raise WeightsError(path, f"the file cannot be read ({error.strerror})", "Check its rights (ls -l)") from error
    require_finite(path, contents.tensors)
    return contents


def _read(path: Path, file: BinaryIO, head: bytes, container: str | None) -> Contents:
    size = path.stat().st_size
    tree, not_built = _tree(path, file, head, size)
    choice = choose(tree, container)
    tensors = read_stored(path, choice.tensors)
    return Contents(tensors, choice.ignored, choice.container, choice.others, tuple(not_built))


def _tree(path: Path, file: BinaryIO, head: bytes, size: int) -> tuple[Any, list[str]]:
    """What a file holds, by its first bytes; names say little (the hub's files are called all sorts of things)."""
    if head[:4] == b"PK\x03\x04":
        return read_torch_zip(path, file, size)
    # Every pickle since protocol 2 begins so; an older one with an instruction of its own, so that the name has to help.
    if head[:1] == b"\x80" or (path.suffix in (".pkl", ".pickle") and head[:1] in (b"(", b"c", b"}", b"]")):
        return read_plain_pickle(file, size)
    if looks_like_flax(head):
        return read_flax(file, size), []
    raise what_it_is(head, size)
