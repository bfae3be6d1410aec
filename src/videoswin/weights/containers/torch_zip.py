"""PyTorch's files since 1.6 (``.pth``, ``.pt``, ``.pyth``, ``.ckpt``): a zip archive of raw numbers and one pickle.

PyTorch stores members as they are, so that a packed member, or members larger together than the file, can only be a bomb. The
directory is bounded before it is read, since every 46 bytes of it take ten times as much in memory.
"""

import struct
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from videoswin.weights.containers.inert import Budget, InertUnpickler
from videoswin.weights.containers.pickle_objects import Storage, storage_dtype
from videoswin.weights.containers.stored import read_into_memory
from videoswin.weights.containers.unreadable import DAMAGED, UNTRUSTED, Unreadable

__all__ = ["read_torch_zip"]

_MAX_DIRECTORY_BYTES = 4 * 2**20  # 40,000 tensors
_END, _END_64, _LOCATOR_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")


@dataclass(frozen=True, eq=False)
class _Member:
    """The bytes of a stored member. Its own header, which stands before them, is read only if they are."""

    name: str
    nbytes: int
    header: int

    def place(self, file: BinaryIO) -> int:
        file.seek(self.header)
        raw = file.read(_LOCAL.size)
        if len(raw) != _LOCAL.size or raw[:4] != b"PK\x03\x04":
            raise Unreadable(f'its member "{self.name}" is not where the directory says')
        *_, name_length, extra_length = _LOCAL.unpack(raw)
        return self.header + _LOCAL.size + name_length + extra_length

    def read(self, file: BinaryIO) -> Tensor:
        file.seek(self.place(file))
        return read_into_memory(file, self.nbytes)


def read_torch_zip(path: Path, file: BinaryIO, size: int) -> tuple[Any, list[str]]:
    """The tree in a file, and the names of classes whose instances in it were not made.

    Raises:
        Unreadable: it is damaged, a bomb, another kind of archive, or wants code to be run.
    """
    members = _members(path, file, size)
    by_name = {member.filename: member for member in members}
    pickle = next(member for member in members if member.filename.endswith("/data.pkl"))
    prefix = pickle.filename.removesuffix("data.pkl")
    _check_byte_order(file, by_name.get(f"{prefix}byteorder"))
    storages: dict[str, Storage] = {}

    def storage(key: Any) -> Storage:
        match key:
            case ("storage", kind, str(name), _, int(numel)) if len(name) < 100 and 0 <= numel < 2**62:
                pass
            case _:
                raise Unreadable("its pickle refers to something that is no storage")
        dtype = storage_dtype(kind)
        if name not in storages:
            member = by_name.get(f"{prefix}data/{name}")
            if member is None:
                raise Unreadable(f'the storage "{name}" of a tensor is missing')
            if member.file_size != numel * dtype.itemsize:
                reason = (
                    f'the storage "{name}" should have {numel * dtype.itemsize:,} bytes and has {member.file_size:,}'
                )
                raise Unreadable(reason)
            storages[name] = Storage(_Member(member.filename, member.file_size, member.header_offset), dtype)
        return storages[name]

    start = _Member(pickle.filename, pickle.file_size, pickle.header_offset).place(file)
    file.seek(start)
    machine = InertUnpickler(file, start + pickle.file_size, Budget(), storage)
    return machine.load(), list(machine.not_built)


def _members(path: Path, file: BinaryIO, size: int) -> list[zipfile.ZipInfo]:
    """The directory, checked. Python's own zip reader lists the members; not one of them is read."""
    if _directory_bytes(file, size) > _MAX_DIRECTORY_BYTES:
        raise Unreadable("its directory lists more members than any file of weights", UNTRUSTED)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise Unreadable(f"it is cut off or no PyTorch file ({error})") from error
    if not members:
        raise Unreadable("the archive is empty")
    names = [member.filename for member in members]
    _refuse_other_archives(names)
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise Unreadable(
                f'its member "{member.filename}" is packed, which PyTorch does not do to weights', UNTRUSTED
            )
        if member.compress_size != member.file_size:
            raise Unreadable(f'its member "{member.filename}" has two sizes', UNTRUSTED)
    total = sum(member.file_size for member in members)
    if total > size:
        raise Unreadable(f"its members announce {total:,} bytes and the file has {size:,}", UNTRUSTED)
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise Unreadable(f'its member "{name}" occurs {times} times', UNTRUSTED)
    pickles = sum(name.endswith("/data.pkl") for name in names)
    if pickles != 1:
        raise Unreadable(f"it is a zip archive with {pickles} data.pkl, and weights have one")
    if min(member.header_offset for member in members) != 0:
        raise Unreadable("something stands before the archive", UNTRUSTED)
    return members


def _directory_bytes(file: BinaryIO, size: int) -> int:
    """The size of the directory, from the record at the very end of the file.

    A comment could follow it, and then zip readers disagree where the archive ends: PyTorch writes none.
    """
    file.seek(max(size - _END.size - _LOCATOR_64.size - _END_64.size, 0))
    tail = file.read()
    end = tail[-_END.size :]
    if len(end) != _END.size or end[:4] != b"PK\x05\x06":
        raise Unreadable("it is cut off, or something follows the archive")
    _, _, _, _, _, directory, _, comment = _END.unpack(end)
    if comment:
        raise Unreadable("something follows the archive", UNTRUSTED)
    end_64 = tail[: _END_64.size]
    if tail[-_END.size - _LOCATOR_64.size :][:4] == b"PK\x06\x07" and end_64[:4] == b"PK\x06\x06":
        directory = max(directory if directory != 0xFFFFFFFF else 0, _END_64.unpack(end_64)[8])
    return directory


def _check_byte_order(file: BinaryIO, member: zipfile.ZipInfo | None) -> None:
    if member is None or member.file_size != 3:  # "little" has six letters
        return
    file.seek(_Member(member.filename, member.file_size, member.header_offset).place(file))
    if file.read(3) == b"big":
        raise Unreadable("it holds numbers in the byte order of other processors", "Save it anew on this machine")


def _refuse_other_archives(names: list[str]) -> None:
    if any(name.endswith("/constants.pkl") or "/code/__torch__" in name for name in names):
        hint = "Save its weights: torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        raise Unreadable("it is a TorchScript archive (torch.jit.save), a program and not weights", hint)
    if any(
        name.endswith(("/archive_format", "/models/model.json", "/serialized_exported_program.json")) for name in names
    ):
        hint = "predict and evaluate take it as --weights; weights are saved with torch.save(model.state_dict(), NEW)"
        raise Unreadable("it is an exported program (torch.export.save), not weights", hint)
    if any(name.endswith(".npy") for name in names):
        raise Unreadable("it is an archive of numpy's (.npz)", "Give a file that PyTorch or safetensors wrote")
    if not any(name.endswith("data.pkl") for name in names):
        shown = ", ".join(sorted(names, key=len)[:3])
        hint = f"Unpack it, and give the file of weights inside ({shown} ...)" if len(names) > 1 else DAMAGED
        raise Unreadable(f"it is a zip archive of other files, with 0 data.pkl ({shown})", hint)
