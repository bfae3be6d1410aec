"""The law of imports: errors <- {data, model} <- weights <- verbs <- serve <- cli, and nothing the other way.

Read from the source text, so lazy imports inside functions and imports for type checkers count as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "videoswin"
MAX_LINES = 450
# One idea that takes more room: everything that touches PyAV has to stand in one file.
LONGER = {"data/decode.py": 530}

# What each layer may import of ours. "verbs" are the modules at the top (classifier, predict, ...) and train/;
# "root" is the package itself, `import videoswin`.
LAW: dict[str, set[str]] = {
    "errors": set(),
    "paths": set(),
    "data": {"errors", "paths", "data"},
    "model": {"errors", "paths", "model"},
    "weights": {"errors", "paths", "model", "weights"},
    "verbs": {"errors", "paths", "data", "model", "weights", "verbs", "root"},
    "root": {"errors", "paths", "data", "model", "weights", "verbs"},
    "serve": {"errors", "paths", "data", "model", "weights", "verbs", "serve", "root"},
    "cli": {"errors", "paths", "data", "model", "weights", "verbs", "serve", "cli", "root"},
    "__main__": {"errors", "paths", "data", "model", "weights", "verbs", "serve", "cli", "root"},
}


def layer(module: str) -> str:
    """The layer of a dotted module name below the package: "data.decode" -> "data", "predict" -> "verbs"."""
    first = module.split(".")[0]
    if first == "":
        return "root"
    return first if first in LAW and first not in {"verbs", "root"} else "verbs"


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


def violations(root: Path) -> list[str]:
    """One line for each import, or length, that breaks the law."""
    found = []
    for file in sorted(root.rglob("*.py")):
        where, here = file.relative_to(root).as_posix(), layer(module_name(file, root))
        for line, name in imports(file, root):
            top, _, inner = name.partition(".")
            if top == "videoswin" and layer(inner) not in LAW[here] and inner != module_name(file, root):
                found.append(f"{where}:{line}: {here} may not import {name}")
            if top == "av" and here != "data":
                found.append(f"{where}:{line}: only data/ may import av")
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > (limit := LONGER.get(str(where), MAX_LINES)):
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
        ("data/decode.py", "import videoswin.weights.files"),
        ("data/decode.py", "from videoswin import model"),
        ("data/decode.py", "from .. import model"),
        ("data/decode.py", "from ..model import config"),
        ("data/decode.py", "import videoswin"),
        ("model/heads.py", "def f():\n    from videoswin.data import decode"),
        ("model/heads.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import videoswin.predict"),
        ("weights/files.py", "from videoswin.data.preprocessing import Preprocessing"),
        ("weights/files.py", "from videoswin import classifier"),
        ("predict.py", "from videoswin.cli import main"),
        ("predict.py", "from videoswin import serve"),
        ("train/loop.py", "from videoswin.cli.main import main"),
        ("__init__.py", "from videoswin.cli import main"),
        ("serve/app.py", "from videoswin.cli import main"),
        ("predict.py", "import av"),
        ("model/heads.py", "from av.video import frame"),
        ("cli/main.py", "import av.error"),
        ("model/heads.py", "x = 1\n" * (MAX_LINES + 1)),
    ],
)
def test_a_breach_is_seen(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path, file, text)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data/decode.py", "import av\nfrom videoswin.errors import VideoError\nfrom .sampling import clips"),
        ("model/heads.py", "import available\nfrom videoswin import errors"),
        ("weights/files.py", "from videoswin.model import SwinConfig\nfrom videoswin.weights import names"),
        ("predict.py", "from videoswin import __version__\nimport videoswin.train.loop"),
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
    """A package skeleton with one file of interest."""
    for folder in ("data", "model", "weights", "train", "serve", "cli"):
        (root / folder).mkdir()
        (root / folder / "__init__.py").touch()
    for module in ("errors", "classifier", "predict"):
        (root / f"{module}.py").touch()
    (root / file).write_text(text, encoding="utf-8")
