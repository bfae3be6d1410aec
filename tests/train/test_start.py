"""What a run starts from: clips, weights and preprocessing, checked before the first step."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import write_video
from tests.train.helpers import PREPROCESSING, tiny_classifier
from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.data.dataset import ClipDataset
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError
from videoswin.train.augments import AUGMENTS
from videoswin.train.plan import Plan, make_plan
from videoswin.train.preferences import Preferences
from videoswin.train.start import MICRO_PREPROCESSING, adopt
from videoswin.weights.convert import export_tensors
from videoswin.zoo.registry import create_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny classifier for nod and wave, saved."""
    folder = tmp_path_factory.mktemp("start") / "ck"
    tiny_classifier().save(folder)
    return str(folder)


@pytest.fixture
def clip_list(videos: Path, tmp_path: Path):
    """Writes a CSV of the videos: (label, split, group) of each."""
    paths = sorted(videos.glob("*/*.mp4"), key=lambda path: int(path.stem))

    def write(entries: list[tuple[str, str, str]]) -> Path:
        lines = [f"{path},{','.join(entry)}" for path, entry in zip(paths, entries, strict=False)]
        (tmp_path / "list.csv").write_text("\n".join(["path,label,split,group", *lines]) + "\n")
        return tmp_path / "list.csv"

    return write


def plan_of(
    data: Path, weights: str | None = None, model: str | None = None, out: Path | None = None, **wanted
) -> Plan:
    """With a fifth held out for good, unless something else is wanted."""
    seed, resume = wanted.pop("seed", 0), wanted.pop("resume", False)
    wanted.setdefault("val_share", 0.2)
    out = data.parent / "no-such-run" if out is None else out
    return make_plan(data, out, model, weights, Preferences(**wanted), seed, resume)


def names(clips: ClipDataset | None) -> set[str]:
    assert clips is not None
    return {row.path.stem for row in clips.rows}


# Which clips ----------------------------------------------------------------------------------------------------------


def test_class_folders(videos: Path, checkpoint: str):
    plan = plan_of(videos, checkpoint)
    assert plan.val_clips is not None
    assert (len(plan.train_clips), len(plan.val_clips)) == (9, 3)
    assert not names(plan.train_clips) & names(plan.val_clips)
    assert {row.label for row in plan.val_clips.rows} == {"nod", "wave"}
    assert plan.classifier.labels == ("nod", "wave")
    assert plan.val_clips.augment is None
    strong = AUGMENTS["strong"]
    assert strong is not None
    assert plan.train_clips.augment == replace(strong, flip=True)
    assert any("mirrored: no class names a side" in note for note in plan.notes)
    assert plan.train_clips.cache is plan.val_clips.cache
    assert "9 training clips; 3 held out for validation (single clips: no groups are given)." in plan.notes
    assert any("not for new ones" in note for note in plan.notes)


def test_the_seed_chooses_the_clips_and_the_head(videos: Path, checkpoint: str):
    plans = [plan_of(videos, model="swin3d_micro", seed=seed) for seed in (0, 0, 1)]
    heads = [plan.classifier.model.head.fc.weight for plan in plans]  # type: ignore[union-attr]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert names(plans[0].val_clips) == names(plans[1].val_clips)
    assert len({frozenset(names(plan_of(videos, checkpoint, seed=seed).val_clips)) for seed in range(4)}) > 1


def test_the_test_split_is_never_touched(clip_list, checkpoint: str):
    data = clip_list(
        [("nod", "train", ""), ("wave", "train", "")] * 4 + [("nod", "test", ""), ("wave", "test", "")] * 2
    )
    plan = plan_of(data, checkpoint)
    assert names(plan.train_clips) | names(plan.val_clips) == {str(i) for i in range(8)}


@pytest.mark.parametrize("split", ["val", "valid", "validation"])
def test_the_val_split_is_used(clip_list, checkpoint: str, split: str):
    data = clip_list(
        [("nod", "train", ""), ("wave", split, ""), ("wave", "train", ""), ("nod", "test", ""), ("nod", "", "")]
    )
    plan = plan_of(data, checkpoint)
    assert (names(plan.train_clips), names(plan.val_clips)) == ({"0", "2"}, {"1"})
    assert f'2 training clips; 1 of the split "{split}".' in plan.notes


def test_whole_groups_are_held_out(clip_list, checkpoint: str):
    data = clip_list([(label, "train", group) for group in "abcdef" for label in ("nod", "wave")])
    plan = plan_of(data, checkpoint)
    assert plan.val_clips is not None
    assert not {row.group for row in plan.train_clips.rows} & {row.group for row in plan.val_clips.rows}
    assert any("(whole groups)" in note for note in plan.notes)


