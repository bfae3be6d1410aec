"""The documentation says what is there: its snippets run, its commands exist, its links and tables are true.

Snippets run as they are written, in a folder that holds what the pages promise: a video ``clip.mp4``, a list ``labels.csv``
and a checkpoint ``runs/mine/best``. A page that does not exist yet, or is empty, passes.
"""

import csv
import json
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cyclopts import CycloptsError

from tests.tiny import LABELS, tiny_classifier, write_video
from videoswin import PRESETS, Preprocessing, SwinConfig
from videoswin.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if path.is_file()]
VERBS = (
    "annotations", "audit", "batch", "bench", "convert", "demo", "evaluate", "explain", "export", "features", "info", "inspect",
    "models", "pack", "predict", "probe", "search", "serve", "stream", "teach", "timeline", "train",
)  # fmt: skip
SHELL = ("console", "sh", "bash", "shell")

_BLOCK = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```\s*$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_HOSTS = (
    "pypi.org",
    "pythonhosted.org",
    "huggingface.co",
    "download.pytorch.org",
    "conda.anaconda.org",
    "ghcr.io",
    "docker.io",
)
_MACHINE = re.compile(r"(?<![\w.])/(work|home|root|Users|mnt|opt)/|\b[A-Z]:\\\\?Users")


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=page_id)


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """(line of its first line, text) of every fenced block in one of these languages."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        if match[1] in languages:
            yield text.count("\n", 0, match.start()) + 2, match[2]


def prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


# Python ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which snippets run, with all that they may name."""
    monkeypatch.chdir(tmp_path)
    write_video(Path("clip.mp4"))
    rows = [["path", "label", "split", "group"]]
    for number, split in enumerate(("train", "train", "test")):
        for label in LABELS:
            path = write_video(Path("videos", label, f"{number}.mp4"), frames=18, seed=number)
            rows.append([str(path), label, split, f"person {number}"])
    with Path("labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    tiny_classifier().save("runs/mine/best")
    return tmp_path


@every_page
def test_python_snippets_run(page: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Top to bottom in one namespace: later snippets of a page may use the names of earlier ones."""
    namespace: dict[str, object] = {"__name__": "__snippet__"}
    for line, text in blocks(page, "python"):
        code = compile("\n" * (line - 1) + text, str(page), "exec")  # so that a failure names the page's line
        exec(code, namespace)


# Commands -------------------------------------------------------------------------------------------------------------


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, tokens) of every command in a shell block; `\\` joins lines, `|`, `>` and `&&` end a command."""
    for first, text in blocks(page, *SHELL):
        lines = text.split("\n")
        at = 0
        while at < len(lines):
            start, line = at, lines[at]
            while line.endswith("\\") and at + 1 < len(lines):
                at += 1
                line = line[:-1] + lines[at]
            at += 1
            line = line.strip().removeprefix("$ ")
            if re.match(r"(videoswin|python|make|\.venv/bin/videoswin) ", line + " "):
                yield first + start, shlex.split(re.split(r" (?:\||>|>>|&&|;|2>) ?", line)[0], comments=True)


@every_page
def test_commands_exist(page: Path) -> None:
    for line, (program, *tokens) in commands(page):
        where = f"{page_id(page)}:{line}"
        if program.endswith("videoswin"):
            assert tokens, f"{where}: name a verb"
            if "--help" in tokens or tokens == ["--version"]:
                assert tokens[0] in {*VERBS, "--help", "--version"}, where
                continue
            try:
                app.parse_args(tokens, exit_on_error=False, print_error=False)
            except CycloptsError as error:
                pytest.fail(f"{where}: {error}")
        elif program == "python" and tokens[0].endswith(".py"):
            script = ROOT / tokens[0]
            assert script.is_file(), f"{where}: there is no {tokens[0]}"
            for token in tokens[1:]:
                if token.startswith("--"):
                    assert f'"{token}"' in script.read_text(encoding="utf-8"), f"{where}: {tokens[0]} has no {token}"
        elif program == "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            assert {t for t in tokens if "=" not in t} <= set(targets), where


def page_options(page: Path) -> dict[str, str]:
    """Option -> default, from the tables of a verb's page."""
    rows = re.findall(r"^\| `(--[a-z-]+)[^`]*` \| ([^|]*) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == len(dict(rows)), f"{page.name}: an option is listed twice"
    return {name: default.strip() for name, default in rows}


@pytest.mark.parametrize("verb", VERBS)
def test_options_are_those_of_the_help(verb: str) -> None:
    listed = page_options(ROOT / "docs" / f"{verb}.md")
    shown = [a for a in app[verb].assemble_argument_collection() if a.show]  # old spellings work and are not listed
    real = {a.name: a.field_info for a in shown if a.name.startswith("--")}
    assert set(listed) == set(real)
    for name, info in real.items():
        if info.required:
            assert listed[name] == "required", name
        elif info.default is False:
            assert listed[name] == "off", name
        elif info.default is not None:
            assert listed[name] == f"`{info.default}`", name
        else:
            assert not listed[name].startswith("`"), name


@every_page
def test_json_examples_are_json(page: Path) -> None:
    for _, text in blocks(page, "json", "jsonl"):
        try:
            json.loads(text)
        except ValueError:
            for line in text.splitlines():
                json.loads(line)


def test_json_examples_have_the_fields_of_the_contract(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = {
        "predict": ["clip.mp4", "--weights", "runs/mine/best"],
        "evaluate": ["labels.csv", "--weights", "runs/mine/best"],
        "info": ["swin3d_micro", "--clip-len", "16", "--size", "56"],
    }
    for verb, arguments in calls.items():
        app([verb, *arguments, "--json"], exit_on_error=False, result_action="return_value")
        real = json.loads(capsys.readouterr().out)
        for _, text in blocks(ROOT / "docs" / f"{verb}.md", "json"):
            for line in text.splitlines():
                assert json.loads(line).keys() == real.keys(), verb
                assert verb != "info" or json.loads(line) == real


# Tables ---------------------------------------------------------------------------------------------------------------


def test_every_field_of_a_checkpoint_is_described() -> None:
    text = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    described = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", text, re.MULTILINE))
    for kind in (SwinConfig, Preprocessing):
        for field, value in kind().to_dict().items():
            assert described[field] == json.dumps(value), field
    assert set(tiny_classifier().to_dict()) <= set(described)


def test_presets_are_counted_right() -> None:
    from videoswin.model import VideoSwin
    from videoswin.zoo.swin_macs import count_macs

    text = (ROOT / "docs" / "info.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(swin3d_\w+)` \| ([\d,]+) \| (\d+) \| (\d+)x(\d+)x(\d+) \| (\S+) G \| (\S+) G \|", text, re.MULTILINE
    )
    assert {row[0] for row in rows} == set(PRESETS)
    for name, parameters, classes, t, h, w, paper, executed in rows:
        config = PRESETS[name]
        with torch.device("meta"):
            assert sum(p.numel() for p in VideoSwin(config).parameters()) == int(parameters.replace(",", ""))
        assert config.num_classes == int(classes)
        macs = count_macs(config, int(t), int(h), int(w))
        assert (f"{macs.paper / 1e9:,.2f}", f"{macs.executed / 1e9:,.2f}") == (paper, executed)


def test_the_tree_is_todays() -> None:
    page = ROOT / "docs" / "architecture.md"
    module = runpy.run_path(str(ROOT / "docs" / "tree.py"))
    assert module["updated"](page.read_text(encoding="utf-8")) == page.read_text(encoding="utf-8"), "run docs/tree.py"


# Links and names ------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of the headings."""
    headings = re.findall(r"^#+ (.+?)\s*$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@every_page
def test_links_resolve(page: Path) -> None:
    for found in _LINK.finditer(prose(page)):
        target = found[1] or found[2]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page_id(page)}: {target} does not exist"
        assert file.is_relative_to(ROOT), f"{page_id(page)}: {target} leads out of the repository"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page_id(page)}: {target} has no such heading"


@every_page
def test_no_machine_and_no_registry_is_named(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not _MACHINE.search(text)
    assert [host for host in _HOSTS if host in text] == []
    assert "FIGURE" not in text


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, f"docs/README.md does not list {page.name}"
