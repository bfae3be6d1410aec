"""Writes the tree of docs/architecture.md from the first lines of the modules: python docs/tree.py"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parent / "architecture.md"
SOURCE = Path(__file__).parent.parent / "src" / "videoswin"
# The way of the data: the order in which a newcomer meets the rooms.
ROOMS = (
    "storage", "data", "interface", "kernels", "model", "zoo", "streams", "weights", "predict", "classifier", "features", "audit", "train", "live", "export",
    "serve", "batch", "search", "explain", "cli",
)  # fmt: skip
_OTHERS = {
    "box_attention.c": "attention inside boxes in C, forward and backward, compiled on the user's machine",
    ".html": "the template of that page",
}


def first_line(file: Path) -> str:
    """The first paragraph of a module's docstring, on one line, without its full stop."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).removesuffix(".").replace("``", "")


def shortened(text: str, room: int = 96) -> str:
    """Whole words, and whole sentences where one fits."""
    sentence = re.split(r"(?<=[^.])\. |: (?=.{60})", text)[0]
    return sentence if len(sentence) <= room else sentence[: sentence.rindex(" ", 0, room - 3)] + " ..."


def lines(folder: Path, indent: str) -> Iterator[str]:
    """One line for each file of a room, and then its inner rooms."""
    for file in sorted(folder.glob("*")):
        if file.name.startswith("_") or file.is_dir() or file.suffix not in (".py", ".c", ".html"):
            continue
        text = first_line(file) if file.suffix == ".py" else _OTHERS.get(file.name, _OTHERS.get(file.suffix, ""))
        yield f"{indent}{file.name:<{28 - len(indent)}}{shortened(text)}"
    for inner in sorted(path for path in folder.iterdir() if (path / "__init__.py").is_file()):
        yield f"{indent}{inner.name + '/':<{28 - len(indent)}}{shortened(first_line(inner / '__init__.py'))}"
        yield from lines(inner, indent + "  ")


def tree() -> str:
    """The whole package, one line a file."""
    out = ["src/videoswin/"]
    for name in ("__init__", "__main__", "errors"):
        out.append(f"  {name + '.py':<26}{shortened(first_line(SOURCE / f'{name}.py'))}")
    found = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    for room in (*(r for r in ROOMS if r in found), *sorted(found - set(ROOMS))):
        out.append(f"  {room + '/':<26}{shortened(first_line(SOURCE / room / '__init__.py'))}")
        out += lines(SOURCE / room, "    ")
    return "\n".join(out) + "\n"


def updated(page: str) -> str:
    """The page with the tree of today."""
    return re.sub(r"src/videoswin/\n.*?(?=```)", lambda _: tree(), page, count=1, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
