"""Published models: true to the models it names, and the way from a name to a classifier."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import videoswin
from tests.storage.server import Site, serve
from tests.tiny import write_video
from tests.weights.golden import FILES, expected, relative_error
from videoswin.classifier import resolve
from videoswin.classifier.labels import DATASETS
from videoswin.classifier.public_weights import describe
from videoswin.classifier.published import PUBLISHED, PublishedModel
from videoswin.data.preprocessing import Preprocessing, Views
from videoswin.errors import ConfigError, WeightsError
from videoswin.model import PRESETS, VideoSwin
from videoswin.storage.http import is_allowed
from videoswin.weights.checkpoint import inspect_checkpoint
from videoswin.weights.inflate import inflate_checkpoint
from videoswin.zoo.swin_macs import count_macs

VIDEO = [name for name, entry in PUBLISHED.items() if entry.kind == "video"]
IMAGE = [name for name, entry in PUBLISHED.items() if entry.kind == "image"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


# --- what it says ---


@pytest.mark.parametrize("entry", PUBLISHED.values(), ids=list(PUBLISHED))
def test_every_entry_is_complete(entry: PublishedModel) -> None:
    assert PUBLISHED[entry.name] is entry
    assert is_allowed(entry.url)
    assert entry.url.endswith("/" + entry.file)
    assert entry.sha256 is None or (entry.sha256 in entry.file and int(entry.sha256, 16))
    assert entry.licence
    assert entry.source
    assert (entry.top1 is None) == (entry.top5 is None) == (not entry.protocol) == (not entry.figures)
    assert json.loads(json.dumps(entry.to_dict()))["name"] == entry.name


def test_no_two_entries_share_a_file() -> None:
    assert len({entry.file for entry in PUBLISHED.values()}) == len(PUBLISHED)


@pytest.mark.parametrize("name", VIDEO)
def test_published_sizes_are_those_of_our_models(name: str) -> None:
    entry = PUBLISHED[name]
    with torch.device("meta"):
        parameters = sum(p.numel() for p in VideoSwin(entry.config).parameters())
    assert round(parameters / 1e6, 1) == entry.parameters_m
    assert count_macs(entry.config, 32, 224, 224).paper / 1e9 == pytest.approx(entry.gmacs, rel=3e-3)


@pytest.mark.parametrize("name", VIDEO)
def test_protocols_can_be_followed(name: str) -> None:
    entry = PUBLISHED[name]
    labels, preprocessing, notes = describe(entry.config, entry)
    assert len(labels) == entry.config.num_classes
    assert labels[0].startswith("class ") == (entry.data not in DATASETS)
    assert isinstance(preprocessing, Preprocessing)
    assert preprocessing.clip_len == 32
    assert f"short side {preprocessing.short_side}" in entry.protocol or not entry.protocol
    assert entry.figures in notes
    if entry.views:
        views = Views.parse(entry.views)
        assert entry.protocol.startswith(f"{views.num_clips} clip")
        assert ("3 crops" in entry.protocol) == (views.num_crops == 3)


def test_the_protocols_differ_where_their_publishers_do() -> None:
    of = {name: PUBLISHED[name].preprocessing for name in VIDEO}
    assert of["swin3d_t_k400"] == {"sampling": "interval", "frame_interval": 2, "short_side": 224}
    assert of["swin3d_b_ssv2"]["sampling"] == "uniform"
    assert of["swin3d_t_k400_torchvision"] == {"sampling": "time", "fps": 15.0, "short_side": 256}


def test_presets_and_entries_that_share_a_name_are_one_architecture() -> None:
    shared = set(PRESETS) & set(PUBLISHED)
    assert shared == {"swin3d_b_ssv2"}
    assert all(PUBLISHED[name].config == PRESETS[name] for name in shared)


# --- from a name to a classifier ---


def small(kind: str, family: str, site: Site, **changes: object) -> PublishedModel:
    """A catalog entry for a golden file."""
    template = PUBLISHED["swin3d_t_k400" if kind == "video" else "swin2d_t_in1k"]
    config = inspect_checkpoint(FILES[family]).config
    fields = {"name": "tiny", "file": "weights.pth", "url": site.url, "config": config, "sha256": None, **changes}
    return dataclasses.replace(template, **fields)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with serve(Site(FILES["official"].read_bytes())) as running:
        entry = small("video", "official", running)
        monkeypatch.setattr(resolve, "PUBLISHED", {"tiny": entry})
        yield running


def test_a_published_model_loads_by_name_and_gives_its_own_numbers(site: Site) -> None:
    classifier = videoswin.load("tiny")
    golden = expected("official")
    with torch.no_grad():
        for i in range(4):
            assert relative_error(classifier.model(golden[f"input_{i}"]), golden[f"logits_{i}"]) < 1e-5
    assert classifier.name == "tiny"
    assert classifier.report is not None
    assert "Published, not measured here: top-1 78.8 %" in classifier.notes
    assert "Licence: Apache-2.0" in classifier.notes
    assert classifier.card == {"license": "apache-2.0"}
    videoswin.load("tiny")
    assert site.requests == [""]


def test_a_new_head_and_a_run_that_starts_from_a_name(site: Site, tmp_path: Path) -> None:
    assert len(videoswin.load("tiny", num_classes=3).labels) == 3
    assert "Published" not in videoswin.load("tiny", num_classes=3).notes

    from videoswin.train.plan import make_plan
    from videoswin.train.preferences import Preferences

    for label in ("nod", "wave"):
        for i in range(3):
            write_video(tmp_path / "data" / label / f"{i}.mp4", seed=i)
    plan = make_plan(tmp_path / "data", tmp_path / "run", None, "tiny", Preferences(), seed=0, resume=False)
    assert plan.classifier.notes == "Fine-tuned from tiny."
    assert plan.classifier.labels == ("nod", "wave")


def test_a_folder_of_that_name_comes_first(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    videoswin.load("tiny", num_classes=2).save("tiny")
    assert len(videoswin.load("tiny").labels) == 2
    assert site.requests == [""]


def test_a_file_of_another_architecture_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = small("video", "official", site, config=PRESETS["swin3d_t"])
    monkeypatch.setattr(resolve, "PUBLISHED", {"tiny": entry})
    with pytest.raises(WeightsError, match="whose embed_dim is 96, and has 8"):
        videoswin.load("tiny")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><title>404</title>", "not the file that was expected"),
        (FILES["mmaction2"].read_bytes(), "its tensors are named as by mmaction2, not official"),
        (FILES["microsoft"].read_bytes(), "not the file that was expected"),
        (FILES["official"].read_bytes()[:-5000], "not the file that was expected"),
    ],
    ids=["a page", "another family", "an image model", "half a file"],
)
def test_what_has_no_known_sum_has_to_be_what_was_expected(
    site: Site, cache: Path, content: bytes, reason: str
) -> None:
    site.content = content
    with pytest.raises(WeightsError, match=reason) as caught:
        videoswin.load("tiny")
    assert "It was removed" in str(caught.value)
    assert [file.name for file in cache.iterdir() if not file.name.endswith(".lock")] == []


@pytest.mark.parametrize("change", ["a tensor less", "another head"])
def test_an_incomplete_or_another_file_is_removed(site: Site, cache: Path, tmp_path: Path, change: str) -> None:
    file = torch.load(FILES["official"], weights_only=True)
    if change == "a tensor less":
        del file["state_dict"]["backbone.norm.weight"]
        reason = "1 tensors are missing"
    else:
        file["state_dict"]["cls_head.fc_cls.weight"] = torch.zeros(9, 64)
        file["state_dict"]["cls_head.fc_cls.bias"] = torch.zeros(9)
        reason = "it has 9 classes, not 7"
    torch.save(file, tmp_path / "changed.pth")
    site.content = (tmp_path / "changed.pth").read_bytes()
    with pytest.raises(WeightsError, match=reason):
        videoswin.load("tiny")
    assert [file.name for file in cache.iterdir() if not file.name.endswith(".lock")] == []


def test_a_server_that_never_ends_is_left(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PublishedModel, "max_bytes", 1000)
    site.length = False
    with pytest.raises(WeightsError, match="it has more than 1,000 bytes, which the file should not have"):
        videoswin.load("tiny")
    assert not list(cache.glob("*.part"))


@pytest.mark.parametrize("name", VIDEO)
def test_no_whole_file_is_too_large(name: str) -> None:
    assert PUBLISHED[name].max_bytes > 3 * 4 * PUBLISHED[name].parameters_m * 1e6


def test_the_sum_in_the_name_is_checked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    right = hashlib.sha256(site.content).hexdigest()[:8]
    for sha256 in ("0" * 8, right):
        monkeypatch.setattr(resolve, "PUBLISHED", {"tiny": small("video", "official", site, sha256=sha256)})
        if sha256 == right:
            assert videoswin.load("tiny").name == "tiny"
        else:
            with pytest.raises(WeightsError, match="should start with 00000000"):
                videoswin.load("tiny")


def test_an_image_model_is_inflated_by_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.content = FILES["microsoft"].read_bytes()
    monkeypatch.setattr(resolve, "PUBLISHED", {"tiny": small("image", "microsoft", site)})
    with pytest.raises(ConfigError, match=r'for images. Inflate it to a video model: videoswin.inflate\("tiny"\)'):
        videoswin.load("tiny")
    assert site.requests == []
    by_name, (by_hand, _) = videoswin.inflate("tiny"), inflate_checkpoint(FILES["microsoft"])
    assert by_name.name == "tiny"
    assert all(torch.equal(p, q) for p, q in zip(by_name.model.parameters(), by_hand.parameters(), strict=True))


def test_a_video_model_is_not_inflated(site: Site) -> None:
    with pytest.raises(ConfigError, match=r'video model already. Load it: videoswin.load\("tiny"\)'):
        videoswin.inflate("tiny")
    assert site.requests == []


@pytest.mark.parametrize(("name", "hint"), [("swin3d_t_k40", "swin3d_t_k400"), ("swin3d_b_sv2", "swin3d_b_ssv2")])
def test_a_misspelt_name(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f'Did you mean "{hint}"'):
        videoswin.load(name)


def test_the_page_says_what_the_catalog_says() -> None:
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    rows = {cells[0].strip("`"): cells[1:] for cells in (line.strip("| ").split(" | ") for line in text.splitlines())}
    assert set(PUBLISHED) <= set(rows)
    for name, entry in PUBLISHED.items():
        figures = [entry.data, "" if entry.top1 is None else f"{entry.top1:g}"]
        assert [cell.strip() for cell in rows[name][:2]] == figures, name
