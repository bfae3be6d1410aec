"""PyTorch's own files, ``.pth`` and ``.pt``: read as data, never run.

Such a file is a zip archive of raw numbers and one pickle, and a pickle is a program. Three walls stand before it:

1. The archive's directory is checked before PyTorch sees the file. PyTorch stores members as they are, so that a
   packed member, or members larger together than the file, can only be a bomb: a few kilobytes that fill the memory.
2. ``torch.load(weights_only=True)`` runs no code of the file, and no fallback to anything else exists here. The package
   asks for torch 2.10 or later, the first without a known hole in it (CVE-2025-32434, CVE-2026-24747). Numbers of numpy,
   which MMAction2's files hold beside the weights ("best score"), are not built: numpy's own functions, which trust the
   file, are replaced by one that does nothing.
3. A tensor may claim a huge shape over a few numbers (stride 0), so that the first copy fills the memory: tensors have
   to lie in their storage number by number, and all together within the size of the file.
"""

import ctypes
import mmap
import pickle
import struct
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videoswin.errors import WeightsError
from videoswin.weights.safetensors import require_finite, require_regular_file

__all__ = ["Contents", "read_pickled"]

_DAMAGED = "Copy or download it again"
_UNTRUSTED = "Do not open it by other means; ask its author for a .safetensors file"
_RESAVE = "Save it anew with PyTorch 1.6 or later: torch.save(torch.load(OLD, weights_only=True), NEW)"
_MAX_PICKLE_BYTES = 64 * 2**20  # names and shapes; the numbers are members of their own. Optimisers need a few MB
_CONTAINERS = ("state_dict", "model")

