"""What a run may be asked to do."""

import math
from typing import Any

import pytest

from videoswin.errors import ConfigError
from videoswin.train.settings import TrainSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("workers", -1),
        ("keep_epochs", -1),
        ("lr", 0.0),
        ("lr", -1e-3),
        ("lr", math.nan),
        ("lr", math.inf),
        ("backbone_lr_ratio", 0.0),
        ("max_grad_norm", -1.0),
        ("max_grad_norm", math.nan),
        ("weight_decay", -0.1),
        ("weight_decay", math.nan),
        ("warmup_epochs", -1.0),
        ("warmup_epochs", math.inf),
        ("label_smoothing", -0.1),
        ("label_smoothing", 1.0),
        ("label_smoothing", math.nan),
        ("precision", "fp8"),
        ("accumulate", 0),
        ("layer_decay", 0.0),
        ("layer_decay", 1.5),
        ("ema", 1.0),
        ("mixup", -0.1),
        ("cutmix", math.nan),
        ("repeat", 0),
        ("balance", "class"),
        ("strategy", "dp"),
        ("schedule", "iter"),
        ("save_every", -1.0),
        ("optimizer", "adam"),
        ("momentum", 1.0),
        ("lr_drops", [0.9, 0.5]),
        ("lr_drops", [0.5, 1.0]),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", 2**70),
    ],
)
def test_refused(name: str, value: Any):
    with pytest.raises(ConfigError) as error:
        TrainSettings(**{name: value})
    assert name in str(error.value)
    assert str(value) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_nearest_precision_is_named():
    with pytest.raises(ConfigError, match="bf16"):
        TrainSettings(precision="bf_16")  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("warmup_epochs", 0.0), ("weight_decay", 0.0), ("keep_epochs", 0)])
def test_zero_may_be_meant(name: str, value: Any):
    assert getattr(TrainSettings(**{name: value}), name) == 0


def test_what_does_not_shape_the_weights():
    assert (
        TrainSettings(workers=0).what_shapes_the_weights()
        == TrainSettings(workers=3, keep_epochs=9).what_shapes_the_weights()
    )
    for change in ({"lr": 1e-3}, {"epochs": 31}, {"seed": 1}, {"precision": "bf16"}, {"batch_size": 9}):
        assert TrainSettings(**change).what_shapes_the_weights() != TrainSettings().what_shapes_the_weights()  # type: ignore[arg-type]


def test_drops_of_the_rate_and_their_schedule_belong_together():
    assert TrainSettings(schedule="drops", lr_drops="0.5,0.9").lr_drops == (0.5, 0.9)  # type: ignore[arg-type]  # of a file
    with pytest.raises(ConfigError, match="numbers with commas"):
        TrainSettings(schedule="drops", lr_drops="half")  # type: ignore[arg-type]
    for halves in ({"schedule": "drops"}, {"lr_drops": (0.5,)}):
        with pytest.raises(ConfigError, match=r"Give both|needs lr_drops"):
            TrainSettings(**halves)  # type: ignore[arg-type]
