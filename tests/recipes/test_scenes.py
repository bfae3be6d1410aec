"""Generated scenes: what is said about a clip is what can be seen in it."""

import pytest
import torch
from generated.bodies import POINTS
from generated.dice import Dice
from generated.objects import draw_objects
from generated.scenes import ABSENT, HEADS, MARKS, Scenes, draw_scenes

NAMES = list(HEADS)


def draw(count: int, clutter: float = 0.0, seed: int = 0) -> Scenes:
    return draw_scenes(count, 8, (32, 40), torch.Generator().manual_seed(seed), clutter)


@pytest.fixture(scope="module")
def plain() -> Scenes:
    """Read only."""
    return draw(90)


def of(scenes: Scenes, name: str) -> torch.Tensor:
    return scenes.labels[:, NAMES.index(name)]


def test_shapes_and_seeds():
    scenes, again, other = draw(3, 1.0), draw(3, 1.0), draw(3, 1.0, seed=1)
    assert scenes.frames.shape == (3, 8, 32, 40, 3)
    assert scenes.frames.dtype == torch.uint8
    assert scenes.points.shape == (3, 8, 2, len(POINTS) + 1, 2)
    assert scenes.marks.shape == (3, 8, len(MARKS), 4, 2)
    assert all(torch.equal(a, b) for a, b in zip(scenes, again, strict=True))
    assert not torch.equal(scenes.frames, other.frames)


def test_answers_are_in_range_and_fit_the_scene(plain: Scenes):
    for number, (name, count) in enumerate(HEADS.items()):
        given = plain.labels[:, number]
        assert int(given.max()) < count, name
        assert int(given[given >= 0].min() if (given >= 0).any() else 0) >= 0
    kinds = of(plain, "scene")
    assert set(kinds.tolist()) == {0, 1, 2}
    assert torch.equal(of(plain, "path") >= 0, kinds == 0)
    assert torch.equal(of(plain, "relation") >= 0, kinds == 1)
    assert torch.equal(of(plain, "object") >= 0, kinds == 2)
    two = of(plain, "arm_l2") >= 0
    assert torch.equal(two, of(plain, "relation") > 0)
    assert torch.equal(two, plain.points[:, 0, 1, 0, 0] > ABSENT / 2)


def test_light_things_are_where_the_marks_say(plain: Scenes):
    """Plain clips are light on dark; heads and things in sight are light."""
    seen = []
    for frames, marks in zip(plain.frames, plain.marks, strict=True):
        for mark in (MARKS.index("head"), MARKS.index("object")):
            x, y = (marks[4, mark, 0] * torch.tensor([40, 32])).tolist()
            if 2 <= x < 38 and 2 <= y < 30:
                seen.append(float(frames[4, int(y), int(x)].float().mean()))
    assert len(seen) > 20
    assert sum(value > 120 for value in seen) > 0.9 * len(seen)


@pytest.mark.parametrize(("name", "axis", "sign"), [("left", 0, -1), ("right", 0, 1), ("up", 1, -1), ("down", 1, 1)])
def test_things_go_where_their_name_says(name: str, axis: int, sign: int):
    dice = Dice(torch.Generator().manual_seed(0))
    for _ in range(20):
        centre = draw_objects(name, 8, 1.0, dice)[0][0]
        assert sign * float(centre[-1, axis] - centre[0, axis]) > 0.15


def test_people_who_go_to_a_side_get_there():
    scenes = draw(160, seed=3)
    for way, sign in ((1, -1), (2, 1)):
        chosen = (of(scenes, "root") == way) & (of(scenes, "relation") == 0)
        pelvis = scenes.points[chosen][:, :, 0, POINTS.index("pelvis"), 0]
        assert len(pelvis)
        assert (sign * (pelvis[:, -1] - pelvis[:, 0]) > 0).all()