def test_groups_on_both_sides_are_told(clip_list, checkpoint: str):
    data = clip_list(
        [("nod", "train", "eva"), ("wave", "train", "ben"), ("nod", "test", "eva"), ("wave", "val", "kim")]
    )
    assert any(
        "beware: groups" in note and "eva" in note and "ben" not in note for note in plan_of(data, checkpoint).notes
    )
    data = clip_list(
        [("nod", "train", "eva"), ("wave", "train", "ben"), ("nod", "test", "lea"), ("wave", "val", "kim")]
    )
    assert not any("beware: groups" in note for note in plan_of(data, checkpoint).notes)


def test_nothing_held_out_if_so_wanted(videos: Path, checkpoint: str):
    plan = plan_of(videos, checkpoint, val_share=0)
    assert plan.val_clips is None
    assert len(plan.train_clips) == 12
    assert any("none held out" in note for note in plan.notes)


def test_no_training_split(clip_list, checkpoint: str):
    with pytest.raises(ConfigError, match=r'no clip has the split "train", only: test, val\.'):
        plan_of(clip_list([("nod", "val", ""), ("wave", "test", ""), ("wave", "", "")]), checkpoint)


def test_a_single_group_cannot_be_parted(clip_list, checkpoint: str):
    with pytest.raises(ConfigError, match="val split"):
        plan_of(clip_list([("nod", "train", "g"), ("wave", "train", "g")]), checkpoint)


def test_all_bad_rows_are_listed(tmp_path: Path, checkpoint: str):
    (tmp_path / "bad.csv").write_text("path,label\nnone.mp4,nod\n,wave\n")
    with pytest.raises(ConfigError) as error:
        plan_of(tmp_path / "bad.csv", checkpoint)
    assert "line 2" in str(error.value)
    assert "line 3" in str(error.value)


# Which run ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["metrics.csv", "last/progress.json", ".last.previous/progress.json"])
def test_a_run_is_not_overwritten(videos: Path, checkpoint: str, tmp_path: Path, left: str):
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).write_text("")
    with pytest.raises(ConfigError, match=r"holds a run already.*--resume.*--out"):
        plan_of(videos, checkpoint, out=tmp_path)
    if left != "metrics.csv":
        plan_of(videos, checkpoint, out=tmp_path, resume=True)


def test_nothing_to_resume_is_said_before_clips_are_read(videos: Path, checkpoint: str, tmp_path: Path):
    with pytest.raises(WeightsError, match=r"no run to resume.*without --resume"):
        plan_of(videos, checkpoint, out=tmp_path, resume=True)


def test_clips_of_other_splits_and_classes_without_clips_are_named(clip_list, checkpoint: str, tmp_path: Path):
    table = clip_list([("nod", "train", ""), ("nod", "dev", ""), ("wave", "val", "")])
    notes = " ".join(plan_of(table, checkpoint, out=tmp_path / "run").notes)
    assert '1 clip of the split "dev" left out' in notes
    assert "no training clip for 1 of the classes" in notes


def test_model_or_weights(videos: Path, checkpoint: str):
    with pytest.raises(ConfigError, match=r"--model.*or --weights.*not both"):
        plan_of(videos, checkpoint, "swin3d_micro")


def test_unknown_names(videos: Path, checkpoint: str):
    with pytest.raises(ConfigError, match=r'"gentel" is unknown\. Did you mean "gentle"\?'):
        Preferences(augment="gentel")
    with pytest.raises(ConfigError, match='Did you mean "swin3d_micro"'):
        plan_of(videos, model="swin3d_mikro")
    with pytest.raises(ConfigError, match='"no_such_folder"'):
        plan_of(videos, "no_such_folder")
    with pytest.raises(ConfigError, match='Did you mean "uniform"'):
        plan_of(videos, checkpoint, sampling="unifrom")


