"""``info`` for all that has a name. Presets and checkpoint folders are in test_cli.py."""

import json
from pathlib import Path

import pytest

from tests.export.test_runtime import aot, write_package
from tests.tiny import tiny_classifier
from tests.weights.golden import FILES
from videoswin.cli.main import main
from videoswin.predict.provenance import Training


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "cache"))


def facts_of(name: object, capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main(["info", str(name), *options]) == 0
    assert capsys.readouterr().out
    assert main(["info", str(name), *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_published_model_is_described_without_a_download(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    facts = facts_of("swin3d_t_k400", capsys)
    assert facts["labels"][0] == "abseiling"
    assert facts["clip"] == [32, 224, 224]
    assert "Published, not measured here: top-1 78.8 %" in facts["notes"]
    assert 28.1e6 < facts["parameters"] < 28.3e6
    # The first to ask for the engine compiles it, which may be this test.
    assert {path.name for path in (tmp_path / "cache").glob("*")} <= {"engine"}


def test_a_published_image_model(capsys: pytest.CaptureFixture[str]) -> None:
    facts = facts_of("swin2d_t_in1k", capsys)
    assert facts["clip"] == [1, 224, 224]
    assert facts["macs"] == pytest.approx(4.5e9, rel=0.02)


def test_a_name_that_is_also_an_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(facts_of("swin3d_b_ssv2", capsys)["labels"]) == 174
    facts = facts_of("swin3d_b_ssv2", capsys, "--num-classes", "10")
    assert facts["config"]["num_classes"] == 10
    assert "labels" not in facts


def test_a_file_of_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert facts_of(FILES["official"], capsys)["config"]["embed_dim"] == 8


def test_an_exported_program_is_described_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_package(tmp_path / "m.pt2", aot(machine="riscv64"))  # holds nothing that could be run
    facts = facts_of(path, capsys)
    assert facts["labels"]
    assert facts["export"]["to"] == "aot"
    assert main(["info", str(path), "--clip-len", "16"]) == 2
    assert "an exported file has its own" in capsys.readouterr().err


def test_weights_that_do_not_fit_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_classifier().save(tmp_path / "ck")
    config = tmp_path / "ck" / "config.json"
    config.write_text(config.read_text().replace('"embed_dim": 8', '"embed_dim": 16'))
    assert main(["info", str(tmp_path / "ck")]) == 2
    assert "the tensors do not fit the model of config.json" in capsys.readouterr().err


def test_what_a_run_learnt_from_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = tiny_classifier()
    classifier.training = Training("swin3d_micro_motion", "clips.csv", 240, 3, groups=12, sums=("0123456789abcdef",))
    classifier.save(tmp_path / "best")
    assert main(["info", str(tmp_path / "best")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "clips.csv: 240 clips of 3 classes, 12 people or scenes, beginning with swin3d_micro_motion" in said
    facts = facts_of(tmp_path / "best", capsys)["training"]
    assert facts["clips"] == 240
    assert "sums" not in facts
