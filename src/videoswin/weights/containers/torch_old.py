"""Pickles that are not inside an archive: PyTorch's files before 1.6, and plain ones (Caffe2's and others' ``.pkl``).

PyTorch before 1.6 wrote five pickles (a magic number, a version, facts about the machine, the tree, the keys of the
storages) and then the numbers of each storage behind their count. Plain pickles hold the numbers inside.
"""

from typing import Any, BinaryIO

from videoswin.weights.containers.inert import Budget, InertUnpickler
from videoswin.weights.containers.pickle_objects import Storage, storage_dtype
from videoswin.weights.containers.stored import FileBytes
from videoswin.weights.containers.unreadable import Unreadable

__all__ = ["read_plain_pickle"]

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001


def read_plain_pickle(file: BinaryIO, size: int) -> tuple[Any, list[str]]:
    """The tree in a file, and the names of classes whose instances in it were not made.

    Raises:
        Unreadable: it is damaged, a bomb, or wants code to be run.
    """
    file.seek(0)
    budget = Budget()
    machine = InertUnpickler(file, size, budget)
    first = machine.load()
    if first == _MAGIC:
        return _read_old_torch(file, size, budget)
    return first, list(machine.not_built)


def _read_old_torch(file: BinaryIO, size: int, budget: Budget) -> tuple[Any, list[str]]:
    storages: dict[str, Storage] = {}

    def storage(key: Any) -> Storage | Any:
        match key:
            case ("module", container, _, _):  # the source text of a class, kept beside it
                return container
            case ("storage", kind, str(name), _, int(numel), view) if 0 <= numel < 2**62:
                dtype = storage_dtype(kind)
            case _:
                raise Unreadable("its pickle refers to something that is no storage")
        whole = storages.setdefault(name, Storage(FileBytes(numel * dtype.itemsize, -1), dtype))
        match view:
            case None:
                return whole
            case (_, int(offset), int(length)) if 0 <= offset < 2**62 and 0 <= length < 2**62:
                return Storage(whole.source, dtype, offset * dtype.itemsize)
            case _:
                raise Unreadable("its pickle has a view of a storage that is none")

    version, facts = (InertUnpickler(file, size, budget).load() for _ in range(2))
    if version != _VERSION:
        raise Unreadable("it says that it is of no known version of PyTorch's format")
    if isinstance(facts, dict) and facts.get("little_endian") is False:
        raise Unreadable("it holds numbers in the byte order of other processors", "Save it anew on this machine")
    machine = InertUnpickler(file, size, budget, storage)
    tree = machine.load()
    keys = InertUnpickler(file, size, budget).load()
    if not isinstance(keys, list) or any(type(key) is not str or key not in storages for key in keys):
        raise Unreadable("its list of storages is none")
    for key in dict.fromkeys(keys):
        _locate(file, size, storages.pop(key))
    if storages:
        raise Unreadable(f"the numbers of {len(storages)} of its tensors are missing")
    return tree, list(machine.not_built)


def _locate(file: BinaryIO, size: int, storage: Storage) -> None:
    count = int.from_bytes(file.read(8), "little")
    source, start = storage.source, file.tell()
    assert isinstance(source, FileBytes)
    if count * storage.dtype.itemsize != source.nbytes:
        raise Unreadable(f"it is damaged: a tensor's {source.nbytes:,} bytes are not where they should be")
    if source.nbytes > size - start:
        raise Unreadable(f"it is cut off: {source.nbytes - (size - start):,} bytes of a tensor are missing")
    source.start = start
    file.seek(source.nbytes, 1)
