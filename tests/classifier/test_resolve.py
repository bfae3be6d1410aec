"""What a name means, and that it means the same to all who ask."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import videoswin
from tests.tiny import tiny_classifier
from videoswin.classifier.published import PUBLISHED
from videoswin.classifier.resolve import (
    Bundled,
    Exported,
    Folder,
    Hub,
    Preset,
    Published,
    Target,
    WeightsFile,
    resolve,
)
from videoswin.cli.main import main
from videoswin.errors import VideoSwinError
from videoswin.export.runtime import open_classifier

MICRO = "swin3d_micro_gestures"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one thing of each kind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "cache"))
    tiny_classifier().save("runs/best")
    for name in ("w.pth", "w.bin", "m.onnx", "m.xml", "m.pt2"):
        Path(name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("runs/best", Folder(Path("runs/best"))),
        ("runs", Folder(Path("runs"))),
        ("w.pth", WeightsFile(Path("w.pth"))),
        ("w.bin", WeightsFile(Path("w.bin"))),
        ("runs/best/model.safetensors", WeightsFile(Path("runs/best/model.safetensors"))),
        ("m.onnx", Exported(Path("m.onnx"))),
        ("m.xml", Exported(Path("m.xml"))),
        ("m.pt2", Exported(Path("m.pt2"))),
        ("hf://me/tiny", Hub("me/tiny", None)),
        ("HF://me/tiny@v1.0", Hub("me/tiny", "v1.0")),
        ("swin3d_t_k400", Published("swin3d_t_k400", PUBLISHED["swin3d_t_k400"])),
        ("swin2d_t_in1k", Published("swin2d_t_in1k", PUBLISHED["swin2d_t_in1k"])),
        ("swin3d_b_ssv2", Published("swin3d_b_ssv2", PUBLISHED["swin3d_b_ssv2"])),  # also an architecture
        ("swin3d_t", Preset("swin3d_t")),
        ("c3d", Preset("c3d")),
    ],
)
def test_kinds(text: str, target: Target) -> None:
    assert resolve(text) == target
    if "://" not in text:
        assert resolve(Path(text)) == target


def test_a_checkpoint_of_the_package() -> None:
    target = resolve(MICRO)
    assert isinstance(target, Bundled)
    assert target.name == MICRO
    assert (target.folder / "config.json").is_file()


@pytest.mark.parametrize("name", [MICRO, "swin3d_t_k400", "swin3d_t"])
def test_what_is_on_the_disk_comes_first(name: str) -> None:
    Path(name).mkdir()
    assert resolve(name) == Folder(Path(name))
    Path(name).rmdir()
    Path(name).touch()
    assert resolve(name) == WeightsFile(Path(name))


def test_a_folder_that_is_being_replaced(here: Path) -> None:
    os.rename("runs/best", "runs/.best.previous")
    assert resolve("runs/best") == Folder(here / "runs" / ".best.previous")


NOWHERE = {
    "swin3d_micro_gesture": f'Did you mean "{MICRO}"?',
    "swin3d_t_k40": 'Did you mean "swin3d_t_k400"?',
    "swin2d_t_in1": 'Did you mean "swin2d_t_in1k"?',
    "Swin3D_T": 'Did you mean "swin3d_t"?',
    "swin3d_b_sv2": 'Did you mean "swin3d_b_ssv2"?',
    "runs/bets": "Give a folder or a file, or one of the names that videoswin models lists.",
    "no.pth": "no.pth: the file was not found. Check the path",
    "no.onnx": "no.onnx: the file was not found. Check the path",
    "a\0b": "is no path",
    "x" * 5000: "There is no checkpoint",
    "https://example.invalid/w.pth": "files are not loaded from addresses. Download it and give the file",
    "HTTP://example.invalid/w": "files are not loaded from addresses",
    "hf://tiny": "Write hf://user/repo or hf://user/repo@revision.",
    "HF://me/tiny/file": "Write hf://user/repo",
    "pipe": "a pipe or a device",
}


@pytest.mark.parametrize("text", NOWHERE)
def test_names_that_mean_nothing(text: str) -> None:
    os.mkfifo("pipe")
    with pytest.raises(VideoSwinError) as caught:
        resolve(text)
    assert NOWHERE[text] in str(caught.value)
    assert "\n" not in str(caught.value)


ASK: dict[str, Callable[[str], object]] = {
    "load": videoswin.load,
    "inflate": videoswin.inflate,
    "open_classifier": open_classifier,
}
VERBS = {
    "info": ["info", "{}"],
    "inspect": ["inspect", "{}"],
    "convert": ["convert", "{}", "out"],
    "export": ["export", "{}", "--to", "onnx"],
    "predict": ["predict", "clip.mp4", "--weights", "{}"],
    "evaluate": ["evaluate", "videos", "--weights", "{}"],
    "train": ["train", "videos", "--weights", "{}", "--out", "run"],
    "timeline": ["timeline", "clip.mp4", "--weights", "{}"],
    "stream": ["stream", "clip.mp4", "--weights", "{}"],
}


@pytest.mark.parametrize("name", ["swin3d_t_k40", "no.onnx", "hf://tiny"])
def test_a_wrong_name_gets_one_answer_everywhere(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VideoSwinError) as caught:
        resolve(name)
    for ask in ASK.values():
        with pytest.raises(VideoSwinError) as again:
            ask(name)
        assert str(again.value) == str(caught.value)
    for verb, arguments in VERBS.items():
        assert main([part.format(name) for part in arguments]) == 2, verb
        assert capsys.readouterr().err == f"videoswin: {caught.value}\n", verb


def test_names_are_known_without_pytorch() -> None:
    script = """
import sys
from videoswin.classifier.resolve import resolve
from videoswin.cli.main import main
resolve("swin3d_t"), resolve("swin3d_t_k400"), resolve("swin3d_micro_gestures"), resolve("hf://me/tiny")
for verb in (["info", "no"], ["inspect", "no"], ["convert", "no", "out"], ["predict", "x", "--weights", "no"]):
    assert main(verb) == 2
assert main(["models"]) == 0
print(sorted({"torch", "numpy", "av"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_no_compiler_is_imported_to_load_or_describe() -> None:
    """PyTorch's takes longer to import than a checkpoint to load."""
    script = """
import sys, videoswin
from videoswin.cli.main import main
videoswin.load("swin3d_micro_gestures")
assert main(["info", "swin3d_t"]) == 0
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