def test_damaged_weights(videos: Path, tmp_path: Path):
    tiny_classifier().save(tmp_path / "ck")
    (tmp_path / "ck" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        plan_of(videos, str(tmp_path / "ck"))


@pytest.mark.parametrize(
    "wanted", [{"val_share": -0.1}, {"val_share": 0.6}, {"val_share": float("nan")}, {"augment": "none", "flip": True}]
)
def test_refused_preferences(wanted: dict[str, Any]):
    with pytest.raises(ConfigError, match=r"val_share|flip"):
        Preferences(**wanted)


# Which weights --------------------------------------------------------------------------------------------------------


def test_fresh_weights(videos: Path):
    plan = plan_of(videos, model="swin3d_micro", drop_path=0.3)
    assert plan.classifier.preprocessing == MICRO_PREPROCESSING
    assert plan.classifier.model.config.drop_path == 0.3
    assert plan.classifier.name == "no-such-run"
    assert "swin3d_micro with fresh weights, 2 classes." in plan.notes


def test_weights_bring_their_preprocessing(videos: Path, checkpoint: str):
    plan = plan_of(videos, checkpoint)
    assert plan.classifier.preprocessing == PREPROCESSING
    assert plan.train_clips.preprocessing == PREPROCESSING
    assert plan.classifier.name == "no-such-run"
    assert plan.classifier.notes == "Fine-tuned from tiny."
    assert plan_of(videos, checkpoint, name="mine").classifier.name == "mine"
    assert any("2 of 2 classes are known" in note for note in plan.notes)
    source = tiny_classifier().model.state_dict()
    assert all(torch.equal(value, source[name]) for name, value in plan.classifier.model.state_dict().items())


def test_a_backbone_without_a_head_gets_one(videos: Path, checkpoint: str, tmp_path: Path):
    """The official code's backbone alone, as many detectors keep it."""
    tensors = export_tensors(load(checkpoint).model, "official")
    bare = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    torch.save({"state_dict": bare}, tmp_path / "bare.pth")
    plan = plan_of(videos, str(tmp_path / "bare.pth"), size=32)
    assert "weights of bare; 0 of 2 classes are known to its head, the others start afresh." in plan.notes
    ours = plan.classifier.model.state_dict()
    assert torch.equal(ours["backbone.norm.weight"], bare["norm.weight"])
    assert ours["head.fc.weight"].shape[0] == 2


def test_causal(videos: Path, checkpoint: str, tmp_path: Path):
    """From fresh weights and from those of an ordinary model; what is causal stays so."""
    assert not plan_of(videos, checkpoint).classifier.model.config.causal
    assert plan_of(videos, model="swin3d_micro", causal=True).classifier.model.config.causal
    plan = plan_of(videos, checkpoint, causal=True)
    assert plan.classifier.model.config.causal
    expected = load(checkpoint).model.backbone.patch_embed.proj.weight
    assert plan.classifier.model.backbone.patch_embed.proj.weight.equal(expected)
    plan.classifier.save(tmp_path / "causal")
    assert plan_of(videos, str(tmp_path / "causal")).classifier.model.config.causal


def test_a_causal_model_should_not_need_the_end_of_the_clip(videos: Path, checkpoint: str):
    beware = "beware: uniform sampling"
    assert any(beware in note for note in plan_of(videos, checkpoint, causal=True).notes)
    for wanted in ({}, {"causal": True, "sampling": "time", "fps": 5.0}):
        assert not any(beware in note for note in plan_of(videos, checkpoint, **wanted).notes)


def test_known_classes_keep_their_rows(tmp_path: Path, checkpoint: str):
    for number, label in enumerate(("wave", "jump", "nod", "clap")):
        write_video(tmp_path / "data" / label / f"{number}.mp4", frames=2, size=(32, 32))
    plan = plan_of(tmp_path / "data", checkpoint, drop_path=0.2)
    head, source = plan.classifier.model.head, tiny_classifier().model.head
    assert head is not None
    assert source is not None
    assert plan.classifier.labels == ("clap", "jump", "nod", "wave")
    assert torch.equal(head.fc.weight[2:], source.fc.weight)
    assert torch.equal(head.fc.bias[2:], source.fc.bias)
    assert any("2 of 4 classes are known" in note for note in plan.notes)
    assert plan.classifier.model.config.drop_path == 0.2


def test_a_taught_head_gives_way_and_is_not_said_to_be_known(tmp_path: Path):
    source = tiny_classifier()
    model = create_model(source.model.config.replace(head_parts=2, head_memory=3))
    torch.nn.init.constant_(model.head.fc.bias, -30.0)  # type: ignore[union-attr]
    Classifier(model.eval(), PREPROCESSING, source.labels, "taught").save(tmp_path / "taught")
    for label in source.labels[:2]:
        write_video(tmp_path / "data" / label / "1.mp4", frames=2, size=(32, 32))
    plan = plan_of(tmp_path / "data", str(tmp_path / "taught"))
    assert plan.classifier.model.config.head_parts == 0
    assert any("all classes start afresh" in note for note in plan.notes)
    model, fresh = adopt(load(tmp_path / "taught"), source.labels[:2])
    assert model.head.fc.bias.abs().max() == 0  # type: ignore[union-attr]
    assert fresh == list(source.labels[:2])


def test_adopt():
    source = Classifier(tiny_classifier().model, PREPROCESSING, ("left", "right"))
    model, fresh = adopt(source, ("right", "up", "left"))
    assert fresh == ["up"]
    assert model.config.num_classes == 3
    assert model.head is not None
    assert source.model.head is not None
    assert torch.equal(model.head.fc.weight[[2, 0]], source.model.head.fc.weight)
    before, after = source.model.state_dict(), model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("backbone."))
    assert all(parameter.requires_grad for parameter in model.parameters())
    with torch.no_grad():
        next(model.parameters()).zero_()  # a copy, not the same tensors
    assert next(source.model.parameters()).abs().sum() > 0


