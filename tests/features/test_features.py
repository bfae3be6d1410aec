"""Features: equal to the model's own, found again by contents, in the layouts of tools."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny import PREPROCESSING, tiny_classifier, write_video
from videoswin.classifier.classifier import Classifier
from videoswin.cli.main import main
from videoswin.data.annotations import read_index
from videoswin.data.clips import Clip
from videoswin.data.decode import open_video
from videoswin.data.preprocessing import Preprocessing, Views
from videoswin.data.transforms import center_crop
from videoswin.errors import ConfigError, VideoError
from videoswin.features.clips import Found, clip_features, mean_of
from videoswin.features.dense import DenseSettings, dense_features
from videoswin.features.extract import Job, extract_features, rows_of
from videoswin.features.layouts import read_features_index, video_names
from videoswin.features.look import chosen_stages
from videoswin.features.store import FeatureStore, model_key
from videoswin.zoo.registry import create_model as create_any_model

TIME = Preprocessing(clip_len=8, sampling="time", fps=6, size=(32, 32), short_side=32)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("v") / "v.mp4", frames=60, fps=12)


def causal(preprocessing: Preprocessing = TIME) -> Classifier:
    classifier = tiny_classifier(preprocessing=preprocessing)
    classifier.model = classifier.model.as_causal()
    return classifier


def sampled(video: Path, classifier: Classifier, every: int = 2) -> torch.Tensor:
    """(3, T, H, W): every second frame, as a stream sees them."""
    with open_video(video) as opened:
        frames = opened.read().data[::every]
    resize = classifier.preprocessing.view_resize
    return classifier.preprocessing.to_clip(
        torch.stack([center_crop(resize(f)[None], classifier.preprocessing.size)[0] for f in frames])
    )


def dense(classifier: Classifier, video: Path, settings: DenseSettings):
    rows: dict[int, list[torch.Tensor]] = {}
    facts = dense_features(
        classifier, Clip(video, ""), settings, lambda maps: [rows.setdefault(s, []).append(r) for s, r in maps.items()]
    )
    return facts, {stage: torch.cat(parts) for stage, parts in rows.items()}


def test_a_clip_has_the_features_of_the_pyramid(video: Path, tmp_path: Path):
    classifier = tiny_classifier()
    with open_video(video) as opened, torch.inference_mode():
        maps = classifier.model.forward_pyramid(classifier.preprocessing.views(opened, Views()).clips)
    for pool, expected in (
        ("mean", [m.mean((2, 3, 4))[0] for m in maps]),
        ("spatial", [m.mean((3, 4))[0].T for m in maps]),
        ("none", [m[0] for m in maps]),
    ):
        (found,) = clip_features(classifier, [Clip(video, "")], pool, tmp_path)  # type: ignore[arg-type]
        assert isinstance(found, Found)
        for stage, value in enumerate(expected, 1):
            torch.testing.assert_close(mean_of(found, stage, pool), value, atol=1e-6, rtol=1e-6)  # type: ignore[arg-type]


def test_clips_together_have_the_features_of_each_alone(tmp_path: Path):
    classifier = tiny_classifier()
    rows = [Clip(write_video(tmp_path / f"{n}.mp4", frames=20, seed=n), "") for n in range(5)]
    rows[2].path.write_bytes(b"no video")
    classifier.model.train()
    together = list(clip_features(classifier, rows, folder=tmp_path / "together"))
    assert classifier.model.training
    for number, (row, one) in enumerate(zip(rows, together, strict=True)):
        (alone,) = clip_features(classifier, [row], folder=tmp_path / "alone")
        assert isinstance(one, VideoError) == isinstance(alone, VideoError) == (number == 2)
        if isinstance(one, Found) and isinstance(alone, Found):
            assert one.row is row
            torch.testing.assert_close(mean_of(one, 2), mean_of(alone, 2), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("stride", [1, 3, 8, 11])
def test_rows_along_a_video_are_those_of_its_clips(video: Path, stride: int):
    classifier = tiny_classifier(preprocessing=TIME)
    facts, rows = dense(classifier, video, DenseSettings(stride, (1, 2)))
    frames = sampled(video, classifier)
    assert facts.samples == frames.shape[1] == 30
    starts = list(range(0, 30 - 8 + 1, stride))
    assert facts.rows == len(starts) == len(rows[2])
    with torch.inference_mode():
        for row, start in enumerate(starts):
            maps = classifier.model.forward_pyramid(frames[None, :, start : start + 8])
            for stage in (1, 2):
                expected = maps[stage - 1].mean((2, 3, 4))[0]
                torch.testing.assert_close(rows[stage][row], expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("stride", [2, 6])
@pytest.mark.parametrize("pool", ["mean", "spatial", "none"])
def test_a_causal_model_sees_each_step_once_and_gives_the_rows_of_the_whole(video: Path, stride: int, pool: str):
    classifier = causal()
    pushed = []
    classifier.model.backbone.patch_embed.register_forward_hook(lambda m, i, o: pushed.append(i[0].shape[2]))
    facts, rows = dense(classifier, video, DenseSettings(stride, (1, 2), pool))  # type: ignore[arg-type]
    assert sum(pushed) == 30  # frames through the model: one pass
    assert (facts.rows, facts.span) == (30 // stride, stride)
    with torch.inference_mode():
        maps = classifier.model.forward_pyramid(sampled(video, classifier)[None])
    for stage in (1, 2):
        one = maps[stage - 1][0].unflatten(1, (-1, stride // 2)).transpose(0, 1)  # (R, C, steps, H, W)
        expected = {"mean": one.mean((2, 3, 4)), "spatial": one.mean((3, 4)).transpose(1, 2), "none": one}[pool]
        torch.testing.assert_close(rows[stage], expected, atol=1e-6, rtol=1e-5)


def test_a_stride_of_half_a_step_and_a_rate_that_nobody_knows_are_refused(video: Path):
    with pytest.raises(ConfigError, match="multiple of 2"):
        dense(causal(), video, DenseSettings(3, (2,)))
    whole = tiny_classifier(preprocessing=Preprocessing(8, "uniform", size=(32, 32), short_side=32))
    with pytest.raises(ConfigError, match="clip-seconds"):
        dense(whole, video, DenseSettings(2, (2,)))
    assert dense(whole, video, DenseSettings(2, (2,), clip_seconds=2.0))[0].fps == 4.0


def test_a_video_shorter_than_a_clip_gives_one_row_and_says_how_much_was_repeated(tmp_path: Path):
    short = write_video(tmp_path / "s.mp4", frames=6, fps=12)
    facts, rows = dense(tiny_classifier(preprocessing=TIME), short, DenseSettings(4, (2,)))
    assert (facts.rows, facts.repeated, len(rows[2])) == (1, 5, 1)


def test_the_key_is_of_contents(video: Path, tmp_path: Path):
    first = tiny_classifier()
    same = tiny_classifier(labels=("a", "b"))  # the head is not seen
    assert model_key(first, {}) == model_key(same, {})
    other = tiny_classifier()
    with torch.no_grad():
        next(other.model.backbone.parameters()).view(-1)[0] += 1e-3
    keys = {model_key(c, {}) for c in (first, other, tiny_classifier(preprocessing=TIME), causal(PREPROCESSING))}
    assert len(keys | {model_key(first, {"stride": 2})}) == 5
    copy = tmp_path / "copy.mp4"
    shutil.copy(video, copy)
    store = FeatureStore(first, {}, tmp_path / "store")
    assert store.path(Clip(copy, "x")) == store.path(Clip(video, ""))
    assert store.path(Clip(copy, "", start=1.0)) != store.path(Clip(copy, ""))
    before = store.path(Clip(copy, ""))
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert store.path(Clip(copy, "")) != before


def test_the_layouts(video: Path, tmp_path: Path):
    pq = pytest.importorskip("pyarrow.parquet")
    other = write_video(tmp_path / "b" / "v.mp4", frames=40, fps=12, seed=1)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    rows = [
        Clip(video, "clap", "train", start=0.5, end=1.25),
        Clip(video, "nod", "train", start=2.0, end=4.0),
        Clip(other, "nod", "test"),
        Clip(broken, "nod", "test"),
    ]
    out = tmp_path / "out"
    classifier, job = causal(), Job((1, 2), "mean", 4)
    found = extract_features(classifier, rows, job, out, parquet=True)
    assert (found.computed, len(found.entries), len(found.failures)) == (2, 2, 1)
    settings, lines = read_features_index(out)
    assert settings["feat_stride"] == settings["num_frames"] == 4
    assert settings["offset"] == 0.5
    assert settings["default_fps"] == 6
    assert settings["input_dim"] == {"stage1": 8, "stage2": 16}
    names = [line["name"] for line in lines]
    arrays = [np.load(out / "stage2" / f"{name}.npy") for name in names]
    assert [(a.shape, a.dtype) for a in arrays] == [((7, 16), np.float32), ((5, 16), np.float32)]
    database = json.loads((out / "activitynet.json").read_text())["database"]
    assert database[names[0]]["subset"] == "train"
    assert [a["segment"] for a in database[names[0]]["annotations"]] == [[0.5, 1.25], [2.0, 4.0]]
    assert database[names[0]]["duration"] == pytest.approx(5.0)
    assert pq.read_schema(out / "features.parquet").field("stage2").type.list_size == 16
    table = pq.read_table(out / "features.parquet").to_pydict()
    assert table["row"] == [*range(7), *range(5)]
    np.testing.assert_array_equal(np.array(table["stage2"][:7], np.float32), arrays[0])
    assert table["start_s"][1] == pytest.approx(4 / 6)
    again = extract_features(classifier, rows, job, out)
    assert again.computed == 0
    for store in (out / "store").rglob("*.safetensors"):
        store.write_bytes(store.read_bytes()[:-7])  # cut off
    assert extract_features(classifier, rows, job, out).computed == 2
    np.testing.assert_array_equal(np.load(out / "stage2" / f"{names[0]}.npy"), arrays[0])


def written(folder: Path) -> list[str]:
    """What stands beside the store."""
    return sorted(
        name for path in folder.rglob("*") if path.is_file() and "store" not in (name := str(path.relative_to(folder)))
    )


def test_a_folder_holds_one_run(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Whatever was asked for before; what is not of a run stays."""
    tiny_classifier(preprocessing=TIME).save(tmp_path / "m")
    other = write_video(tmp_path / "other.mp4", frames=12, fps=12, seed=5)
    out = tmp_path / "o"

    def run(*options: str) -> str:
        assert main(["features", *options, "--weights", str(tmp_path / "m"), "--out", str(out)]) == 0
        return capsys.readouterr().err

    beside = ["activitynet.json", "features.json", "index.jsonl"]
    assert "removed" not in run(str(video), str(other), "--stages", "1-2", "--parquet")
    (out / "stage1" / "mine.txt").write_text("mine")
    assert "removed 3 files of an earlier run" in run(str(video), str(other))
    assert written(out) == [*beside, "stage1/mine.txt", "stage2/other.npy", "stage2/v.npy"]
    assert "removed" not in run(str(video))  # the same kind: the other video's file is what it was
    assert written(out) == [*beside, "stage1/mine.txt", "stage2/other.npy", "stage2/v.npy"]
    assert "removed 1 file of" in run(str(video), "--pool", "spatial")
    assert written(out) == [*beside, "stage1/mine.txt", "stage2/v.npy"]
    another = tiny_classifier(preprocessing=TIME)
    torch.nn.init.normal_(next(another.model.parameters()))
    another.save(tmp_path / "m")
    assert "removed 1 file of" in run(str(other), "--pool", "spatial")
    assert written(out) == [*beside, "stage1/mine.txt", "stage2/other.npy"]


