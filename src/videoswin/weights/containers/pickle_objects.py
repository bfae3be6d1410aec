"""What a pickle's calls stand for: tensors and arrays as descriptions, everything else as inert stand-ins.

A name in a pickle is two texts, and nothing here looks up what they mean. The few functions that build tensors, arrays and
the tables round them are known by name, and what they would have built is described. An instance of any other class, an
``argparse.Namespace``, a message hub, a path, becomes a :class:`NotBuilt`, so that a training checkpoint can be read past
what its framework keeps beside the weights.

Nothing would be run in any case. But a pickle that wants ``os.system`` called is no checkpoint that training wrote, and its
other contents deserve no trust either: it is refused, by the name of what it wants.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from videoswin.weights.containers.stored import EncodedBytes, FileBytes, HeldBytes, Source, StoredTensor
from videoswin.weights.containers.unreadable import UNTRUSTED, Unreadable

__all__ = [
    "MAX_NAME",
    "Blob",
    "Global",
    "NotBuilt",
    "NumpyArray",
    "Storage",
    "as_tensor",
    "build",
    "call",
    "instance",
    "storage_dtype",
]


@dataclass(frozen=True, slots=True)
class Global:
    """A name in a pickle. Nobody looks up what it means."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, eq=False, slots=True)
class Blob:
    """A long text, or long bytes, that were not read."""

    start: int
    length: int
    encoded: bool
    """Whether it is text, as UTF-8."""


@dataclass(eq=False, slots=True)
class NotBuilt:
    """An instance that was not made: the name of its class or function, and what it would have been made of."""

    kind: str
    arguments: Any = ()
    state: Any = None
    items: dict[Any, Any] | None = None
    """What it holds, if it is a kind of dictionary."""
    elements: list[Any] | None = None
    """What it holds, if it is a kind of list."""


@dataclass(eq=False, slots=True)
class Storage:
    """What PyTorch's tensors lie in."""

    source: Source
    dtype: torch.dtype
    start: int = 0
    """The first byte of it in its source: of views, in the format before 1.6."""


@dataclass(eq=False, slots=True)
class NumpyDtype:
    code: str
    order: str = "<"


@dataclass(eq=False, slots=True)
class NumpyArray:
    """An array of numpy, or a number of its kind."""

    dtype: NumpyDtype | None = None
    shape: tuple[int, ...] = ()
    fortran: bool = False
    data: Any = b""


MAX_NAME = 400
"""Letters of a module's or a class's name."""


def call(named: Global | NotBuilt, arguments: Any) -> Any:
    """What calling a function would give.

    Raises:
        Unreadable: the function runs code, or its arguments are not what it takes.
    """
    if not isinstance(arguments, tuple):
        raise Unreadable("its pickle calls something with no list of arguments")
    if isinstance(named, NotBuilt):
        return NotBuilt(named.kind, arguments)
    known = _FUNCTIONS.get(str(named))
    if known is not None:
        return known(*_fitting(named, arguments))
    _refuse_code(named)
    return NotBuilt(str(named), arguments)


def instance(named: Global | NotBuilt, arguments: Any) -> Any:
    """What making an instance of a class, by ``__new__``, would give."""
    if isinstance(named, Global):
        if str(named) in _TABLES:
            return {}
        _refuse_code(named)
        return NotBuilt(str(named), arguments)
    return NotBuilt(named.kind, arguments)


def build(target: Any, state: Any) -> None:
    """What ``__setstate__`` would do."""
    if isinstance(target, NotBuilt):
        target.state = state
    elif isinstance(target, NumpyDtype):
        # (version, byte order, ...); of plain numbers the rest says nothing
        if isinstance(state, tuple) and len(state) > 1 and state[1] in (">", b">"):
            target.order = ">"
    elif isinstance(target, NumpyArray):
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], NumpyDtype):
            raise Unreadable("its pickle has an array of numpy that is none")
        _, target.shape, target.dtype, target.fortran, target.data = state
    elif not isinstance(target, dict | list | StoredTensor):  # of those: attributes, which change no numbers
        raise Unreadable(f"its pickle gives a state to a {type(target).__name__}")


