"""Settings as data."""

from pathlib import Path

import pytest

from tests.train.helpers import make_videos, tiny_classifier
from videoswin.cli.main import main
from videoswin.errors import ConfigError
from videoswin.model import PRESETS
from videoswin.train.augments import AUGMENTS
from videoswin.train.plan import _settings, make_plan
from videoswin.train.preferences import Preferences
from videoswin.train.published_recipes import PUBLISHED
from videoswin.train.recipes import RECIPES, get_recipe
from videoswin.train.settings import TrainSettings


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
    assert recipe.model in PRESETS
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
    assert "is for swin3d_t (embed_dim 96), and these weights have embed_dim 8" in capsys.readouterr().err


def test_the_learning_rate_follows_the_clips_of_a_step():
    recipe = get_recipe("kinetics400_t")
    lr = lambda world=1, **given: _settings(recipe, 1000, 0, given, world).lr  # noqa: E731
    assert lr() == 1e-3
    assert lr(world=8) == 8e-3
    assert lr(world=8, accumulate=1) == 1e-3
    assert lr(batch_size=2, accumulate=8) == pytest.approx(2.5e-4)
    assert lr(world=8, lr=5e-4) == 5e-4
