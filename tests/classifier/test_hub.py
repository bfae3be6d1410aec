"""Checkpoints on a hub: the real library against a hub on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch

import videoswin
from tests.fake_hub import COMMIT, Hub, running
from tests.tiny import tiny_classifier
from videoswin.classifier import hub as hub_module
from videoswin.errors import ConfigError, MissingExtraError


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """With one repository, which holds more than a checkpoint."""
    tiny_classifier().save(tmp_path / "ck")
    files = {path.name: path.read_bytes() for path in (tmp_path / "ck").iterdir()}
    extra = {"pytorch_model.bin": b"\x80\x04cposix\nsystem\n", "train.py": b"import os"}
    with running(Hub({"me/tiny": files | extra, "me/pictures": {"a.jpg": b"x"}})) as started:
        yield started


def python(hub: Hub, home: Path, script: str) -> list[str]:
    """What a process prints that knows no other hub: the library reads its address when it is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home / "hf"),
        "HF_TOKEN": "hf_test",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "no_proxy": "127.0.0.1",
    }
    header = (
        "import videoswin\n"
        "def attempt(do):\n"
        "    try: do()\n"
        "    except videoswin.VideoSwinError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", header + script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "%|" not in done.stderr  # no bars into a pipe
    return done.stdout.splitlines()


def test_only_the_files_of_a_checkpoint_are_fetched(hub: Hub, tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from videoswin import Classifier, load
classifiers = [load("hf://me/tiny"), load("hf://me/tiny@{COMMIT}"), Classifier.from_pretrained("me/tiny", "main")]
for c in classifiers:
    print(c.labels == ("clap", "nod", "wave"), sum(p.abs().sum().item() for p in c.model.parameters()))
"""
    total = sum(p.abs().sum().item() for p in tiny_classifier().model.parameters())
    assert python(hub, tmp_path, script) == [f"True {total}"] * 3
    assert hub.downloaded == {"config.json", "model.safetensors", "README.md"}
    files = {path.name for path in (tmp_path / "hf").rglob("*")}
    assert not {"pytorch_model.bin", "train.py"} & files


def test_what_was_fetched_needs_no_network(hub: Hub, tmp_path: Path) -> None:
    script = 'print(videoswin.load("hf://me/tiny").name)'
    assert python(hub, tmp_path, script) == ["tiny"]
    with running(Hub()) as gone:
        pass
    assert python(gone, tmp_path, script) == ["tiny"]
    [line] = python(gone, tmp_path, 'attempt(lambda: videoswin.load("hf://me/other"))')
    assert line.startswith("WeightsError hf://me/other: the hub cannot be reached, and it was not downloaded before.")


def test_pushed_and_loaded_it_is_the_same(hub: Hub, tmp_path: Path) -> None:
    script = f"""
mine = videoswin.load({str(tmp_path / "ck")!r})
mine.notes, mine.card = "pushed", {{"license": "apache-2.0"}}
print(mine.push_to_hub("me/new"))
print(mine.push_to_hub("me/new", private=True, message="again"))
again = videoswin.load("hf://me/new")
print(again.notes, again.card)
"""
    assert python(hub, tmp_path, script) == ["hf://me/new"] * 2 + ["pushed {'license': 'apache-2.0'}"]
    assert set(hub.repos["me/new"]) == {"config.json", "model.safetensors", "README.md"}
    assert b'license: "apache-2.0"' in hub.repos["me/new"]["README.md"]
    assert json.loads(hub.repos["me/new"]["config.json"])["model_type"] == "videoswin"


def test_what_a_hub_lacks_is_said_in_one_line(hub: Hub, tmp_path: Path) -> None:
    names = ["hf://me/nothing", "hf://me/tiny@v9", "hf://me/pictures"]
    script = f"for name in {names!r}: attempt(lambda: videoswin.load(name))"
    missing, revision, pictures = python(hub, tmp_path, script)
    assert "there is no such repository, or it is private" in missing
    assert "the repository has no such revision" in revision
    assert "holds no checkpoint of videoswin (no config.json)" in pictures
    assert "a.jpg" not in hub.downloaded


def test_a_push_without_a_hub_is_one_line(tmp_path: Path) -> None:
    tiny_classifier().save(tmp_path / "ck")
    with running(Hub()) as gone:
        pass
    script = f'attempt(lambda: videoswin.load({str(tmp_path / "ck")!r}).push_to_hub("me/new"))'
    [line] = python(gone, tmp_path, script)
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
