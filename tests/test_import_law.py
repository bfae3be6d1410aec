"""The law of imports: which room may use which, and no circles, neither of rooms nor of files.

errors <- storage, data, kernels, interface <- model, zoo <- streams, weights <- predict <- classifier <- verbs <- cli

Read from the source text, so lazy imports inside functions and imports for type checkers count as well.
"""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "videoswin"
MAX_LINES = 450
# Files whose one idea takes more room, with the lines they may have.
LONGER: dict[str, int] = {}
LOOSE = {"__init__", "__main__", "errors"}

VERBS = ("features", "audit", "train", "live", "export", "serve", "batch", "bench", "search", "explain", "hf")
ENGINE = {"errors", "storage", "interface", "kernels", "model", "zoo"}
BELOW_VERBS = {*ENGINE, "data", "streams", "weights", "predict", "classifier", "root"}
# What the files of each room may import of ours, beside their own room. "root" is the package itself, `import videoswin`.
LAW: dict[str, set[str]] = {
    "errors": set(),
    "storage": {"errors"},
    "data": {"errors", "storage"},
    "kernels": {"errors", "storage"},
    "interface": {"errors"},
    "model": {"errors", "interface", "kernels"},
    "zoo": {"errors", "interface", "kernels", "model"},
    "streams": {"errors", "interface", "kernels", "model", "data"},
    "weights": ENGINE,
    "predict": {"errors", "storage", "data"},
    "classifier": {*ENGINE, "data", "streams", "weights", "predict", "root"},
    **{verb: {*BELOW_VERBS, *VERBS} for verb in VERBS},
    "cli": {*BELOW_VERBS, *VERBS},
    "root": {"errors", "interface", "data", "model", "zoo", "streams", "predict", "classifier"},
    "__main__": {"cli", "errors"},
}


def room(module: str) -> str:
    """The room of a dotted module name below the package: "data.decode" -> "data", "" -> "root"."""
    return module.split(".")[0] or "root"


def module_name(file: Path, root: Path) -> str:
    """data/decode.py -> "data.decode"; data/__init__.py -> "data"; __init__.py -> ""."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path, root: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of all that a file imports; `from a import b` gives a.b where that is a module."""
    package = ["videoswin", *file.relative_to(root).parent.parts]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = root.joinpath(*source.split(".")[1:], alias.name) if source.startswith("videoswin") else None
                is_module = inner is not None and (inner.with_suffix(".py").exists() or inner.is_dir())
                yield node.lineno, f"{source}.{alias.name}" if is_module else source


def arrows(root: Path) -> Iterator[tuple[str, str, str]]:
    """(place in the text, importing module, imported module) of all imports of ours."""
    for file in sorted(root.rglob("*.py")):
        here = module_name(file, root)
        for line, name in imports(file, root):
            top, _, inner = name.partition(".")
            if top == "videoswin" and inner != here:
                yield f"{file.relative_to(root).as_posix()}:{line}", here, inner
            if top == "av" and room(here) != "data":
                yield f"{file.relative_to(root).as_posix()}:{line}", here, "av"


def circle(graph: Mapping[str, set[str]]) -> str:
    """One circle, written out; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


def violations(root: Path) -> list[str]:
    """One line for each import, circle, loose file or length that breaks the law."""
    found = []
    files: dict[str, set[str]] = {}
    rooms: dict[str, set[str]] = {}
    for place, here, there in arrows(root):
        if there == "av":
            found.append(f"{place}: only data/ may import av")
            continue
        if room(here) != room(there):
            if room(there) not in LAW.get(room(here), set()):
                found.append(f"{place}: {room(here)} may not import videoswin.{there}")
            if "root" not in (room(here), room(there)):
                rooms.setdefault(room(here), set()).add(room(there))
        if here and there:
            files.setdefault(here, set()).add(there)
    found += [
        f"a circle of {what}: {path}" for what, graph in (("rooms", rooms), ("files", files)) if (path := circle(graph))
    ]
    found += [f"{path.name} stands loose at the top" for path in sorted(root.glob("*.py")) if path.stem not in LOOSE]
    for file in sorted(root.rglob("*.py")):
        where = file.relative_to(root).as_posix()
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > (limit := LONGER.get(where, MAX_LINES)):
            found.append(f"{where}: {lines} lines, more than {limit}; one idea a file")
    return found


def test_the_package_keeps_the_law() -> None:
    assert (SRC / "errors.py").exists()
    assert violations(SRC) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("errors.py", "from videoswin.model import SwinConfig"),
        ("data/decode.py", "from videoswin.model.config import Grid"),
        ("data/decode.py", "import videoswin.weights.safetensors"),
        ("data/decode.py", "from videoswin import model"),
        ("data/decode.py", "from .. import model"),
        ("data/decode.py", "from ..model import config"),
        ("data/decode.py", "import videoswin"),
        ("kernels/cpu.py", "from videoswin.model import windows"),
        ("model/blocks.py", "def f():\n    from videoswin.data import decode"),
        ("model/blocks.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import videoswin.streams"),
        ("weights/files.py", "from videoswin.data.preprocessing import Preprocessing"),
        ("weights/files.py", "from videoswin import classifier"),
        ("predict/scoring.py", "from videoswin.classifier import load"),
        ("predict/scoring.py", "from videoswin.cli import main"),
        ("train/loop.py", "from videoswin.cli.main import main"),
        ("__init__.py", "from videoswin.cli import main"),
        ("serve/app.py", "from videoswin.cli import main"),
        ("predict/scoring.py", "import av"),
        ("model/blocks.py", "from av.video import frame"),
        ("cli/main.py", "import av.error"),
        ("model/blocks.py", "x = 1\n" * (MAX_LINES + 1)),
        ("helpers.py", "x = 1"),
        ("data/decode.py", "from videoswin.data import twin"),
        ("train/loop.py", "import videoswin.serve"),
    ],
)
def test_a_breach_is_seen(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path, file, text)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data/decode.py", "import av\nfrom videoswin.errors import VideoError\nfrom .sampling import clips"),
        ("model/blocks.py", "import available\nfrom videoswin import errors\nimport videoswin.kernels"),
        ("weights/files.py", "from videoswin.model import SwinConfig\nfrom videoswin.weights import names"),
        ("classifier/loading.py", "import videoswin\nfrom videoswin.predict import predict"),
        ("train/loop.py", "from videoswin.predict import predict\nfrom videoswin.weights.files import load"),
        ("serve/app.py", "from videoswin.predict import predict"),
        ("cli/main.py", "from videoswin.serve import app\nfrom . import train"),
        ("__main__.py", "from videoswin.cli import main"),
        ("__init__.py", "from videoswin.predict import predict"),
    ],
)
def test_what_the_law_allows(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path, file, text)
    assert violations(tmp_path) == []


def write(root: Path, file: str, text: str) -> None:
    """A package skeleton with one file of interest; "twin" modules import the file that tests are about."""
    for folder in (*LAW.keys() - {*LOOSE, "root"},):
        (root / folder).mkdir()
        (root / folder / "__init__.py").touch()
    (root / "errors.py").touch()
    (root / "data" / "twin.py").write_text("import videoswin.data.decode", encoding="utf-8")
    (root / "serve" / "app.py").write_text("import videoswin.train.loop", encoding="utf-8")
    (root / file).write_text(text, encoding="utf-8")
