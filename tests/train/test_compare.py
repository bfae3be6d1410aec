"""Models compared: one table and page, failures listed, and a stopped comparison goes on where it stood."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.zoo.tiny_models import with_tiny_models
from videoswin.cli.main import main
from videoswin.errors import ConfigError, Interrupted, WeightsError
from videoswin.train import compare as comparing
from videoswin.train import compare_costs
from videoswin.train.compare import difference_of, summarise
from videoswin.train.compare_page import about_groups
from videoswin.train.contenders import parse_contenders, parse_recipes

__all__ = ["with_tiny_models"]

pytestmark = pytest.mark.usefixtures("with_tiny_models", "quick")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pictures of every run; processes of their own, for memory, know no tiny models and take a second each."""
    monkeypatch.setattr("videoswin.train.loop.draw_curves", lambda path, rows: None)
    monkeypatch.setattr(compare_costs, "peak_memory", lambda name, job, part: 2**20 * job.clip[0])


def run(videos: Path, out: Path, models: str, *options: str) -> int:
    quick = ("--folds", "2", "--seeds", "2", "--epochs", "1", "--augment", "none", "--json")
    return main(["compare", str(videos), "--models", models, "--out", str(out), *quick, *options])


def without_times(results: dict[str, Any]) -> dict[str, Any]:
    """What of the results does not depend on the clock."""
    timed = ("latency_s", "latency_ratio", "train_seconds")
    models = {
        name: {
            key: [{k: v for k, v in one.items() if k not in timed} for one in value] if key == "runs" else value
            for key, value in entry.items()
            if key not in timed
        }
        for name, entry in results["models"].items()
    }
    return {**results, "models": models}


