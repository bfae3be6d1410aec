"""Where a model runs."""

import pytest
import torch

from videoswin.classifier.device import choose_device
from videoswin.errors import ConfigError


def test_auto_is_the_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda")


def test_a_named_device():
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_one_line(name: str):
    with pytest.raises(ConfigError) as error:
        choose_device(name)
    assert "\n" not in str(error.value)
    assert f'device="{name}"' in str(error.value)
