"""Which of the tables in a file holds the weights.

Training writes much beside them: optimisers, schedules, settings, averaged copies. A table of tensors under one of the names
that frameworks use comes first, then tensors that lie open, then averaged copies, then a table under any other name if it
is the only one. What was taken, and what else could have been, is part of the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videoswin.weights.containers.names import AVERAGED, KNOWN, PLAIN
from videoswin.weights.containers.pickle_objects import NotBuilt, as_tensor
from videoswin.weights.containers.stored import StoredTensor
from videoswin.weights.containers.unreadable import RESAVE, UNTRUSTED, Unreadable

__all__ = ["Choice", "choose"]

_MAX_DEPTH = 3
_MAX_NAME = 1000
_MAX_MODULES = 100_000


@dataclass(frozen=True)
class Choice:
    """The tensors that were chosen, and what was not."""

    tensors: dict[str, StoredTensor]
    container: str
    """The path of their table in the file, "state_dict" or "model/state_dict"; "" if they lie open in it."""
    others: tuple[str, ...]
    """Paths of the other tables of tensors."""
    ignored: tuple[str, ...]
    """What lies beside the tensors, in their table and, if they have one, beside it."""


def choose(tree: Any, container: str | None = None) -> Choice:
    """The table of weights in what a file holds.

    Args:
        container: the path of the table, where the caller knows it: "state_dict_ema". A path may go on into the names of
            the tensors: "state_dict/student".

    Raises:
        Unreadable: there is none, or more than one and nothing says which; or a tensor in it lies about itself.
    """
    tables: dict[str, Mapping[Any, Any]] = {}
    _collect(tree, "", tables, set())
    tensors = {path: _tensors(table) for path, table in tables.items()}
    found = {path: inside for path, inside in tensors.items() if inside}
    if any(_has_matrix(inside) for inside in found.values()):  # a count of steps beside a table is no model
        found = {path: inside for path, inside in found.items() if _has_matrix(inside)}
    if not found:
        for table in tables.values():
            _refuse_tensors_without_numbers(table)
    path, below = (_only(found, tree), "") if container is None else _asked(found, container)
    _refuse_tensors_without_numbers(tables[path])
    ignored: list[str] = []
    if path:
        first = path.partition("/")[0]
        ignored += [_text(name) for name in tables[""] if _text(name) != first]
    ignored += [_text(name) for name in tables[path] if _text(name) not in found[path]]
    chosen = {name.removeprefix(below): tensor for name, tensor in found[path].items() if name.startswith(below)}
    ignored += [name for name in found[path] if not name.startswith(below)]
    return Choice(chosen, container or path, tuple(other for other in found if other != path), tuple(ignored))


def _only(found: Mapping[str, object], tree: Any) -> str:
    if not found:
        if not isinstance(tree, dict | NotBuilt):
            what = "single tensor" if as_tensor(tree) else "list" if isinstance(tree, list | tuple) else "single value"
            raise Unreadable(f"it holds a {what}, not a table of tensors", RESAVE)
        what = f"an instance of {tree.kind[:100]}" if isinstance(tree, NotBuilt) else "a table without tensors"
        raise Unreadable(f"it holds no tensors ({what})", "Give a file with a state_dict in it")
    rank = {path: _rank(path) for path in found}
    best = min(rank.values())
    paths = [path for path in found if rank[path] == best]
    if len(paths) > 1:
        hint = f'Say which: container="{paths[0]}"'
        raise Unreadable(f"it holds {len(paths)} tables of tensors: {', '.join(paths[:5])}", hint)
    return paths[0]


def _asked(found: Mapping[str, Mapping[str, object]], container: str) -> tuple[str, str]:
    """The path of a table, and what the names of the tensors that are meant begin with."""
    for path in sorted(found, key=len, reverse=True):
        if path == container:
            return path, ""
        inner = container.removeprefix(f"{path}/") if path else container
        below = inner.replace("/", ".") + "."
        if (not path or inner != container) and any(name.startswith(below) for name in found[path]):
            return path, below
    known = ", ".join(f'"{path}"' for path in list(found)[:10] if path)
    raise Unreadable(f'it has no table of tensors "{container}"', f"It has: {known}" if known else "Leave it out")


def _rank(path: str) -> int:
    """The smaller, the likelier."""
    parts = path.split("/")
    if not path:
        return len(PLAIN)
    if any(part not in KNOWN for part in parts):
        return 100
    averaged = [AVERAGED.index(part) for part in parts if part in AVERAGED]
    return len(PLAIN) + 1 + averaged[0] if averaged else PLAIN.index(parts[0])


def _collect(value: Any, path: str, tables: dict[str, Mapping[Any, Any]], seen: set[int]) -> None:
    """All tables that could be weights, by their paths: at the top under any name, below under the usual ones."""
    if id(value) in seen:
        return
    table = _as_table(value)
    if table is None:
        return
    seen.add(id(value))
    tables[path] = table
    if path.count("/") >= _MAX_DEPTH - 1:
        return
    for name, inner in table.items():
        if isinstance(name, str) and "/" not in name and len(name) < 100 and (not path or name in KNOWN):
            _collect(inner, f"{path}/{name}" if path else name, tables, seen)


def _as_table(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, dict):
        return value
    if not isinstance(value, NotBuilt):
        return None
    if _is_module(value):
        return _flat_module(value)
    return value.items


def _is_module(value: Any) -> bool:
    return (
        isinstance(value, NotBuilt) and isinstance(value.state, dict) and isinstance(value.state.get("_modules"), dict)
    )


def _flat_module(module: NotBuilt) -> dict[str, Any]:
    """The state_dict of a whole model that was pickled with its code: its tensors are there, whatever its class is."""
    flat: dict[str, Any] = {}
    waiting = [("", module)]
    steps = 0
    while waiting:
        prefix, one = waiting.pop()
        steps += 1
        if steps > _MAX_MODULES or len(prefix) > 1000:
            raise Unreadable("its model is nested deeper, or has more layers, than any", UNTRUSTED)
        for kind in ("_parameters", "_buffers"):
            own = one.state.get(kind)
            if isinstance(own, dict):
                steps += len(own)
                flat |= {f"{prefix}{name}": value for name, value in own.items() if isinstance(name, str)}
        inner = one.state["_modules"]
        steps += len(inner)
        waiting += [
            (f"{prefix}{name}.", layer)
            for name, layer in reversed(inner.items())
            if isinstance(name, str) and _is_module(layer)
        ]
    return flat


def _tensors(table: Mapping[Any, Any]) -> dict[str, StoredTensor]:
    """Its tensors; or its arrays of numpy, if it has no tensors. Beside tensors an array is a score or a random state."""
    found: dict[str, StoredTensor] = {}
    for key, value in table.items():
        tensor = as_tensor(value)
        if tensor is None:
            continue
        name = _text(key)
        if name in found:
            raise Unreadable(f'it has two tensors of the name "{name}"')
        found[name] = tensor
    plain = {name: tensor for name, tensor in found.items() if not tensor.of_numpy}
    return plain or found


def _refuse_tensors_without_numbers(table: Mapping[Any, Any]) -> None:
    for key, value in table.items():
        if isinstance(value, NotBuilt) and value.kind.startswith("torch._utils._rebuild_"):
            raise Unreadable(f'tensor "{_text(key)}" is sparse, quantised or without numbers', "Save plain tensors")


def _text(name: Any) -> str:
    if isinstance(name, str | bytes) and len(name) > _MAX_NAME:
        raise Unreadable(f"it has a name of {len(name):,} letters", UNTRUSTED)
    if isinstance(name, bytes):
        return name.decode("latin-1")
    return name if isinstance(name, str) else str(name) if isinstance(name, int | float) else "(a key that is no name)"


def _has_matrix(tensors: Mapping[str, StoredTensor]) -> bool:
    return any(len(tensor.shape) > 1 for tensor in tensors.values())