# Which preprocessing --------------------------------------------------------------------------------------------------


def preprocessing_of(videos: Path, checkpoint: str, **wanted: Any) -> Preprocessing:
    return plan_of(videos, checkpoint, **wanted).classifier.preprocessing


def test_changes_to_the_preprocessing(videos: Path, checkpoint: str):
    assert preprocessing_of(videos, checkpoint, clip_len=8) == replace(PREPROCESSING, clip_len=8)
    assert preprocessing_of(videos, checkpoint, size=24) == replace(PREPROCESSING, size=(24, 24), short_side=24)
    assert preprocessing_of(videos, checkpoint, whole_frame=True) == replace(PREPROCESSING, short_side=None)
    wanted = preprocessing_of(videos, checkpoint, size=24, whole_frame=True)
    assert wanted == replace(PREPROCESSING, size=(24, 24), short_side=None)
    wanted = preprocessing_of(videos, checkpoint, sampling="interval", frame_interval=3)
    assert wanted == replace(PREPROCESSING, sampling="interval", frame_interval=3)


def test_a_frame_interval_that_would_do_nothing(videos: Path, checkpoint: str):
    with pytest.raises(ConfigError, match=r'frame_interval=3.*sampling="uniform"'):
        plan_of(videos, checkpoint, frame_interval=3)


def test_away_from_sampling_by_time(videos: Path, tmp_path: Path):
    by_time = replace(PREPROCESSING, sampling="time", fps=10.0)
    Classifier(tiny_classifier().model, by_time, ("nod", "wave")).save(tmp_path / "ck")
    assert preprocessing_of(videos, str(tmp_path / "ck")) == by_time
    assert preprocessing_of(videos, str(tmp_path / "ck"), sampling="uniform") == PREPROCESSING


@pytest.mark.parametrize("wanted", [{"clip_len": 0}, {"size": 0}, {"frame_interval": 0, "sampling": "interval"}])
def test_preprocessing_that_cannot_work(videos: Path, checkpoint: str, wanted: dict[str, Any]):
    with pytest.raises(ConfigError, match="|".join(wanted)):
        plan_of(videos, checkpoint, **wanted)


# How the clips vary ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AUGMENTS)
def test_every_augmentation_gives_clips(videos: Path, checkpoint: str, name: str):
    plan = plan_of(videos, checkpoint, augment=name)
    clip, label, _ = plan.train_clips[0]
    assert clip.shape == (3, 4, 16, 16)
    assert clip.isfinite().all()
    assert label == plan.classifier.labels.index(plan.train_clips.rows[0].label)
    assert plan.val_clips is not None
    assert plan.val_clips.augment is None


def test_flip_swaps_left_and_right(tmp_path: Path, checkpoint: str):
    for number, label in enumerate(("swipe left", "swipe right") * 3):
        write_video(tmp_path / "data" / label / f"{number}.mp4", frames=6, size=(32, 32), seed=number)
    for flip in (False, True):
        plan = plan_of(tmp_path / "data", checkpoint, augment="gentle", flip=flip, val_share=0)
        seen = set()
        for epoch in range(6):
            plan.train_clips.set_epoch(epoch)
            seen |= {
                (plan.train_clips.rows[i].label, plan.classifier.labels[label]) for _, label, i in plan.train_clips
            }
        kept = {("swipe left", "swipe left"), ("swipe right", "swipe right")}
        assert seen == (kept | {("swipe left", "swipe right"), ("swipe right", "swipe left")} if flip else kept)


def test_flip_without_a_mirror_class(tmp_path: Path, checkpoint: str):
    for number, label in enumerate(("left", "nod") * 2):
        write_video(tmp_path / "data" / label / f"{number}.mp4", frames=2, size=(32, 32))
    with pytest.raises(ConfigError, match="left"):
        plan_of(tmp_path / "data", checkpoint, flip=True)
