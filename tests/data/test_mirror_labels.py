"""Labels in the mirror: by rule, by hand, or refused."""

import pytest

from videoswin.data.mirror_labels import FlipLabels
from videoswin.errors import ConfigError


@pytest.mark.parametrize(
    ("labels", "mirrored"),
    [
        (["left", "right", "up"], ["right", "left", "up"]),
        (["Swiping Left", "Swiping Right", "Stop"], ["Swiping Right", "Swiping Left", "Stop"]),
        (["swipe_left", "swipe_right"], ["swipe_right", "swipe_left"]),
        (["SwipeLeft", "SwipeRight", "LEFT", "RIGHT"], ["SwipeRight", "SwipeLeft", "RIGHT", "LEFT"]),
        (
            ["Pull from left to right", "Pull from right to left"],
            ["Pull from right to left", "Pull from left to right"],
        ),
        (["Turn Clockwise", "Turn Counterclockwise"], ["Turn Counterclockwise", "Turn Clockwise"]),
        (["clockwise", "anticlockwise"], ["anticlockwise", "clockwise"]),
        (["circle_cw", "circle_ccw"], ["circle_ccw", "circle_cw"]),
        (["stand upright", "bright", "leftover", "copyright"], ["stand upright", "bright", "leftover", "copyright"]),
    ],
)
def test_labels_in_the_mirror(labels: list[str], mirrored: list[str]):
    flip = FlipLabels.of(labels)
    assert [labels[flip(number)] for number in range(len(labels))] == mirrored


def test_given_pairs_go_before_the_rule():
    labels = ["tick", "caret", "pull it right out"]
    flip = FlipLabels.of(labels, {"tick": "caret", "pull it right out": "pull it right out"})
    assert flip.table == (1, 0, 2)


@pytest.mark.parametrize(
    ("labels", "pairs", "says"),
    [
        (["turn left", "stop"], {}, r'"turn left" into "turn right", which is no class'),
        (["circle_ccw", "up"], {}, r'into "circle_cw"'),
        (["left", "right"], {"lefft": "right"}, r'"lefft" names no class of the data. Did you mean "left"'),
        (["a", "b", "c"], {"a": "b", "c": "b"}, r"Give every class one mirror"),
        (["left", "right", "up"], {"right": "up"}, r'Flipping would turn "left" into "right", but'),
    ],
)
def test_a_flip_without_a_mirror_is_refused(labels: list[str], pairs: dict[str, str], says: str):
    with pytest.raises(ConfigError, match=says):
        FlipLabels.of(labels, pairs)
