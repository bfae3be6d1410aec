"""The optimiser's groups and the schedule."""

import math

import pytest
from torch.optim import SGD

from tests.tiny import CONFIG
from videoswin.model import create_model
from videoswin.train.optim import build_optimizer, dropping_factor, learning_rate_factor


def groups_by_name(ratio: float = 0.1) -> dict[str, dict]:
    """Every parameter's group."""
    model = create_model(CONFIG)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, 1e-3, ratio, 0.05)
    return {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}


def test_every_parameter_is_in_one_group():
    model = create_model(CONFIG)
    groups = build_optimizer(model, 1e-3, 0.1, 0.05).param_groups
    members = [id(p) for group in groups for p in group["params"]]
    assert sorted(members) == sorted(id(p) for p in model.parameters())
    assert len(groups) == 4


def test_the_head_learns_faster():
    for name, group in groups_by_name().items():
        assert group["base_lr"] == pytest.approx(1e-3 if name.startswith("head.") else 1e-4), name


def test_norms_biases_and_bias_tables_do_not_decay():
    decayed = {name for name, group in groups_by_name().items() if group["weight_decay"]}
    kept = {name for name, group in groups_by_name().items() if not group["weight_decay"]}
    assert all(name.endswith(".weight") and "norm" not in name for name in decayed)
    assert any("relative_position_bias_table" in name for name in kept)
    assert any("norm" in name and name.endswith(".weight") for name in kept)
    assert {name for name in decayed | kept if name.endswith(".bias")} <= kept
    assert {"head.fc.weight", "backbone.patch_embed.proj.weight"} <= decayed
    assert all(group["weight_decay"] in (0.0, 0.05) for group in groups_by_name().values())


def test_frozen_parameters_are_left_out():
    model = create_model(CONFIG)
    model.backbone.requires_grad_(False)
    groups = build_optimizer(model, 1e-3, 0.1, 0.05).param_groups
    assert {group["name"] for group in groups} == {"head"}


def test_schedule_rises_in_a_line_then_falls_in_a_cosine():
    rates = [learning_rate_factor(step, 14, 4) for step in range(14)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[9] == pytest.approx(0.5)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.03


def test_schedule_without_warmup_starts_at_the_top():
    assert learning_rate_factor(0, 10, 0) == 1
    assert learning_rate_factor(5, 10, 0) == pytest.approx(0.5)


def test_schedule_never_leaves_its_range():
    for total in (1, 2, 7):
        for warmup in (0, 1, 2, 7, 20):
            for step in range(total + 3):
                factor = learning_rate_factor(step, total, warmup)
                assert 0 <= factor <= 1, (step, total, warmup)
                assert math.isfinite(factor)


def test_sgd_has_the_same_groups():
    model = create_model(CONFIG)
    adamw, sgd = (build_optimizer(model, 1e-3, 0.1, 0.05, optimizer=name, momentum=0.8) for name in ("adamw", "sgd"))
    assert type(sgd) is SGD
    assert len(sgd.param_groups) == len(adamw.param_groups)
    for group, other in zip(sgd.param_groups, adamw.param_groups, strict=True):
        assert [id(p) for p in group["params"]] == [id(p) for p in other["params"]]
        assert (group["base_lr"], group["weight_decay"]) == (other["base_lr"], other["weight_decay"])
        assert group["momentum"] == 0.8


def test_the_rate_drops_after_a_rise():
    rates = [dropping_factor(step, 20, 4, (0.5, 0.9)) for step in range(20)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1.0] + [1.0] * 6 + [0.1] * 8 + [0.01] * 2)