def test_a_run_that_is_stopped_leaves_no_folder_of_features(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    classifier, out = tiny_classifier(preprocessing=TIME), tmp_path / "o"
    extract_features(classifier, [Clip(video, "a")], Job((1, 2)), out)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("videoswin.features.layouts.copy_as_npy", stopped)
        with pytest.raises(KeyboardInterrupt):
            extract_features(classifier, [Clip(video, "a")], Job((1,)), out)
    with pytest.raises(ConfigError, match="no features"):
        read_features_index(out)
    assert extract_features(classifier, [Clip(video, "a")], Job((1,)), out).computed == 0
    assert written(out)[3:] == ["stage1/v.npy"]


def test_a_folder_of_somebody_else_is_not_filled(video: Path, tmp_path: Path):
    (tmp_path / "stage2").mkdir()
    (tmp_path / "stage2" / "v.npy").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"stage2: videoswin features did not write this.*Give another --out"):
        extract_features(tiny_classifier(preprocessing=TIME), [Clip(video, "a")], Job((2,)), tmp_path)
    assert (tmp_path / "stage2" / "v.npy").read_bytes() == b"mine"


def test_the_json_of_clips_is_a_list_again(video: Path, tmp_path: Path) -> None:
    """Clips that last to the end of their video have an end there as well."""
    rows = [Clip(video, "nod"), Clip(video, "wave", start=1.0), Clip(video, "clap", start=0.5, end=1.25)]
    extract_features(tiny_classifier(preprocessing=TIME), rows, Job((2,)), tmp_path / "f")
    database = json.loads((tmp_path / "f" / "activitynet.json").read_text())["database"]
    with open_video(video) as opened:
        duration = opened.info.duration_s
    assert [entry["duration"] for entry in database.values()] == [pytest.approx(duration), None, None]
    found = read_index(tmp_path / "f" / "activitynet.json").rows
    ends = {row.label: (row.path, row.start, row.end) for row in found}
    assert ends == {
        "nod": (video, 0.0, pytest.approx(duration)),
        "wave": (video, 1.0, pytest.approx(duration, abs=0.05)),
        "clap": (video, 0.5, 1.25),
    }


