"""Pickles read as data: a machine for their instructions that imports nothing, calls nothing and cannot be made to grow.

A pickle is a program for a stack machine. Python's own machine imports whatever the program names and calls it; PyTorch's
(``weights_only``) refuses most names, so that an ``argparse.Namespace`` beside the weights makes the weights unreadable,
and both take the sizes, depths and keys of the program on trust: eight bytes make a ``bytearray`` of 8 GB, twenty-four
nested tuples as a key of a dictionary take twenty seconds. This machine knows names only as names
(:mod:`.pickle_objects` says what becomes of a call), and bounds the rest:

* instructions, containers, open marks and the stack are counted: about a second and 100 MB at the worst;
* long texts and bytes are not read, and numbers of more than a kilobyte are refused (:mod:`.pickle_tape`);
* keys of dictionaries are texts and plain numbers; anything else is no name of a tensor, and stands under a key of its own
  that is never hashed by contents (tuples and large integers can be built to collide, or to take for ever);
* nothing walks the finished tree by recursion, so that it may be deep, shared or circular.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from videoswin.weights.containers.pickle_objects import MAX_NAME, Global, NotBuilt, build, call, instance
from videoswin.weights.containers.pickle_tape import PickleTape, parsed
from videoswin.weights.containers.unreadable import RESAVE, UNTRUSTED, Unreadable

__all__ = ["Budget", "InertUnpickler", "OddKey"]

_MAX_MARKS = 2000
_MAX_STACK = 200_000


@dataclass
class Budget:
    """What the pickles of one file may cost together. Swin-L with its optimiser takes 42,000 instructions and 9,200
    containers."""

    instructions: int = 2_000_000
    containers: int = 250_000


class OddKey:
    """In a dictionary, the place of a key that is neither a text nor a plain number."""


class InertUnpickler(PickleTape):
    """One pickle in a file, from where the file stands.

    Args:
        file: buffered, since instructions are read byte by byte.
        stop: the place in the file that the pickle must not pass.
        budget: shared by all pickles of a file.
        persistent: what a "persistent id" means, PyTorch's word for a storage that stands outside of the pickle.
    """

    def __init__(
        self, file: BinaryIO, stop: int, budget: Budget, persistent: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__(file, stop)
        self.budget = budget
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.not_built: dict[str, None] = {}
        """Names of classes that instances in the pickle have, in order; no such instance was made."""

    def load(self) -> Any:
        """The value that the pickle stands for.

        Raises:
            Unreadable: it is damaged, longer than the budget, or wants something to be called that runs code.
        """
        read, run = self.file.read, _INSTRUCTIONS
        for step in range(self.budget.instructions):
            code = read(1)
            if code == b".":
                if self.file.tell() > self.stop:
                    raise Unreadable("its pickle does not end where it should")
                self.budget.instructions -= step
                return self.pop()
            instruction = run.get(code)
            if instruction is None:
                raise Unreadable(
                    f"its pickle has an unknown instruction ({code!r})" if code else "its pickle is cut off"
                )
            instruction(self)
        raise Unreadable("its pickle has more steps than any list of tensors", RESAVE)

    def push(self, value: Any) -> None:
        if len(self.stack) >= _MAX_STACK:
            raise Unreadable("its pickle piles up more values than any list of tensors", RESAVE)
        self.stack.append(value)

    def push_container(self, value: Any) -> None:
        self.budget.containers -= 1
        if self.budget.containers < 0:
            raise Unreadable("its pickle makes more lists and tables than any list of tensors", RESAVE)
        self.push(value)

    def pop(self) -> Any:
        if not self.stack:
            raise Unreadable("its pickle takes a value that is not there")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise Unreadable("its pickle uses a value that is not there")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise Unreadable("its pickle closes a list that it did not open")
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def pop_global(self) -> Global | NotBuilt:
        named = self.pop()
        if not isinstance(named, Global | NotBuilt):
            raise Unreadable(f"its pickle calls a {type(named).__name__}")
        return named

    def push_object(self, value: Any) -> None:
        if isinstance(value, NotBuilt):
            self.not_built.setdefault(value.kind)
        self.push_container(value)


# --- containers ---


def _key(key: Any) -> Any:
    kind = type(key)
    if kind is str or kind is bytes or kind is float or kind is bool or key is None:
        return key
    return key if kind is int and -(2**63) <= key < 2**63 else OddKey()


def _set_items(machine: InertUnpickler, items: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, NotBuilt):
        target.items = target = target.items or {}
    if not isinstance(target, dict) or len(items) % 2:
        raise Unreadable("its pickle puts entries into what is no table")
    for at in range(0, len(items), 2):
        target[_key(items[at])] = items[at + 1]


def _table(items: list[Any]) -> dict[Any, Any]:
    return {_key(items[at]): items[at + 1] for at in range(0, len(items) - 1, 2)}


def _extend(machine: InertUnpickler, items: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, NotBuilt):
        target.elements = target = target.elements or []
    if not isinstance(target, list):
        raise Unreadable("its pickle puts elements into what is no list")
    target.extend(items)


def _last(machine: InertUnpickler, count: int) -> list[Any]:
    items = [machine.pop() for _ in range(count)]
    items.reverse()
    return items


def _mark(machine: InertUnpickler) -> None:
    if len(machine.marks) >= _MAX_MARKS:
        raise Unreadable("its pickle is nested deeper than any list of tensors", UNTRUSTED)
    machine.marks.append(len(machine.stack))


# --- the memo ---


def _remember(machine: InertUnpickler, at: int) -> None:
    if not 0 <= at < 2**32:
        raise Unreadable("its pickle keeps a value where there is no place")
    machine.memo[at] = machine.top()


def _recall(machine: InertUnpickler, at: int) -> None:
    if at not in machine.memo:
        raise Unreadable("its pickle recalls a value that it did not keep")
    machine.push(machine.memo[at])


# --- names and calls ---


def _named(module: Any, name: Any) -> Global:
    if type(module) is not str or type(name) is not str or len(module) > MAX_NAME or len(name) > MAX_NAME:
        raise Unreadable("its pickle has a name that is none")
    return Global(module, name)


def _written_global(machine: InertUnpickler) -> Global:
    module, name = machine.line(), machine.line()
    return _named(module.decode("utf-8", "replace"), name.decode("utf-8", "replace"))


def _stack_global(machine: InertUnpickler) -> None:
    module, name = _last(machine, 2)
    machine.push_container(_named(module, name))


def _reduce(machine: InertUnpickler) -> None:
    arguments = machine.pop()
    if isinstance(arguments, tuple) and arguments and isinstance(arguments[-1], list):
        machine.budget.containers -= len(arguments[-1])  # a list of pairs is gone through
    machine.push_object(call(machine.pop_global(), arguments))


def _new(machine: InertUnpickler, keywords: bool = False) -> None:
    if keywords:
        machine.pop()
    arguments = machine.pop()
    machine.push_object(instance(machine.pop_global(), arguments))


def _old_instance(machine: InertUnpickler) -> None:
    named, arguments = _written_global(machine), tuple(machine.pop_to_mark())
    machine.push_object(instance(named, arguments))


def _old_object(machine: InertUnpickler) -> None:
    items = machine.pop_to_mark()
    if not items or not isinstance(items[0], Global | NotBuilt):
        raise Unreadable("its pickle makes an object of no class")
    machine.push_object(instance(items[0], tuple(items[1:])))


def _build(machine: InertUnpickler) -> None:
    state = machine.pop()
    build(machine.top(), state)


def _persistent(machine: InertUnpickler, key: Any) -> None:
    if machine.persistent is None:
        raise Unreadable("its pickle refers to another file, which is not here", RESAVE)
    machine.push_container(machine.persistent(key))


def _elsewhere(machine: InertUnpickler) -> None:
    raise Unreadable("its pickle has parts that are kept elsewhere", RESAVE)


def _pop_one(machine: InertUnpickler) -> None:
    if machine.marks and machine.marks[-1] == len(machine.stack):
        machine.marks.pop()
    else:
        machine.pop()


_INSTRUCTIONS: dict[bytes, Callable[[InertUnpickler], Any]] = {
    b"\x80": lambda m: m.read(1),  # protocol
    b"\x95": lambda m: m.read(8),  # frame
    # numbers
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"K": lambda m: m.push(m.read(1)[0]),
    b"M": lambda m: m.push(m.number("<H")),
    b"J": lambda m: m.push(m.number("<i")),
    b"G": lambda m: m.push(m.number(">d")),
    b"\x8a": lambda m: m.push(m.integer(m.read(1)[0])),
    b"\x8b": lambda m: m.push(m.integer(m.number("<i"))),
    b"I": lambda m: m.push(m.written_integer()),
    b"L": lambda m: m.push(m.written_integer()),
    b"F": lambda m: m.push(parsed(float, m.line())),
    # texts and bytes
    b"\x8c": lambda m: m.push(m.text(m.read(1)[0])),
    b"X": lambda m: m.push(m.text(m.number("<I"))),
    b"\x8d": lambda m: m.push(m.text(m.number("<Q"))),
    b"V": lambda m: m.push(m.raw_unicode()),
    b"U": lambda m: m.push(m.old_text(m.read(1)[0])),
    b"T": lambda m: m.push(m.old_text(m.number("<i"))),
    b"S": lambda m: m.push(m.quoted()),
    b"C": lambda m: m.push(m.data(m.read(1)[0])),
    b"B": lambda m: m.push(m.data(m.number("<I"))),
    b"\x8e": lambda m: m.push(m.data(m.number("<Q"))),
    b"\x96": lambda m: m.push(m.data(m.number("<Q"))),
    # containers
    b"(": _mark,
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push_container(tuple(m.pop_to_mark())),
    b"\x85": lambda m: m.push_container(tuple(_last(m, 1))),
    b"\x86": lambda m: m.push_container(tuple(_last(m, 2))),
    b"\x87": lambda m: m.push_container(tuple(_last(m, 3))),
    b"]": lambda m: m.push_container([]),
    b"l": lambda m: m.push_container(m.pop_to_mark()),
    b"a": lambda m: _extend(m, _last(m, 1)),
    b"e": lambda m: _extend(m, m.pop_to_mark()),
    b"}": lambda m: m.push_container({}),
    b"d": lambda m: m.push_container(_table(m.pop_to_mark())),
    b"s": lambda m: _set_items(m, _last(m, 2)),
    b"u": lambda m: _set_items(m, m.pop_to_mark()),
    b"\x8f": lambda m: m.push_container([]),  # a set: nobody looks for one
    b"\x90": lambda m: _extend(m, m.pop_to_mark()),
    b"\x91": lambda m: m.push_container(m.pop_to_mark()),
    # the stack and the memo
    b"0": _pop_one,
    b"1": lambda m: m.pop_to_mark(),
    b"2": lambda m: m.push(m.top()),
    b"p": lambda m: _remember(m, parsed(int, m.line())),
    b"q": lambda m: _remember(m, m.read(1)[0]),
    b"r": lambda m: _remember(m, m.number("<I")),
    b"\x94": lambda m: _remember(m, len(m.memo)),
    b"g": lambda m: _recall(m, parsed(int, m.line())),
    b"h": lambda m: _recall(m, m.read(1)[0]),
    b"j": lambda m: _recall(m, m.number("<I")),
    # names and calls
    b"c": lambda m: m.push_container(_written_global(m)),
    b"\x93": _stack_global,
    b"R": _reduce,
    b"\x81": _new,
    b"\x92": lambda m: _new(m, keywords=True),
    b"i": _old_instance,
    b"o": _old_object,
    b"b": _build,
    b"Q": lambda m: _persistent(m, m.pop()),
    b"P": lambda m: _persistent(m, m.line().decode("latin-1")),
    b"\x82": _elsewhere,  # the extension registry of one process
    b"\x83": _elsewhere,
    b"\x84": _elsewhere,
    b"\x97": _elsewhere,  # buffers out of band
    b"\x98": _elsewhere,
}
