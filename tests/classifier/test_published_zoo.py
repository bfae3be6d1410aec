"""The catalog of the zoo: entries that agree with the models they name, and a download that is checked."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import videoswin
from tests.storage.server import Site, serve
from tests.zoo.golden import DATA, clip, error, golden
from videoswin.classifier import resolve
from videoswin.classifier.published import PUBLISHED
from videoswin.classifier.published_zoo import PUBLISHED_ZOO, PublishedZooModel
from videoswin.cli.main import main
from videoswin.errors import ConfigError, WeightsError
from videoswin.storage.http import is_allowed
from videoswin.weights.assemble import empty_model
from videoswin.weights.formats.zoo import ZOO_FAMILIES
from videoswin.zoo.names import ZOO_NAMES

_FAMILIES = {family.name for family in ZOO_FAMILIES} | {f"vivit_scenic_model{n}" for n in (1, 2, 3, 4)}
_FILE = DATA / "timesformer_official/divided_space_time/weights.pyth"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


@pytest.mark.parametrize("entry", PUBLISHED_ZOO.values(), ids=list(PUBLISHED_ZOO))
def test_every_entry_is_complete(entry: PublishedZooModel) -> None:
    assert PUBLISHED_ZOO[entry.name] is entry
    assert not entry.url or is_allowed(entry.url)
    assert entry.sha256 is None or (entry.sha256 in entry.file and int(entry.sha256, 16))
    assert entry.model in ZOO_NAMES
    assert entry.family in _FAMILIES
    assert entry.licence
    assert entry.source
    assert (entry.top1 is None) == (not entry.protocol)
    assert json.loads(json.dumps(entry.to_dict()))["name"] == entry.name


def test_names_and_files_are_their_own() -> None:
    assert len({entry.file for entry in PUBLISHED_ZOO.values()}) == len(PUBLISHED_ZOO)
    assert not {*PUBLISHED_ZOO} & {*PUBLISHED, *ZOO_NAMES, *videoswin.PRESETS}


@pytest.mark.parametrize("name", [
    "r3d_18_k400", "s3d_k400", "c3d_ucf101_mmaction2", "i3d_r50_nl_k400_mmaction2", "c2d_r50_nopool_k400_mmaction2",
    "r2plus1d_18_k400", "timesformer_b_divided_k400_mmaction2", "mvit_v2_s_ssv2_mmaction2", "vtn_b_k400",
    "deit_s_16_distilled_in1k",
])  # fmt: skip
def test_sizes_are_those_of_our_models(name: str) -> None:
    entry = PUBLISHED_ZOO[name]
    count = sum(p.numel() for p in empty_model(entry.config).parameters())
    assert abs(count / 1e6 - entry.parameters_m) < 0.06


def tiny(url: str, **changes: object) -> PublishedZooModel:
    """A catalog entry for a golden file."""
    fields = {"name": "tiny", "file": "weights.pyth", "url": url, "told": {"num_heads": 4}, "num_classes": 5, **changes}
    return dataclasses.replace(PUBLISHED_ZOO["timesformer_b_divided_k400"], **fields)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    classes = len(golden("timesformer_official/divided_space_time/expected.safetensors")["logits"][0])
    with serve(Site(_FILE.read_bytes())) as running:
        monkeypatch.setattr(resolve, "PUBLISHED_ZOO", {"tiny": tiny(running.url, num_classes=classes)})
        yield running


def test_a_name_is_downloaded_once_and_gives_its_own_numbers(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = videoswin.load("tiny")
    expected = golden("timesformer_official/divided_space_time/expected.safetensors")["logits"]
    video = clip((2, 3, classifier.model.config.clip_len, *classifier.preprocessing.size))
    assert error(classifier.logits(video), expected) < 1e-5
    assert "Published, not measured here: top-1 77.9 %" in classifier.notes
    assert "Licence: CC-BY-NC-4.0" in classifier.notes
    assert main(["inspect", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["config"]["num_heads"] == 4
    assert site.requests == [""]
    assert len(videoswin.load("tiny", 3).labels) == 3
    with pytest.raises(ConfigError, match='num_heads is for files of weights; "tiny" is known'):
        videoswin.load("tiny", num_heads=2)


def test_another_file_in_its_place_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(resolve, "PUBLISHED_ZOO", {"tiny": tiny(site.url, num_classes=77)})
    with pytest.raises(WeightsError, match="it should be tiny: it has"):
        videoswin.load("tiny")
    assert not list(cache.rglob("*.pyth"))


def test_an_address_that_is_not_known_is_one_line() -> None:
    with pytest.raises(WeightsError, match=r"facebookresearch/TimeSformer publishes it. Get the file there"):
        videoswin.load("timesformer_b_divided_k400")


def test_they_are_listed_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert {*PUBLISHED_ZOO} <= {*rows}
    assert "63.2" in rows["r3d_18_k400"]
    assert main(["info", "r3d_18_k400", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"] == 33_371_472
    assert facts["preprocessing"]["size"] == [112, 112]
    assert len(facts["labels"]) == 400