def test_names_are_short_and_never_two_alike(tmp_path: Path):
    rows = [Clip(tmp_path / p, "") for p in ("a/1.mp4", "b/1.mp4", "b/1.avi", "c.mp4")]
    names = video_names([*rows, Clip(tmp_path / "c.mp4", "", start=1, end=2.5)])
    assert len(set(names)) == 5
    assert names[3:] == ["c", "c@1-2.5"]
    assert "a__1.mp4" in names[0]


def test_stages_are_named_by_number():
    assert chosen_stages("last", 4) == (4,)
    assert chosen_stages("1-2,4", 4) == (1, 2, 4)
    for wrong in ("0", "5", "3-", "x", "", "2-9", "1-99999999"):
        with pytest.raises(ConfigError):
            chosen_stages(wrong, 4)


def test_a_system_without_maps_gives_its_last_features(video: Path, tmp_path: Path):
    torch.manual_seed(0)
    model = create_any_model("r3d_18", num_classes=2).eval()
    preprocessing = Preprocessing(clip_len=8, size=(32, 32), short_side=32)
    (found,) = clip_features(Classifier(model, preprocessing, ("a", "b")), [Clip(video, "")], folder=tmp_path)
    assert isinstance(found, Found)
    assert found.tensors["pooled.1"].shape == (model.num_features,)


