"""How sure to be, and how sure a figure is."""

import pytest
import torch

from tests.train.helpers import tiny_classifier
from videoswin.predict.calibration import (
    accuracy_interval,
    calibration_error,
    few_groups,
    fit_temperature,
    none_threshold,
)
from videoswin.train.folds import cool


def answers(count: int, sharpness: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are ``sharpness`` times as sure as they should be, and the classes drawn from what they should be."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, 4, generator=generator)
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()
    return sharpness * logits, targets


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 5.0])
def test_the_temperature_undoes_what_makes_scores_too_sure(sharpness: float):
    logits, targets = answers(5000, sharpness)
    temperature = fit_temperature(logits, targets)
    assert temperature == pytest.approx(sharpness, rel=0.08)
    before, after = (calibration_error((logits / t).softmax(1), targets) for t in (1.0, temperature))
    assert after < 0.02
    assert sharpness == 1.0 or before > 0.05


def test_all_right_makes_as_sure_as_may_be():
    logits = torch.eye(3)
    assert fit_temperature(logits, torch.arange(3)) == pytest.approx(1 / 20)


def test_a_cooled_model_divides_its_logits():
    classifier = tiny_classifier()
    clips = torch.randn(2, 3, 4, 16, 16)
    before = classifier.logits(clips)
    cool(classifier.model, 2.5)
    torch.testing.assert_close(classifier.logits(clips), before / 2.5)


def test_a_calibration_error_by_hand():
    scores = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.35, 0.65]])
    assert calibration_error(scores, torch.tensor([0, 1, 0, 1])) == pytest.approx(0.5 * 0.45 + 0.5 * 0.35)


def test_one_in_twenty_is_refused():
    best = torch.linspace(0.5, 0.99, 100)
    scores = torch.stack([best, 1 - best], dim=1)
    assert int((best < none_threshold(scores)).sum()) == 5


def test_clips_of_one_group_are_one_draw():
    """Twenty clips of two scenes of ten, one all right and one all wrong, tell less than twenty scenes."""
    correct = [True] * 50 + [False] * 50
    scenes = [f"scene {i // 10}" for i in range(100)]
    low, high = accuracy_interval(correct, scenes)
    alone_low, alone_high = accuracy_interval(correct, [""] * 100)
    assert low < alone_low < 0.5 < alone_high < high
    assert (low, high) == accuracy_interval(correct, scenes)


def test_few_groups_say_nothing_of_others():
    assert few_groups(["anna", "ben", "ben", "cleo"])
    assert not few_groups(["anna", "ben", "cleo", "dora"])
    assert not few_groups(["", "", ""])  # no groups are given: that is said elsewhere


@pytest.mark.parametrize(("right", "of"), [(13, 13), (0, 5), (2, 3)])
def test_few_or_perfect_answers_still_have_an_interval(right: int, of: int):
    low, high = accuracy_interval([i < right for i in range(of)], [""] * of)
    assert 0 <= low <= right / of <= high <= 1
    assert high - low > 0.2


def test_groups_that_are_equally_good_do_not_make_an_accuracy_certain() -> None:
    """One answer for all clips of balanced groups is right for a third of each."""
    low, high = accuracy_interval([True, False, False] * 8, [str(number // 6) for number in range(24)])
    assert low < 0.25
    assert high > 0.45