def as_tensor(value: Any) -> StoredTensor | None:
    """A tensor or an array of numbers; None for everything else.

    Raises:
        Unreadable: an array that lies about itself.
    """
    if isinstance(value, StoredTensor):
        return value
    if not isinstance(value, NumpyArray) or value.dtype is None or not isinstance(value.shape, tuple):
        return None
    dtype = _NUMPY_DTYPES.get(value.dtype.code)
    if dtype is None:
        return None
    if value.dtype.order == ">" and dtype.itemsize > 1:
        raise Unreadable("it holds arrays in the byte order of other processors", "Save it anew on this machine")
    strides, step = [], 1
    plain = StoredTensor(HeldBytes(b""), dtype, value.shape, (0,) * len(value.shape))  # checks the shape
    for size in value.shape if value.fortran else reversed(value.shape):
        strides.append(step)
        step *= max(size, 1)
    strides = tuple(strides if value.fortran else reversed(strides))
    return StoredTensor(_source(value.data, plain.nbytes), dtype, value.shape, strides, of_numpy=True)


def storage_dtype(named: Any) -> torch.dtype:
    """The type of the numbers in a storage class of PyTorch's, by its name.

    Raises:
        Unreadable: it is no storage of plain numbers.
    """
    dtype = _STORAGES.get(named.name.rpartition(".")[2]) if isinstance(named, Global) else None
    if dtype is None:
        raise Unreadable(f"it holds numbers of a kind that is not read ({named if isinstance(named, Global) else '?'})")
    return dtype


def _source(data: Any, nbytes: int) -> Source:
    if isinstance(data, Blob) and not data.encoded:
        return FileBytes(data.length, data.start)
    if isinstance(data, Blob):
        if nbytes > data.length:
            raise Unreadable(f"an array of {nbytes:,} bytes lies in {data.length:,}", UNTRUSTED)
        return EncodedBytes(nbytes, data.start, data.length)
    if isinstance(data, str):
        try:
            return HeldBytes(data.encode("latin-1"))
        except UnicodeEncodeError as error:
            raise Unreadable("it has an array whose numbers are text") from error
    if isinstance(data, bytes):
        return HeldBytes(data)
    raise Unreadable(f"it has an array whose numbers are a {type(data).__name__}")


def _ascii(text: str | bytes) -> str:
    return text.decode("ascii", "replace") if isinstance(text, bytes) else text


# --- the functions that are known ---


def _fitting(named: Global, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    least, most = _ARGUMENTS[str(named)]
    if not least <= len(arguments) <= most:
        raise Unreadable(f"its pickle calls {named} with {len(arguments)} arguments")
    return arguments[:most]


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> StoredTensor:
    if isinstance(storage, NotBuilt) and storage.kind == "torch.storage._load_from_bytes":
        hint = 'Save it anew: torch.save(pickle.load(open(OLD, "rb")), NEW), if you trust the file'
        raise Unreadable("it holds tensors that pickle.dump wrote, and not torch.save", hint)
    if not isinstance(storage, Storage):
        raise Unreadable("it has a tensor without a storage")
    return _tensor_of(storage, storage.dtype, offset, shape, strides)


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, needs_grad: Any, hooks: Any, dtype: Any, *rest: Any
) -> StoredTensor:
    known = _DTYPES.get(dtype.name) if isinstance(dtype, Global) and dtype.module == "torch" else None
    if not isinstance(storage, Storage) or known is None:
        raise Unreadable("it has a tensor of a kind that is not read")
    return _tensor_of(storage, known, offset, shape, strides)


