"""Settings as data."""

import math
from pathlib import Path

import pytest

from tests.train.helpers import make_videos, tiny_classifier
from videoswin.cli.main import main
from videoswin.cli.train_options import TrainOptions, read_options
from videoswin.errors import ConfigError
from videoswin.train.augments import AUGMENTS
from videoswin.train.optim import rate_factor
from videoswin.train.plan import _settings, make_plan
from videoswin.train.preferences import Preferences
from videoswin.train.published_recipes import PUBLISHED
from videoswin.train.recipes import RECIPES, get_recipe
from videoswin.train.settings import TrainSettings
from videoswin.train.spent import about_precision
from videoswin.zoo.registry import CONFIGS


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_one_that_runs(name: str):
    recipe = get_recipe(name)
    assert recipe.augment in AUGMENTS
    assert recipe.drop_path is None  # the start's own
    TrainSettings(epochs=recipe.epochs_for(100, recipe.batch_size), batch_size=recipe.batch_size, lr=recipe.lr)


def test_few_clips_are_seen_more_often():
    recipe = get_recipe("motion")
    few, some, many = (recipe.epochs_for(clips, 16) for clips in (20, 200, 20_000))
    assert few > some > many
    assert (few, many) == (recipe.epochs[1], recipe.epochs[0])
    assert some * -(-200 // 16) >= recipe.steps


def test_the_nearest_name():
    with pytest.raises(ConfigError, match='Did you mean "finetune"'):
        get_recipe("fintune")


def test_parts_of_a_model_do_not_go_with_lora(tmp_path: Path):
    with pytest.raises(ConfigError, match='strategy="fsdp" does not go with adapt="lora"'):
        make_plan("none", tmp_path, None, None, Preferences(adapt="lora:4"), 0, False, settings={"strategy": "fsdp"})


# Published recipes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "lr", "decay", "drop_path", "epochs", "smoothing"),
    [
        ("kinetics400_t", 1e-3, 0.02, 0.1, 30, 0.0),
        ("kinetics400_s", 1e-3, 0.02, 0.1, 30, 0.0),
        ("kinetics400_b", 1e-3, 0.05, 0.3, 30, 0.0),
        ("kinetics400_b_22k", 3e-4, 0.05, 0.2, 30, 0.0),
        ("kinetics600_b_22k", 3e-4, 0.05, 0.2, 30, 0.0),
        ("ssv2_b", 3e-4, 0.05, 0.4, 60, 0.1),
    ],
)
def test_numbers_of_the_public_configurations(
    name: str, lr: float, decay: float, drop_path: float, epochs: int, smoothing: float
):
    recipe = get_recipe(name)
    assert (recipe.lr, recipe.weight_decay, recipe.drop_path, recipe.label_smoothing) == (
        lr,
        decay,
        drop_path,
        smoothing,
    )
    assert recipe.epochs_for(200_000, 64) == epochs
    assert recipe.batch_size * recipe.settings["accumulate"] == recipe.clips_per_step == 64
    assert (recipe.backbone_lr_ratio, recipe.warmup_epochs, recipe.settings["parameter_rule"]) == (0.1, 2.5, "official")
    assert recipe.preprocessing is not None
    assert recipe.preprocessing.sampling == ("uniform" if name == "ssv2_b" else "interval")
    assert recipe.flip is (name != "ssv2_b")


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_recipe_is_one_that_runs(name: str):
    recipe = get_recipe(name)
    assert recipe.augment in AUGMENTS
    assert recipe.model in CONFIGS
    TrainSettings(**dict(recipe.settings))


def test_a_published_recipe_says_what_it_starts_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_videos(tmp_path / "data", each=2)
    command = ["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--recipe"]
    assert main([*command, "kinetics400_t"]) == 2
    assert (
        "starts from weights of image models (Swin, ImageNet-1K). Give the file: --weights" in capsys.readouterr().err
    )
    tiny_classifier().save(tmp_path / "ck")
    assert main([*command, "kinetics400_t", "--weights", str(tmp_path / "ck")]) == 2
    assert "is for swin3d_t (embed_dim 96), and this model has embed_dim 8" in capsys.readouterr().err


def test_what_was_not_published_says_so():
    """In the line that every run begins with."""
    published = {"kinetics400_t", "kinetics400_s", "kinetics400_b", "kinetics400_b_22k", "kinetics600_b_22k", "ssv2_b"}
    carried = {name for name, recipe in PUBLISHED.items() if "(not published: the numbers are those" in recipe.about}
    others = {f"kinetics400_{name}" for name in ("mvit_b", "i3d", "vtn_b", "vivit_b", "vivit_b_fe")}
    assert carried == set(PUBLISHED) - published - others
    assert all("the decay is not published" in PUBLISHED[name].about for name in others - {"kinetics400_mvit_b"})
    assert "clips of a step are not published" in PUBLISHED["kinetics400_mvit_b"].about


