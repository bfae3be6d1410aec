"""Weights between two points of training."""

import pytest
import torch

from tests.train.helpers import tiny_classifier
from videoswin.errors import ConfigError
from videoswin.model import create_model
from videoswin.train.average import move_towards


def test_moves_by_a_share_of_the_way():
    model, other = (create_model(tiny_classifier().model.config) for _ in range(2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    move_towards(model, other, 0.25)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, 0.75 * before[name] + 0.25 * other.state_dict()[name])


def test_models_have_to_match():
    model = tiny_classifier().model
    with pytest.raises(ConfigError, match="one architecture"):
        move_towards(model, create_model(model.config, num_classes=7), 0.5)
