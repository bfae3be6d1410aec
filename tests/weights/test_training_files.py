"""Checkpoints as trainings write them: the same weights, wherever they stand and whatever stands beside them."""

import argparse
import collections
import datetime
import itertools
import pathlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.weights.golden import FILES
from tests.weights.pickles import class_of
from videoswin.errors import WeightsError
from videoswin.weights.checkpoint import inspect_checkpoint, load_checkpoint
from videoswin.weights.containers.read import read_container

OFFICIAL = FILES["official"]


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return read_container(OFFICIAL).tensors


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(tree: Any, legacy: bool = False, name: str = "w.pth") -> Path:
        torch.save(tree, tmp_path / name, _use_new_zipfile_serialization=not legacy)
        return tmp_path / name

    return save


Saved = Callable[..., Path]
Weights = dict[str, Tensor]


def below(prefix: str, weights: Weights) -> Weights:
    return {prefix + name: tensor for name, tensor in weights.items()}


def changed(weights: Weights) -> Weights:
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def require_same(path: Path, weights: Weights, **options: Any) -> Any:
    model, report = load_checkpoint(path, **options)
    state = model.state_dict()
    for name, tensor in weights.items():
        ours = name.replace("cls_head.fc_cls", "head.fc")
        if not name.endswith("index"):
            assert torch.equal(state[ours], tensor), name
    assert report.missing == report.unexpected == report.fresh == ()
    return report


# --- names ---

WORDS = ("_orig_mod.", "model.", "module.")
ORDERS = ["".join(order) for n in range(1, 4) for order in itertools.permutations(WORDS, n)]


@pytest.mark.parametrize(
    "prefix",
    [
        *ORDERS,
        "module.module.",
        "_orig_mod.model._orig_mod.",
        "net.",
        "student.encoder.",
        "_fsdp_wrapped_module.model.",
    ],
)
def test_prefixes(saved: Saved, weights: Weights, prefix: str) -> None:
    assert require_same(saved({"state_dict": below(prefix, weights)}), weights).prefix == prefix


def test_wrappers_inside_the_names(saved: Saved, weights: Weights) -> None:
    """A stage or the backbone alone was compiled, checkpointed or made parallel."""
    names = {
        name: name.replace("backbone.", "backbone.module.").replace(
            "layers.0.", "layers.0._orig_mod._checkpoint_wrapped_module."
        )
        for name in weights
    }
    require_same(saved({names[name]: tensor for name, tensor in weights.items()}), weights)


def test_losses_and_counters_beside_the_model_are_ignored(saved: Saved, weights: Weights) -> None:
    tree = {**below("model.", weights), "loss.weight": torch.ones(2), "steps": torch.tensor(3)}
    assert require_same(saved({"state_dict": tree}), weights).ignored == ("loss.weight", "steps")


def test_an_averaged_model(saved: Saved, weights: Weights) -> None:
    tree = {**below("module.", weights), "n_averaged": torch.tensor(5)}
    assert require_same(saved(tree), weights).ignored == ("n_averaged",)


def test_a_backbone_below_a_prefix(saved: Saved, weights: Weights) -> None:
    """A detector: its head is not ours."""
    bare = {name.removeprefix("backbone."): tensor for name, tensor in weights.items() if name.startswith("backbone")}
    path = saved({"model": {**below("encoder.trunk.", bare), "roi_head.weight": torch.ones(2, 2)}})
    report = inspect_checkpoint(path)
    assert (report.family, report.prefix, report.ignored) == ("official_bare", "encoder.trunk.", ("roi_head.weight",))
    assert "none: a backbone, from which a training starts" in str(report)
    model, report = load_checkpoint(path, num_classes=3)
    assert model.config.num_classes == 3
    assert report.fresh == ("head.fc.weight", "head.fc.bias")


def test_two_models_are_asked_about(saved: Saved, weights: Weights) -> None:
    path = saved({"state_dict": {**below("left.", weights), **below("right.", changed(weights))}})
    with pytest.raises(WeightsError, match=r'2 models, below left, right.*container="state_dict/left"'):
        load_checkpoint(path)
    require_same(path, changed(weights), container="state_dict/right")


def test_a_teacher_is_left_out(saved: Saved, weights: Weights) -> None:
    path = saved({**below("module.student.", weights), **below("module.teacher.", changed(weights))})
    assert require_same(path, weights).prefix == "module.student."
    require_same(path, changed(weights), container="module/teacher")


# --- containers ---


@pytest.mark.parametrize(
    "container",
    [
        "state_dict",
        "model",
        "model_state_dict",
        "model_state",
        "module",
        "net",
        "weights",
        "state_dict_ema",
        "ema",
        "mine",
    ],
)
def test_containers(saved: Saved, weights: Weights, container: str) -> None:
    path = saved({container: weights, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2, 2)}}}})
    report = require_same(path, weights)
    assert report.container == container
    assert report.ignored == ("epoch", "optimizer")


@pytest.mark.parametrize("inner", ["module", "state_dict"])
def test_containers_in_containers(saved: Saved, weights: Weights, inner: str) -> None:
    assert require_same(saved({"ema": {inner: weights, "decay": 0.9}}), weights).container == f"ema/{inner}"