def test_the_recipe_of_mvit(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """SlowFast's MVIT_B_16x4_CONV."""
    recipe = get_recipe("kinetics400_mvit_b")
    assert (recipe.lr, recipe.weight_decay, recipe.warmup_epochs, recipe.drop_path) == (1e-4, 0.05, 30, 0.2)
    assert dict(recipe.settings) == {"repeat": 2, "mixup": 0.8, "cutmix": 1.0}
    assert recipe.epochs_for(200_000, 64) == 200
    assert recipe.preprocessing is not None
    assert (recipe.preprocessing.clip_len, recipe.preprocessing.frame_interval) == (16, 4)
    assert _settings(recipe, 1000, 0, {"accumulate": 8}, 8).lr == 1e-4  # there is nothing to scale it by
    make_videos(tmp_path / "data", each=2)
    command = ["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--recipe", "kinetics400_mvit_b"]
    assert main(command) == 2
    assert "starts from fresh weights: add --model mvit_v1_b" in capsys.readouterr().err
    assert main([*command, "--model", "mvit_v2_micro"]) == 2
    assert "is for mvit_v1_b" in capsys.readouterr().err


def test_the_recipes_of_systems_trained_by_sgd(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    i3d, vtn, vivit = (get_recipe(f"kinetics400_{name}") for name in ("i3d", "vtn_b", "vivit_b"))
    assert (i3d.lr, vtn.lr, vivit.lr, get_recipe("kinetics400_vivit_b_fe").lr) == (0.1, 1e-3, 0.1, 0.05)
    assert (i3d.clips_per_step, vivit.clips_per_step, vtn.clips_per_step) == (384, 64, 0)
    assert math.ceil(240_000 / 384) * 184 == 115_000
    settings = _settings(i3d, 240_000, 0, {}, 1)
    assert (settings.optimizer, settings.momentum) == ("sgd", 0.9)
    assert settings.lr == pytest.approx(0.1)
    assert [rate_factor(settings, step, 625) for step in (0, 96_999, 97_000, 108_000)] == pytest.approx(
        [1, 1, 0.1, 0.01]
    )
    settings = _settings(vtn, 1000, 0, {}, 1)
    rates = [rate_factor(settings, epoch * 10, 10) for epoch in range(25)]
    assert rates == pytest.approx([1] * 13 + [0.1] * 11 + [0.01])
    make_videos(tmp_path / "data", each=2)
    command = ["train", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--recipe"]
    assert main([*command, "kinetics400_i3d"]) == 2
    assert "starts from weights of image models (Inception-v1" in capsys.readouterr().err
    assert main([*command, "kinetics400_i3d", "--model", "r2plus1d_micro"]) == 2
    assert "is for i3d, and the model of this run is of another system" in capsys.readouterr().err
    assert main([*command, "kinetics400_vivit_b", "--model", "vivit_b_16x2_model2", "--plan"]) == 2
    assert "(model 1), and this model has model 2" in capsys.readouterr().err


def test_another_schedule_or_optimiser_leaves_the_numbers_of_the_first_behind(tmp_path: Path):
    assert _settings(get_recipe("kinetics400_i3d"), 1000, 0, {"schedule": "step"}, 1).lr_drops == ()
    path = tmp_path / "settings.toml"
    path.write_text('optimizer = "sgd"\nmomentum = 0.8\nschedule = "drops"\nlr_drops = "0.5,0.9"\n')
    kept = read_options(path)
    assert TrainOptions(schedule="step").over(kept).lr_drops is None
    assert TrainOptions(optimizer="adamw").over(kept).momentum is None
    assert TrainOptions(lr=0.1).over(kept).lr_drops == "0.5,0.9"
    with pytest.raises(ConfigError, match="momentum is for optimizer"):
        _settings(get_recipe("motion"), 1000, 0, {"momentum": 0.5}, 1)


def test_a_precision_that_costs_time():
    (line,) = about_precision("bf16", "cpu")
    assert "slower than float32" in line
    assert about_precision("bf16", "cuda") == about_precision("float32", "cpu") == []


def test_the_learning_rate_follows_the_clips_of_a_step():
    recipe = get_recipe("kinetics400_t")
    lr = lambda world=1, **given: _settings(recipe, 1000, 0, given, world).lr  # noqa: E731
    assert lr() == 1e-3
    assert lr(world=8) == 8e-3
    assert lr(world=8, accumulate=1) == 1e-3
    assert lr(batch_size=2, accumulate=8) == pytest.approx(2.5e-4)
    assert lr(world=8, lr=5e-4) == 5e-4