def test_a_comparison(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "compared"
    assert run(videos, out, "tiny_vit,tiny_vit:32,tiny_c3d:width=2", "--clip-len", "16") == 0
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((out / "compare.json").read_text())
    models = results["models"]
    assert list(models) == ["tiny_vit", "tiny_vit:32", "tiny_c3d:width=2"]
    assert models["tiny_vit:32"]["config"]["embed_dim"] == 32
    assert models["tiny_vit:32"]["parameters"] > models["tiny_vit"]["parameters"]
    for name, entry in models.items():
        assert [one["seed"] for one in entry["runs"]] == [0, 1]
        assert all(len(one["correct"]) == 12 and len(one["folds"]) == 2 for one in entry["runs"])
        assert entry["accuracy"] == pytest.approx(sum(one["correct"].count("1") for one in entry["runs"]) / 24)
        assert entry["macs"] > 0
        assert entry["latency_s"][0] > 0
        assert entry["memory_bytes"] == 2**24
        assert ("difference" in entry) == (name != "tiny_vit")
    page = (out / "compare.html").read_text()
    assert "2 folds, 2 seeds" in page  # not of whole groups: none are given
    assert "For all models: clip_len 16, augment none, epochs 1." in page
    assert "No groups are given" in page
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "tiny_c3d:width=2" in page
    assert (out / "accuracy_gmacs.svg").read_bytes().startswith(b"<?xml")
    assert not list(out.rglob("*.safetensors"))  # weights that have answered are gone
    assert run(videos, out, "tiny_vit") == 2
    assert "holds a comparison already" in capsys.readouterr().err


def test_one_failure_stops_no_other(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(videos, tmp_path / "out", "tiny_s3d,tiny_vit", "--clip-len", "8") == 1
    models = json.loads(capsys.readouterr().out)["models"]
    assert "needs at least 14 frames" in models["tiny_s3d"]["error"]
    assert len(models["tiny_vit"]["runs"]) == 2
    assert "needs at least 14 frames" in (tmp_path / "out" / "compare.html").read_text()
    assert run(videos, tmp_path / "none", "tiny_s3d", "--clip-len", "8") == 2


def test_a_stopped_comparison_goes_on(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = "tiny_vit,tiny_c3d"
    assert run(videos, tmp_path / "whole", models) == 0
    whole = json.loads(capsys.readouterr().out)
    real, calls = comparing.measure, []

    def stopping(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise Interrupted("Stopped.")
        return real(*args, **kwargs)

    monkeypatch.setattr(comparing, "measure", stopping)
    assert run(videos, tmp_path / "parts", models) == 130
    half = json.loads((tmp_path / "parts" / "compare.json").read_text())
    assert [len(entry["runs"]) for entry in half["models"].values()] == [1, 1]
    told = capsys.readouterr().err
    assert f"Go on: videoswin compare --resume --out {tmp_path / 'parts'}" in told
    assert "tiny_c3d" in (tmp_path / "parts" / "compare.html").read_text()
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--resume", "--out", "parts", "--json"]) == 0
    assert without_times(json.loads(capsys.readouterr().out)) == without_times(whole)
    assert len(calls) == 5  # two before, the one that was stopped, and two after
    assert run(videos, tmp_path / "parts", models + ",tiny_deit", "--resume") == 0  # models may be added
    assert len(calls) == 7
    assert run(videos, tmp_path / "parts", models, "--resume", "--lr", "0.1") == 2
    assert (
        "begun with lr the default, not 0.1. Go on as it was begun: videoswin compare --resume"
        in capsys.readouterr().err
    )
    assert main(["compare", "--resume", "--out", "parts", "--recipe", "finetune", "--json"]) == 2
    assert "its runs so far had the recipe scratch, not finetune" in capsys.readouterr().err
    assert main(["compare", "--out", "new", "--models", models]) == 2
    assert "Name DATA" in capsys.readouterr().err


def test_wrong_clips_are_the_fault_of_no_model(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One error, nothing measured and nothing written, so that the same command may be given again."""
    out, models = tmp_path / "out", "tiny_vit,tiny_c3d"
    assert run(tmp_path / "none.csv", out, models) == 2
    assert capsys.readouterr().err.count("does not exist") == 1
    assert main(["compare", str(videos), "--models", models, "--out", str(out), "--folds", "40"]) == 2
    assert capsys.readouterr().err.count("Too few groups or single clips (12)") == 1
    odd = shutil.copytree(videos, tmp_path / "odd")
    whole = (odd / "nod" / "0.mp4").read_bytes()
    (odd / "nod" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (odd / "wave" / "text.mp4").write_text("no video")
    assert run(odd, out, models) == 2
    told = capsys.readouterr().err
    assert "2 of 14 clips cannot be read" in told
    assert told.count("cut.mp4: ") == told.count("text.mp4: ") == 1
    assert "failed" not in told
    assert not out.exists()


def test_a_model_that_cannot_be_timed_learns_all_the_same(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All models are held at once while they are timed; one may not fit beside the others."""
    real = compare_costs._one_clip

    def full(plan: Any, device: Any) -> Any:
        if plan.classifier.name == "tiny_c3d":
            raise RuntimeError("CUDA out of memory.\nTried to allocate 20 GiB.")
        return real(plan, device)

    monkeypatch.setattr(compare_costs, "_one_clip", full)
    assert run(videos, tmp_path / "out", "tiny_c3d,tiny_vit") == 0
    told = capsys.readouterr()
    assert "the time of tiny_c3d is not known: CUDA out of memory. Tried to allocate 20 GiB." in told.err
    models = json.loads(told.out)["models"]
    assert models["tiny_c3d"]["latency_s"] is None
    assert models["tiny_vit"]["latency_ratio"]["median"] == 1.0
    assert [len(entry["runs"]) for entry in models.values()] == [2, 2]


def test_on_another_machine(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Times of two machines never stand beside each other as those of one."""
    out = tmp_path / "out"
    assert run(videos, out, "tiny_vit") == 0
    results = json.loads((out / "compare.json").read_text())
    here = dict(results["machine"])
    results["machine"]["processor"] = "Another One"
    results["models"]["tiny_vit"]["latency_s"] = [99.0, 99.0, 99.0]
    (out / "compare.json").write_text(json.dumps(results))
    capsys.readouterr()
    assert main(["compare", "--resume", "--out", str(out), "--json"]) == 0
    told = capsys.readouterr()
    assert "another machine (processor" in told.err
    again = json.loads(told.out)
    assert again["machine"] == here
    assert again["models"]["tiny_vit"]["latency_s"][0] < 99
    assert again["models"]["tiny_vit"]["runs"] == results["models"]["tiny_vit"]["runs"]
    assert run(videos, out, "tiny_vit:32", "--resume") == 0
    assert "not in the table, as --models leaves it out: tiny_vit." in capsys.readouterr().err


def test_differences_are_to_the_first_of_today() -> None:
    right = {"a": "1111", "b": "1010"}
    models: dict[str, Any] = {
        n: {"runs": [{"seed": 0, "accuracy": c.count("1") / 4, "folds": [1, 0], "train_seconds": [1], "correct": c}]}
        for n, c in right.items()
    }
    results = {"groups": ["p", "q", "r", "s"], "models": models}
    summarise(results, ["a", "b"])
    assert ("difference" in models["a"], models["b"]["difference"]["mean"]) == (False, -0.5)
    summarise(results, ["b", "a"])
    assert ("difference" in models["b"], models["a"]["difference"]["mean"]) == (False, 0.5)


def test_what_ranges_cannot_say_is_said() -> None:
    assert about_groups({}) == about_groups({"groups": ["p", "q", "r", "s"]}) == ""
    assert "No groups" in about_groups({"groups": ["\0/a.mp4", "\0/b.mp4"]})
    few = ["p", "q"] * 6
    assert "only 2 groups" in about_groups({"groups": few})
    gain = difference_of([1.0] * 4 + [0.0] * 8, [0.0] * 12, few)  # two from each: no two groups are so alike
    assert gain["low"] < gain["mean"] < gain["high"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names nothing to compare"),
        ("tiny_vit,tiny_vit", "names tiny_vit twice"),
        ("tiny_vit:depht=3", 'no field "depht". Did you mean "depth"'),
        ("tiny_vit:17", "num_heads=2 does not divide embed_dim=17"),
        ("tiny_vit:embed_dim=x", "embed_dim='x' must be a number"),
        ("r2plus1d18", 'Did you mean "r2plus1d_18"'),
        ("tiny_vit:size=big", 'size=big in "tiny_vit:size=big" is no number'),
        ("tiny_vit:size=32:size=16", "gives size twice"),
    ],
)
def test_models_that_cannot_be(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)):
        parse_contenders(text)


def test_clips_of_one_model_alone(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = "tiny_vit,tiny_vit:32:clip_len=8:size=32"
    own, other = parse_contenders(models)
    assert (own.look, other.look, other.changes) == ({}, {"clip_len": 8, "size": 32}, {"embed_dim": 32})
    recipe = f"{other.text}=finetune"
    assert run(videos, tmp_path / "out", models, "--clip-len", "16", "--recipe", recipe) == 0
    entries = json.loads(capsys.readouterr().out)["models"]
    assert [entry["clip"][:1] for entry in entries.values()] == [[16], [8]]
    assert entries[other.text]["clip"] == [8, 32, 32]
    assert [entry["recipe"] for entry in entries.values()] == ["scratch", "finetune"]
    page = (tmp_path / "out" / "compare.html").read_text()
    for cell in ("scratch (own)", "finetune", "8x32x32"):
        assert f">{cell}<" in page


def test_recipes_by_name() -> None:
    contenders = parse_contenders("tiny_vit,tiny_c3d:8")
    assert set(parse_recipes(None, contenders).values()) == {None}
    assert set(parse_recipes("finetune", contenders).values()) == {"finetune"}
    assert parse_recipes("tiny_c3d:8=motion", contenders) == {"tiny_vit": None, "tiny_c3d:8": "motion"}
    with pytest.raises(ConfigError, match=r'recipe names "tiny_mvit", which is not compared'):
        parse_recipes("tiny_c3d:8=motion,tiny_mvit=motion", contenders)
    with pytest.raises(ConfigError, match='recipe="sratch" is unknown'):
        parse_recipes("sratch", contenders)


def test_a_damaged_file_is_one_line(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text('{"terms": {}, "models": {"a": []}}')
    with pytest.raises(WeightsError, match="damaged"):
        comparing._read(tmp_path / "compare.json")


def testdifference_ofs_are_of_groups() -> None:
    """Many clips of few groups tell less than as many groups; equal answers tell nothing apart."""
    mine, theirs = [1.0] * 30 + [0.0] * 10, [0.0] * 10 + [1.0] * 30
    same = difference_of(mine, mine, [str(i) for i in range(40)])
    assert same == {"mean": 0.0, "low": 0.0, "high": 0.0}
    single = difference_of(mine, theirs, [str(i) for i in range(40)])
    grouped = difference_of(mine, theirs, [str(i // 10) for i in range(40)])
    assert single["low"] > grouped["low"]
    better = difference_of([1.0] * 40, theirs, [str(i) for i in range(40)])
    assert better["low"] > 0
    assert better["mean"] == pytest.approx(0.25)
