"""Averaged weights."""

import pytest
import torch

from tests.tiny import CONFIG
from tests.train.helpers import tiny_classifier
from videoswin.errors import ConfigError
from videoswin.model import create_model
from videoswin.train.average import move_towards
from videoswin.train.start import adopt


def test_moves_by_a_share_of_the_way():
    start, tuned = tiny_classifier(0), tiny_classifier(1)
    expected = {n: 0.75 * a + 0.25 * start.model.state_dict()[n] for n, a in tuned.model.state_dict().items()}
    move_towards(tuned.model, tuned.labels, start, 0.25)
    for name, tensor in tuned.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


def test_rows_of_new_labels_stay():
    """There is no start to go back to: half way to a random row the head names classes at random."""
    start, labels = tiny_classifier(0), ("clap", "wave", "jump")
    model, fresh = adopt(start, labels)
    assert fresh == ["clap", "jump"]
    assert model.head is not None
    assert start.model.head is not None
    before = model.head.fc.weight.detach().clone()
    with torch.no_grad():
        model.head.fc.weight[1] += 1
    move_towards(model, labels, start, 1.0)
    assert torch.equal(model.head.fc.weight[[0, 2]], before[[0, 2]])
    assert torch.equal(model.head.fc.weight[1], start.model.head.fc.weight[1])


def test_models_have_to_match():
    start = tiny_classifier()
    other = create_model(CONFIG.replace(embed_dim=2 * CONFIG.embed_dim), num_classes=2)
    with pytest.raises(ConfigError, match="one architecture"):
        move_towards(other, start.labels, start, 0.5)