def test_the_verb(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tiny_classifier(preprocessing=TIME).save(tmp_path / "m")
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    arguments = ["--weights", str(tmp_path / "m"), "--out", str(tmp_path / "o"), "--device", "cpu"]
    assert main(["features", str(video), str(tmp_path / "bad.mp4"), *arguments, "--stages", "1-2"]) == 1
    assert "bad.mp4" in capsys.readouterr().err
    assert np.load(tmp_path / "o" / "stage2" / "v.npy").shape == (1, 16)
    assert main(["features", str(video), *arguments, "--stages", "3"]) == 2
    assert "stages 1 to 2" in capsys.readouterr().err
    assert main(["features", str(video), *arguments, "--stride", "4", "--pool", "spatial"]) == 0
    assert np.load(tmp_path / "o" / "stage2" / "v.npy").shape == (6, 4, 16)


def test_class_folders_keep_their_labels(video: Path, tmp_path: Path):
    for label in ("clap", "nod"):
        (tmp_path / "d" / label).mkdir(parents=True)
        shutil.copy(video, tmp_path / "d" / label / "1.mp4")
    assert [row.label for row in rows_of([tmp_path / "d"])] == ["clap", "nod"]
    assert [row.label for row in rows_of([tmp_path / "d" / "nod"])] == [""]


def test_probe_teach_and_audit_read_what_features_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """The store of the folder, not the cache; and never another checkpoint's."""
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "cache"))
    classifier = tiny_classifier(preprocessing=TIME)
    classifier.save(tmp_path / "m")
    for number in range(12):
        write_video(tmp_path / "v" / ("nod", "wave")[number % 2] / f"{number}.mp4", frames=16, seed=number)
    data, folder, weights = str(tmp_path / "v"), str(tmp_path / "f"), ["--weights", str(tmp_path / "m")]
    assert main(["features", data, *weights, "--out", folder, "--device", "cpu"]) == 0
    looked: list[int] = []
    monkeypatch.setattr("videoswin.features.clips.look", lambda *_: looked.append(1))  # nothing is left to look at
    capsys.readouterr()
    assert main(["probe", data, *weights, "--features", folder, "--folds", "3", "--seeds", "1"]) == 0
    assert "features of 12 clips, 0 of them computed" in capsys.readouterr().err
    assert main(["teach", data, *weights, "--features", folder, "--out", str(tmp_path / "t")]) == 0
    assert main(["audit", data, *weights, "--features", folder, "--json"]) == 0
    assert looked == []
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    with torch.no_grad():
        next(classifier.model.backbone.parameters()).view(-1)[0] += 1
    classifier.save(tmp_path / "other")
    monkeypatch.undo()
    capsys.readouterr()
    verbs = (["probe"], ["teach", "--out", str(tmp_path / "t2")], ["audit"])
    for verb, *more in verbs:
        assert main([verb, data, *more, "--weights", str(tmp_path / "other"), "--features", folder]) == 2
        assert "another checkpoint" in capsys.readouterr().err
    assert main(["features", data, *weights, "--out", folder, "--stride", "4", "--device", "cpu"]) == 0
    assert main(["probe", data, *weights, "--features", folder]) == 2
    assert "rows along videos" in capsys.readouterr().err
