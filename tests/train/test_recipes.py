"""Settings as data."""

import pytest

from videoswin.errors import ConfigError
from videoswin.train.augments import AUGMENTS
from videoswin.train.recipes import RECIPES, get_recipe
from videoswin.train.settings import TrainSettings


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_one_that_runs(name: str):
    recipe = get_recipe(name)
    assert recipe.augment in AUGMENTS
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
