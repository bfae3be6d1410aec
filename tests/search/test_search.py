"""Search: the nearest by cosine, moments in long videos, and never with another checkpoint's features."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import tiny_classifier, write_video
from videoswin.cli.main import main
from videoswin.data.preprocessing import Preprocessing

pytest.importorskip("usearch")
from videoswin.search import graph as graph_module
from videoswin.search.index import FeatureIndex, VectorIndex

TIME = Preprocessing(clip_len=8, sampling="time", fps=6, size=(32, 32), short_side=32)


def test_the_nearest_are_those_of_all_comparisons() -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for exact, least in ((True, 10), (False, 9)):
        index = VectorIndex(vectors, exact)
        for query in unit[:5]:
            expected = (unit @ query).argsort()[::-1][:10]
            numbers, cosines = index.nearest(query, 10)
            assert len(set(numbers) & set(expected)) >= least
            np.testing.assert_allclose(cosines, unit[numbers] @ query, atol=1e-5)


def test_a_graph_is_built_once_for_the_same_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    build = graph_module._build
    monkeypatch.setattr(graph_module, "_build", lambda some: built.append(len(some)) or build(some))
    vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    first = VectorIndex(vectors, False, tmp_path / "search").nearest(vectors[3], 10)
    again = VectorIndex(vectors, False, tmp_path / "search").nearest(vectors[3], 10)
    assert built == [300]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    changed = vectors.copy()
    changed[7] = vectors[3]
    found, _ = VectorIndex(changed, False, tmp_path / "search").nearest(vectors[3], 2)
    assert built == [300, 300]
    assert set(found.tolist()) == {3, 7}
    (kept,) = (tmp_path / "search").iterdir()  # the old one is gone
    kept.write_bytes(kept.read_bytes()[:100])
    VectorIndex(changed, False, tmp_path / "search")
    assert built == [300, 300, 300]
    notices: list[str] = []
    (tmp_path / "file").touch()
    VectorIndex(vectors, False, tmp_path / "file" / "search", notices.append)
    assert "built again" in notices[0]


def test_a_changed_folder_is_searched_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videoswin.search.index.EXACT_UP_TO", 1)
    arguments = ["--weights", str(place / "m"), "--device", "cpu", "--out", str(place / "f"), "--stride", "2"]
    assert main(["features", str(place / "v"), *arguments]) == 0
    index = FeatureIndex(place / "f")
    (kept,) = (place / "f" / "search").iterdir()
    (place / "v" / "late.mp4").write_bytes((place / "v" / "1.mp4").read_bytes())
    assert main(["features", str(place / "v"), *arguments]) == 0
    more = FeatureIndex(place / "f")
    assert len(more) == len(index) + 4
    assert not kept.exists()
    names = {hit.name for hit in more.nearest(index.vectors[5], 8) if hit.similarity > 1 - 1e-5}
    assert names == {"1", "late"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tiny_classifier(preprocessing=TIME).save(tmp_path / "m")
    for seed in range(4):
        write_video(tmp_path / "v" / f"{seed}.mp4", frames=30, seed=seed)
    return tmp_path


def test_a_copy_is_found_first_and_the_query_never(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "v" / "copy.mp4").write_bytes((place / "v" / "2.mp4").read_bytes())
    common = ["--weights", str(place / "m"), "--device", "cpu"]
    assert main(["features", str(place / "v"), *common, "--out", str(place / "f")]) == 0
    capsys.readouterr()
    query = str(place / "v" / "2.mp4")
    page = place / "found.html"
    assert main(["search", query, "--in", str(place / "f"), *common, "--json", "--report", str(page)]) == 0
    hits = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert Path(hits[0]["path"]).name == "copy.mp4"
    assert hits[0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert len(hits) == 4
    assert query not in [hit["path"] for hit in hits]
    assert page.read_text().count("data:image/webp") == 5


def test_a_moment_is_found_once(place: Path) -> None:
    arguments = ["--weights", str(place / "m"), "--device", "cpu", "--out", str(place / "f"), "--stride", "2"]
    assert main(["features", str(place / "v"), *arguments]) == 0
    index = FeatureIndex(place / "f")
    assert len(index) == 4 * 4
    hits = index.nearest(index.vectors[5], 10)
    assert hits[0].similarity == pytest.approx(1, abs=1e-5)
    for number, hit in enumerate(hits):
        assert all(o.path != hit.path or o.end_s <= hit.start_s or hit.end_s <= o.start_s for o in hits[:number])  # type: ignore[operator]


def test_features_of_other_weights_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--weights", str(place / "m"), "--device", "cpu", "--out", str(place / "f")]
    assert main(["features", str(place / "v" / "1.mp4"), *arguments]) == 0
    other = tiny_classifier(preprocessing=TIME)
    with torch.no_grad():
        next(other.model.backbone.parameters()).view(-1)[0] += 1
    other.save(place / "other")
    video = str(place / "v" / "2.mp4")
    assert main(["search", video, "--in", str(place / "f"), "--weights", str(place / "other")]) == 2
    assert "another checkpoint" in capsys.readouterr().err
    assert main(["search", video, "--in", str(place / "v"), "--weights", str(place / "m")]) == 2
    assert "holds no features" in capsys.readouterr().err
