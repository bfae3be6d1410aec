"""``videoswin models``."""

import json
from pathlib import Path

import pytest

from videoswin.classifier.published import PUBLISHED
from videoswin.cli.main import main


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path))
    return tmp_path


def test_every_name_is_listed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / PUBLISHED["swin3d_t_k400"].file).touch()
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert set(PUBLISHED) <= set(rows)
    assert rows["swin3d_t_k400"].endswith("Apache-2.0     yes")
    assert rows["swin3d_b_k400"].split() == [
        "swin3d_b_k400",
        *("kinetics400", "80.6", "4x3,", "224", "px", "88.0", "281.6", "Apache-2.0"),
    ]
    assert "swin3d_micro_gestures" in out
    assert "swin3d_l_384" in out


def test_machines_get_addresses_licences_and_sources(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cached = cache / PUBLISHED["swin3d_t_k400"].file
    cached.touch()
    assert main(["models", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["cache"] == str(cache)
    assert [entry["name"] for entry in facts["published"]] == list(PUBLISHED)
    first = facts["published"][0]
    assert first["cached"] == str(cached)
    assert first["url"].endswith(first["file"])
    assert first["preprocessing"]["short_side"] == 224
    assert {"licence", "source", "protocol", "top1", "top5", "sha256", "views"} <= first.keys()
    assert facts["published"][1]["cached"] is None