@pytest.mark.parametrize(
    ("plain", "averaged"), [("state_dict", "state_dict_ema"), ("model", "model_ema"), ("net", "ema")]
)
def test_plain_weights_come_before_averaged_ones(saved: Saved, weights: Weights, plain: str, averaged: str) -> None:
    path = saved({averaged: changed(weights), plain: weights})
    report = require_same(path, weights)
    assert (report.container, report.other_containers) == (plain, (averaged,))
    assert f'{plain}; also there: {averaged} (taken with container="{averaged}")' in str(report)
    report = require_same(path, changed(weights), container=averaged)
    assert f"{averaged}, an average of the weights" in str(report)


def test_mmengines_average_is_named(saved: Saved, weights: Weights) -> None:
    report = require_same(saved({"state_dict": weights, "ema_state_dict": below("module.", changed(weights))}), weights)
    assert "in files of MMEngine the average of ema_state_dict" in str(report)


def test_tables_of_other_names_are_asked_about(saved: Saved, weights: Weights) -> None:
    path = saved({"generator": weights, "critic": changed(weights)})
    with pytest.raises(WeightsError, match=r'2 tables of tensors: generator, critic.*container="generator"'):
        load_checkpoint(path)
    require_same(path, changed(weights), container="critic")
    with pytest.raises(WeightsError, match=r'no table of tensors "net".*"generator", "critic"'):
        load_checkpoint(path, container="net")


def test_safetensors_have_no_containers() -> None:
    with pytest.raises(WeightsError, match="no containers"):
        load_checkpoint(FILES["timm"], container="model")


# --- what stands beside the weights ---


@pytest.mark.parametrize("legacy", [False, True])
def test_mmaction2s_own_checkpoint(
    saved: Saved, weights: Weights, monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    buffer = class_of(monkeypatch, "mmengine.logging.history_buffer", "HistoryBuffer")()
    buffer._log_history = np.arange(30_000.0)
    tree = {
        "meta": {"epoch": 3, "time": datetime.datetime(2026, 11, 26), "best": np.float64(0.5)},
        "state_dict": weights,
        "message_hub": {"log_scalars": collections.OrderedDict({"train/loss": buffer})},
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    }
    path = saved(tree, legacy)
    monkeypatch.undo()
    report = require_same(path, weights)
    assert report.ignored == ("meta", "message_hub", "optimizer")
    assert "mmengine.logging.history_buffer.HistoryBuffer" in report.not_built
    assert "HistoryBuffer" in str(report)


def test_settings_of_all_frameworks(saved: Saved, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    config = class_of(monkeypatch, "yacs.config", "CfgNode", dict)(lr=0.1)
    config.__dict__["immutable"] = True
    omega = class_of(monkeypatch, "omegaconf.dictconfig", "DictConfig")()
    omega._content = {"a": 1}
    attributes = class_of(monkeypatch, "lightning.fabric.utilities.data", "AttributeDict", dict)(x=1)
    tree = {
        "model": weights,
        "args": argparse.Namespace(lr=0.1, output_dir=pathlib.Path("runs")),
        "config": config,
        "hyper_parameters": {"omega": omega, "attributes": attributes},
        "history": collections.defaultdict(list, loss=[0.1]),
        "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.1), "dirpath": pathlib.PurePosixPath("runs")}},
    }
    path = saved(tree)
    monkeypatch.undo()
    report = require_same(path, weights)
    assert set(report.ignored) == set(tree) - {"model"}
    assert {"argparse.Namespace", "yacs.config.CfgNode", "omegaconf.dictconfig.DictConfig"} <= set(report.not_built)


def test_a_table_of_a_class_of_its_own(saved: Saved, weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved({"state_dict": class_of(monkeypatch, "addict", "Dict", dict)(weights)})
    monkeypatch.undo()
    require_same(path, weights)


def test_parameters_and_tensors_with_attributes(saved: Saved, weights: Weights) -> None:
    parameters = {name: nn.Parameter(t, t.is_floating_point()) for name, t in weights.items()}
    for parameter in parameters.values():
        parameter.note = "mine"  # type: ignore[attr-defined]
    require_same(saved({"model": parameters}), weights)


def test_a_whole_module_of_a_class_that_is_not_there(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    made = class_of(monkeypatch, "their.models", "Net", nn.Module)()
    made.stem = nn.Conv3d(3, 4, 2)
    made.layers = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.BatchNorm1d(2))
    made.register_buffer("mean", torch.ones(3))
    state = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    path = saved({"model": made, "epoch": 1})
    monkeypatch.undo()
    contents = read_container(path)
    assert contents.tensors.keys() == state.keys()
    assert all(torch.equal(contents.tensors[name], tensor) for name, tensor in state.items())
    assert contents.not_built[0] == "their.models.Net"


def test_tensors_that_share_their_numbers_become_two(saved: Saved) -> None:
    one = torch.arange(12.0).view(3, 4)
    read = read_container(saved({"a": one, "b": one, "c": one[1:], "d": one.T})).tensors
    assert torch.equal(read["c"], one[1:])
    assert torch.equal(read["d"], one.T)
    read["a"].zero_()
    assert torch.equal(read["b"], one)


def test_a_sparse_weight_is_no_weight(saved: Saved, weights: Weights) -> None:
    sparse = {**weights, "backbone.norm.bias": weights["backbone.norm.bias"].to_sparse()}
    with pytest.raises(WeightsError, match=r'"backbone.norm.bias" is sparse'):
        load_checkpoint(saved({"state_dict": sparse}))


def test_names_that_would_become_one(saved: Saved) -> None:
    with pytest.raises(WeightsError, match='two tensors of the name "1"'):
        read_container(saved({1: torch.ones(2, 2), "1": torch.ones(2, 2)}))