def _tensor_of(storage: Storage, dtype: torch.dtype, offset: Any, shape: Any, strides: Any) -> StoredTensor:
    if type(shape) is not tuple or type(strides) is not tuple or type(offset) is not int:
        raise Unreadable("it has a tensor without a shape")
    return StoredTensor(storage.source, dtype, shape, strides, offset + storage.start // dtype.itemsize)


def _rebuilt_of_type(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor with attributes, or of a subclass: the tensor counts."""
    plain = isinstance(function, Global) and str(function).startswith(_TENSORS)
    return call(function, arguments) if plain else NotBuilt("torch.Tensor")


def _first(value: Any, *rest: Any) -> Any:
    return value


def _table(*arguments: Any) -> Any:
    """An OrderedDict of nothing, of a dictionary or, from Python 2, of a list of pairs; a defaultdict; a Counter."""
    pairs = arguments[-1] if arguments else None
    if isinstance(pairs, dict):
        return pairs  # no copy: thousands of calls may name the same one
    if not isinstance(pairs, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        return {}
    return {key: value for key, value in pairs if type(key) is str}


def _encoded(text: Any, encoding: Any = "latin1") -> Any:
    """Bytes, as Python 3 writes them for Python 2. They stay text until somebody reads them."""
    if not isinstance(text, str | Blob):
        raise Unreadable("its pickle has bytes that are no text")
    return text


def _plain_bytes(data: Any = "") -> Any:
    return data if isinstance(data, str | bytes | Blob) else ""  # a list of numbers: of no tensor


def _attribute(owner: Any, name: Any) -> Any:
    """A class inside a class, or a method."""
    if isinstance(owner, Global) and isinstance(name, str) and len(owner.name) + len(name) < MAX_NAME:
        return Global(owner.module, f"{owner.name}.{name}")
    return NotBuilt("getattr")


def _reconstructed(kind: Any, *rest: Any) -> Any:
    return instance(kind, rest) if isinstance(kind, Global | NotBuilt) else NotBuilt("object")


def _numpy_dtype(code: Any, *rest: Any) -> NumpyDtype:
    if not isinstance(code, str | bytes) or len(code) > 16:
        raise Unreadable("it has an array of numpy of no type")
    return NumpyDtype(_ascii(code).lstrip("<=|>"), ">" if _ascii(code)[:1] == ">" else "<")


def _numpy_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C", *rest: Any) -> Any:
    if not isinstance(dtype, NumpyDtype) or type(shape) is not tuple:
        raise Unreadable("it has an array of numpy that is none")
    return NumpyArray(dtype, shape, order == "F", data)


_MANY = 1000
_TENSORS = "torch._utils._rebuild_"
_KNOWN: dict[str, tuple[Callable[..., Any], int, int]] = {
    f"{_TENSORS}tensor": (_tensor, 4, 4),
    f"{_TENSORS}tensor_v2": (_tensor, 4, 7),
    f"{_TENSORS}tensor_v3": (_typed_tensor, 7, 8),
    f"{_TENSORS}parameter": (_first, 1, 3),
    f"{_TENSORS}parameter_with_state": (_first, 1, 4),
    "torch._tensor._rebuild_from_type_v2": (_rebuilt_of_type, 4, 4),
    "torch.nn.parameter.Parameter": (_first, 1, 2),
    "torch.Size": (_first, 1, 1),
    "builtins.getattr": (_attribute, 2, 2),
    "__builtin__.getattr": (_attribute, 2, 2),
    "_codecs.encode": (_encoded, 1, 2),
    "copyreg._reconstructor": (_reconstructed, 1, 3),
    "copy_reg._reconstructor": (_reconstructed, 1, 3),
    "copyreg.__newobj__": (_reconstructed, 1, _MANY),
    "collections.OrderedDict": (_table, 0, 1),
    "collections.Counter": (_table, 0, 1),
    "collections.defaultdict": (_table, 0, 2),
    "builtins.dict": (_table, 0, 1),
    **{f"{builtins}.bytes": (_plain_bytes, 0, 1) for builtins in ("builtins", "__builtin__")},
    "numpy.dtype": (_numpy_dtype, 1, 3),
    **{f"numpy.{core}.multiarray._reconstruct": (lambda *_: NumpyArray(), 0, 3) for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": (_numpy_buffer, 3, 5) for core in ("core", "_core")},
}
_FUNCTIONS = {name: function for name, (function, _, _) in _KNOWN.items()}
_ARGUMENTS = {name: (least, most) for name, (_, least, most) in _KNOWN.items()}
_TABLES = {"collections.OrderedDict", "collections.Counter", "collections.defaultdict", "builtins.dict"}

_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128, "UntypedStorage": torch.uint8,
}  # fmt: skip
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in {*_STORAGES.values()}}
_NUMPY_DTYPES = {
    "f8": torch.float64, "f4": torch.float32, "f2": torch.float16, "i8": torch.int64, "i4": torch.int32,
    "i2": torch.int16, "i1": torch.int8, "u1": torch.uint8, "b1": torch.bool,
}  # fmt: skip


# --- what no checkpoint calls ---

_CODE_MODULES = {
    "__builtin__", "__future__", "_ctypes", "_io", "_pickle", "_posixsubprocess", "_thread", "_winapi", "ast",
    "asyncio", "atexit", "bdb", "builtins", "cPickle", "cProfile", "code", "codecs", "codeop", "commands",
    "concurrent", "ctypes", "dbm", "distutils", "doctest", "ensurepip", "faulthandler", "fileinput", "ftplib",
    "functools", "gc", "glob", "http", "idlelib", "imaplib", "imp", "importlib", "inspect", "io", "linecache",
    "marshal", "mmap", "msvcrt", "multiprocessing", "nntplib", "nt", "operator", "os", "pdb", "pickle", "pip",
    "pickletools", "platform", "pkgutil", "poplib", "posix", "posixpath", "ntpath", "profile", "pty", "py_compile", "pydoc", "resource",
    "runpy", "select", "setuptools", "shelve", "shutil", "signal", "site", "smtplib", "socket", "socketserver",
    "sqlite3", "subprocess", "sys", "sysconfig", "tarfile", "tempfile", "telnetlib", "threading", "timeit", "trace",
    "turtle", "types", "unittest", "urllib", "urllib2", "venv", "webbrowser", "winreg", "xmlrpc", "zipfile",
    "zipimport",
}  # fmt: skip
_HARMLESS = frozenset(
    f"{module}.{name}"
    for module, names in {
        "builtins": "set frozenset bytearray bytes complex slice range object list tuple int float bool str dict",
        "__builtin__": "set frozenset bytearray complex slice xrange object list tuple int long float bool str unicode dict",
        "functools": "partial",
        "operator": "itemgetter attrgetter",
        "types": "SimpleNamespace MappingProxyType",
        "io": "BytesIO StringIO",
    }.items()
    for name in names.split()
)
_CODE_PREFIXES = (
    "torch.hub", "torch.jit", "torch.package", "torch.ops", "torch.utils.cpp_extension", "torch.utils.model_zoo",
    "logging.config",
)  # fmt: skip
_TORCH_FILES = frozenset(("torch.load", "torch.save", "torch.serialization.load", "torch.serialization.save"))
_NUMPY_VALUES = ("numpy.random.", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.ma.")


def _refuse_code(named: Global) -> None:
    if _runs_code(named):
        reason = (
            f"it holds more than weights and was not opened: its pickle wants {named} to be called (nothing was run)"
        )
        raise Unreadable(reason, UNTRUSTED)


def _runs_code(named: Global) -> bool:
    """Whether a call of this name runs code, touches files or starts something: by what is known of Python's own modules
    and of PyTorch's and numpy's. A class of anybody else's is just not made."""
    full = str(named)
    if full in _HARMLESS:
        return False
    top = named.module.partition(".")[0]
    top = top if top in _CODE_MODULES else top.lstrip("_")  # functools, and _functools in C behind it
    if top == "numpy":  # whose functions for files are many, and whose values take four
        return not full.startswith(_NUMPY_VALUES) and full != "numpy.ndarray"
    return top in _CODE_MODULES or full.startswith(_CODE_PREFIXES) or full in _TORCH_FILES
