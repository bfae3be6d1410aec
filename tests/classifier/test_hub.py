"""Checkpoints on a hub: the real library against a hub on this machine.

The library reads the hub's address when it is imported, so what is said to it is said in another process: one for all tests,
since importing the library and PyTorch takes seconds.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch

import videoswin
from tests.fake_hub import COMMIT, Hub, running
from tests.tiny import tiny_classifier
from videoswin.classifier import hub as hub_module
from videoswin.errors import ConfigError, MissingExtraError

Python = Callable[[str], list[str]]

# Runs each line of standard input, a script in JSON, and answers with what it printed.
SERVE = """
import contextlib, io, json, sys, traceback
import videoswin
def attempt(do):
    try: do()
    except videoswin.VideoSwinError as error: print(type(error).__name__, error)
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try: exec(json.loads(line), {"videoswin": videoswin, "attempt": attempt})
        except Exception: traceback.print_exc(file=out)
    print(json.dumps([out.getvalue(), err.getvalue()]), flush=True)
"""


@pytest.fixture(scope="module")
def the_hub() -> Iterator[Hub]:
    with running(Hub()) as started:
        yield started


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hf")


@pytest.fixture(scope="module")
def python(the_hub: Hub, home: Path) -> Iterator[Python]:
    """What a process prints that knows no other hub."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": the_hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_test",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "no_proxy": "127.0.0.1",
    }
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told, heard = process.stdin, process.stdout

        def say(script: str) -> list[str]:
            print(json.dumps(script), file=told, flush=True)
            out, err = json.loads(heard.readline())
            assert "%|" not in err  # no bars into a pipe
            return out.splitlines()

        yield say
        told.close()


@pytest.fixture
def hub(the_hub: Hub, tmp_path: Path) -> Iterator[Hub]:
    """With one repository, which holds more than a checkpoint."""
    tiny_classifier().save(tmp_path / "ck")
    files = {path.name: path.read_bytes() for path in (tmp_path / "ck").iterdir()}
    extra = {"pytorch_model.bin": b"\x80\x04cposix\nsystem\n", "train.py": b"import os"}
    the_hub.repos = {"me/tiny": files | extra, "me/pictures": {"a.jpg": b"x"}}
    the_hub.requests.clear()
    yield the_hub
    if the_hub.is_gone:
        the_hub.come()


def test_only_the_files_of_a_checkpoint_are_fetched(hub: Hub, python: Python, home: Path) -> None:
    script = f"""
from pathlib import Path
from videoswin import Classifier, load
classifiers = [load("hf://me/tiny"), load("hf://me/tiny@{COMMIT}"), Classifier.from_pretrained("me/tiny", "main")]
for c in classifiers:
    print(c.labels == ("clap", "nod", "wave"), sum(p.abs().sum().item() for p in c.model.parameters()))
"""
    total = sum(p.abs().sum().item() for p in tiny_classifier().model.parameters())
    assert python(script) == [f"True {total}"] * 3
    assert hub.downloaded == {"config.json", "model.safetensors", "README.md"}
    files = {path.name for path in home.rglob("*")}
    assert not {"pytorch_model.bin", "train.py"} & files


def test_what_was_fetched_needs_no_network(hub: Hub, python: Python) -> None:
    script = 'print(videoswin.load("hf://me/tiny").name)'
    assert python(script) == ["tiny"]
    hub.leave()
    assert python(script) == ["tiny"]
    [line] = python('attempt(lambda: videoswin.load("hf://me/other"))')
    assert line.startswith("WeightsError hf://me/other: the hub cannot be reached, and it was not downloaded before.")


def test_pushed_and_loaded_it_is_the_same(hub: Hub, python: Python, tmp_path: Path) -> None:
    script = f"""
mine = videoswin.load({str(tmp_path / "ck")!r})
mine.notes, mine.card = "pushed", {{"license": "apache-2.0"}}
print(mine.push_to_hub("me/new"))
print(mine.push_to_hub("me/new", private=True, message="again"))
again = videoswin.load("hf://me/new")
print(again.notes, again.card)
"""
    assert python(script) == ["hf://me/new"] * 2 + ["pushed {'license': 'apache-2.0'}"]
    assert set(hub.repos["me/new"]) == {"config.json", "model.safetensors", "README.md"}
    assert b'license: "apache-2.0"' in hub.repos["me/new"]["README.md"]
    assert json.loads(hub.repos["me/new"]["config.json"])["model_type"] == "videoswin"


def test_what_a_hub_lacks_is_said_in_one_line(hub: Hub, python: Python) -> None:
    names = ["hf://me/nothing", "hf://me/tiny@v9", "hf://me/pictures"]
    script = f"for name in {names!r}: attempt(lambda: videoswin.load(name))"
    missing, revision, pictures = python(script)
    assert "there is no such repository, or it is private" in missing
    assert "the repository has no such revision" in revision
    assert "holds no checkpoint of videoswin (no config.json)" in pictures
    assert "a.jpg" not in hub.downloaded


def test_a_push_without_a_hub_is_one_line(hub: Hub, python: Python, tmp_path: Path) -> None:
    hub.leave()
    script = f'attempt(lambda: videoswin.load({str(tmp_path / "ck")!r}).push_to_hub("me/new"))'
    [line] = python(script)
    assert line.startswith("WeightsError hf://me/new: ")


@pytest.mark.parametrize("address", ["hf://tiny", "hf://me/tiny/file", "hf://", "hf://me/tiny@", "hf://me/ti ny"])
def test_malformed_addresses(address: str) -> None:
    with pytest.raises(ConfigError, match="Write hf://user/repo"):
        videoswin.load(address)


def test_malformed_names_are_not_pushed_to() -> None:
    with pytest.raises(ConfigError, match="Write user/repo"):
        tiny_classifier().push_to_hub("tiny")


def test_from_pretrained_takes_a_folder(tmp_path: Path) -> None:
    tiny_classifier().save(tmp_path / "ck")
    loaded = videoswin.Classifier.from_pretrained(tmp_path / "ck")
    assert torch.equal(loaded.model.head.fc.bias, tiny_classifier().model.head.fc.bias)  # type: ignore[union-attr]


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(hub_module, "import_module", lambda name: absent(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'videoswin\[hub\]'"):
        videoswin.load("hf://me/tiny")
    assert import_module("huggingface_hub")