# What a pickle that was cut or forged makes an unpickler raise: nearly anything.
_MADV_PAGEOUT = 21  # of Linux 5.4 and later; changes no contents, whatever memory it is about
_UNREADABLE = (
    pickle.UnpicklingError, struct.error, ArithmeticError, AssertionError, AttributeError, EOFError, ImportError,
    LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


# What a pickle names to build numpy's scalars and arrays, before and since numpy 2.
_NUMPY = (
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{what}" for core in ("core", "_core") for what in ("scalar", "_reconstruct")),
)


class _Unread:
    """Stands for a value of numpy: takes whatever the file says it is made of, and forgets it."""

    def __init__(self, *parts: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


@dataclass(frozen=True)
class Contents:
    """The tensors of a file by name, and what else was in it."""

    tensors: dict[str, Tensor]
    ignored: tuple[str, ...] = ()
    """Names of values beside the weights that were not looked at: ``meta``, ``optimizer``, ``epoch`` ..."""


def read_pickled(path: str | Path) -> Contents:
    """All weights of a ``.pth`` or ``.pt`` file, on the CPU and in their own dtypes; the file stays memory-mapped.

    The weights may be the file itself, or stand under ``state_dict`` (official code, MMAction2) or ``model``
    (Microsoft).

    Raises:
        WeightsError: the file is missing, damaged, in the format before PyTorch 1.6, larger inside than outside, asks
            for code to be run, holds no tensors, or holds NaN or infinity.
    """
    path = Path(path)
    require_regular_file(path)
    _check_archive(path)
    try:
        with torch.serialization.safe_globals([(_Unread, name) for name in _NUMPY]):
            tree = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        reason = f"it holds more than weights and was not opened ({_first_sentence(error)})"
        raise WeightsError(path, reason, _UNTRUSTED) from None
    except _UNREADABLE as error:
        raise WeightsError(path, f"PyTorch cannot read it ({_first_sentence(error)})", _DAMAGED) from None
    contents = _unpack(path, tree)
    _check_tensors(path, contents.tensors)
    owned = Contents({name: _copied(tensor) for name, tensor in contents.tensors.items()}, contents.ignored)
    require_finite(path, owned.tensors)
    return owned


def _copied(mapped: Tensor) -> Tensor:
    """A copy in memory of its own, after which the system may have the pages of the mapped file back: without that word
    a model would take its size twice while it is loaded. Optimiser states and the like are never read at all."""
    copy = mapped.clone(memory_format=torch.contiguous_format)
    if sys.platform == "linux":
        start = mapped.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
        length = mapped.data_ptr() + mapped.numel() * mapped.element_size() - start
        _libc().madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_PAGEOUT)  # advice: it may fail
    return copy


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _check_archive(path: Path) -> None:
    """Wall 1. Python's own zip reader lists the members; not one of them is read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(4)
        if start != b"PK\x03\x04":  # the test by which torch.load itself chooses the format
            _refuse_other_format(path, start, size)
        with zipfile.ZipFile(path) as archive:
            members, comment = archive.infolist(), archive.comment
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise WeightsError(path, f"it is cut off or no PyTorch file ({error})", _DAMAGED) from None
    except OSError as error:
        raise WeightsError(path, f"the file cannot be read ({error.strerror})", "Check its rights (ls -l)") from None
    _check_members(path, members, size)
    if comment or min(member.header_offset for member in members) != 0:
        # Zip readers disagree about such files, and two readers look at this one.
        raise WeightsError(path, "something stands before or behind the archive", _UNTRUSTED)


def _refuse_other_format(path: Path, start: bytes, size: int) -> None:
    if size < 4:
        raise WeightsError(path, f"the file has {size} bytes, too few for any weights", _DAMAGED)
    if start[:1] == b"\x80":  # every pickle since protocol 2 starts so
        raise WeightsError(path, "it is in PyTorch's format before 1.6, which cannot be checked first", _RESAVE)
    raise WeightsError(path, "it is no PyTorch file (no zip archive)", _DAMAGED)


def _check_members(path: Path, members: list[zipfile.ZipInfo], size: int) -> None:
    if not members:
        raise WeightsError(path, "the archive is empty", _DAMAGED)
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise WeightsError(path, f'its member "{member.filename}" is packed; PyTorch never does that', _UNTRUSTED)
        if member.compress_size != member.file_size:
            raise WeightsError(path, f'its member "{member.filename}" has two sizes', _UNTRUSTED)
    total = sum(member.file_size for member in members)
    if total > size:
        reason = f"its members announce {total:,} bytes and the file has {size:,}"
        raise WeightsError(path, reason, _UNTRUSTED)
    name, times = Counter(member.filename for member in members).most_common(1)[0]
    if times > 1:
        raise WeightsError(path, f'its member "{name}" occurs {times} times', _UNTRUSTED)
    pickles = [member for member in members if member.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise WeightsError(path, f"it is a zip archive with {len(pickles)} data.pkl, and weights have one", _DAMAGED)
    if pickles[0].file_size > _MAX_PICKLE_BYTES:
        raise WeightsError(path, f"its list of tensors takes {pickles[0].file_size:,} bytes", _UNTRUSTED)


def _unpack(path: Path, tree: Any) -> Contents:
    """The mapping of names to tensors inside the usual containers."""
    if not isinstance(tree, Mapping):
        raise WeightsError(path, f"it holds a {type(tree).__name__}, not a table of tensors", "Save a state_dict")
    ignored: list[str] = []
    key = next((name for name in _CONTAINERS if isinstance(tree.get(name), Mapping)), None)
    if key is not None:
        ignored += [str(name) for name in tree if name != key]
        tree = tree[key]
    named = {str(name): value for name, value in tree.items()}
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    ignored += [name for name in named if name not in tensors]
    if not tensors:
        raise WeightsError(path, "it holds no tensors", "Give a file with a state_dict in it")
    return Contents({name: tensor.detach() for name, tensor in tensors.items()}, tuple(ignored))


def _check_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Wall 3."""
    total = 0
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise WeightsError(path, f'tensor "{name}" is sparse, quantised or without numbers', "Save plain tensors")
        need = tensor.numel() * tensor.element_size()
        if need > tensor.untyped_storage().nbytes():
            reason = (
                f'tensor "{name}" of shape {list(tensor.shape)} lies in {tensor.untyped_storage().nbytes():,} bytes'
            )
            raise WeightsError(path, f"{reason} and needs {need:,}", _UNTRUSTED)
        total += need
    size = path.stat().st_size
    if total > size:
        raise WeightsError(path, f"its tensors take {total:,} bytes and the file has {size:,}", _UNTRUSTED)


def _first_sentence(error: BaseException) -> str:
    """PyTorch's messages go on for paragraphs, and advise to open the file without protection."""
    text = str(error)
    marker = "WeightsUnpickler error: "  # what was found stands behind it
    text = text.partition(marker)[2] if marker in text else text
    sentence = " ".join(text.split()).partition(". ")[0].partition(" Please ")[0].rstrip(".")
    return sentence[:200] or type(error).__name__
