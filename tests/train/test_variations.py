"""What clips and targets go through: mixed, weighed, varied; and the rules of parameters and rates."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import CONFIG
from tests.train.helpers import Recorder, tiny_trainer
from videoswin.data.dataset import clip_generator
from videoswin.data.rand_augment import OPERATIONS, RandAugment
from videoswin.errors import ConfigError
from videoswin.model import create_model
from videoswin.train.ema import Average
from videoswin.train.mixing import Mixing
from videoswin.train.optim import build_optimizer, stepwise_factor
from videoswin.train.targets import OneLabel, class_weights


def test_mixup_blends_clips_and_labels():
    clips, targets = torch.stack([torch.zeros(3, 2, 8, 8), torch.ones(3, 2, 8, 8)]), torch.eye(2)
    mixed, labels = Mixing(mixup=0.8)(clips, targets, clip_generator(0, 0, 1))
    assert torch.allclose(labels.sum(1), torch.ones(2))
    assert torch.allclose(mixed[0], labels[0, 1].expand_as(mixed[0]))
    assert 0 < labels[0, 0] < 1


def test_cutmix_is_the_same_in_all_frames_and_labels_are_areas():
    clips, targets = torch.stack([torch.zeros(3, 4, 8, 8), torch.ones(3, 4, 8, 8)]), torch.eye(2)
    for seed in range(20):
        mixed, labels = Mixing(cutmix=1.0)(clips, targets, clip_generator(0, 0, seed))
        assert (mixed[0] == mixed[0, :1, :1]).all()
        assert mixed[0].mean().item() == pytest.approx(labels[0, 1].item())
    assert not Mixing().on


def test_soft_targets_are_the_hard_ones():
    logits, labels = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    targets = OneLabel(4, smoothing=0.1)
    torch.testing.assert_close(targets.loss(logits, labels), targets.loss(logits, targets.shares(labels)))
    steps = torch.randn(5, 3, 4)
    torch.testing.assert_close(targets.loss(steps, labels), targets.loss(steps, targets.shares(labels)))


def test_rare_classes_weigh_more():
    weights = class_weights(("a", "b"), [("a",)] * 6 + [("b",)] * 2)
    assert weights.tolist() == pytest.approx([2 / 3, 2.0])
    targets = OneLabel(2, weights=weights)
    logits = torch.zeros(8, 2)
    labels = torch.tensor([0] * 6 + [1] * 2)
    assert targets.loss(logits, labels).item() == pytest.approx(torch.log(torch.tensor(2.0)).item())


def test_accumulated_batches_are_one_large_batch(videos: Path, tmp_path: Path):
    """To rounding, with nothing drawn by batch."""
    losses = []
    variants: list[dict[str, Any]] = [{"batch_size": 8}, {"batch_size": 2, "accumulate": 4}]
    for settings in variants:
        trainer = tiny_trainer(videos, tmp_path / str(len(losses)), epochs=2, validate=False, **settings)
        for module in trainer.model.modules():
            if "Drop" in type(module).__name__:
                module.p = module.rate = 0.0  # type: ignore[assignment]
        trainer.model.eval().train = lambda mode=True, model=trainer.model: model  # type: ignore[method-assign]
        losses.append([row.train_loss for row in trainer.run(Recorder())])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_an_average_follows_slowly():
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    average = Average(layer, 0.5)
    torch.nn.init.ones_(layer.weight)
    average.update(100)
    with average.in_place():
        assert layer.weight.item() == 0.5
    assert layer.weight.item() == 1.0


# RandAugment ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_treat_all_frames_alike(name: str):
    frame = torch.randint(0, 256, (12, 14, 3), dtype=torch.uint8)
    frames = frame.expand(4, -1, -1, -1).contiguous()
    for strength, sign in ((0.7, 1.0), (0.7, -1.0), (0.0, 1.0), (1.0, -1.0)):
        varied = OPERATIONS[name](frames, strength, sign)
        assert (varied.shape, varied.dtype) == (frames.shape, torch.uint8)
        assert (varied == varied[:1]).all()
    if name not in ("identity", "autocontrast", "equalize", "solarize"):
        assert not torch.equal(OPERATIONS[name](frames, 1.0, -1.0), frames)
    if name not in ("autocontrast", "equalize"):
        off = OPERATIONS[name](frames, 0.0, 1.0).int() - frames.int()
        assert off.abs().max() <= 1


def test_rand_augment_is_its_generators():
    frames = torch.randint(0, 256, (3, 10, 10, 3), dtype=torch.uint8)
    one, two, three = (RandAugment(4, 7)(frames, clip_generator(0, 0, seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    with pytest.raises(ConfigError, match="magnitude"):
        RandAugment(2, 11)


# Parameters and rates -------------------------------------------------------------------------------------------------------


def groups(rule: str, layer_decay: float = 1.0) -> dict[str, tuple[float, float]]:
    """(rate, decay) of every parameter."""
    model = create_model(replace(CONFIG, depths=(2, 2)))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, 1e-3, 0.1, 0.05, rule, layer_decay)
    return {names[id(p)]: (g["base_lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}


def test_what_the_public_runs_did_and_what_they_meant():
    block = "backbone.layers.0.blocks.0."
    meant, did = groups("intent"), groups("official")
    table = f"{block}attn.relative_position_bias_table"
    assert (meant[table], did[table]) == ((pytest.approx(1e-4), 0.0), (1e-3, 0.0))
    assert (meant[f"{block}norm1.weight"], did[f"{block}norm1.weight"]) == (
        (pytest.approx(1e-4), 0.0),
        (pytest.approx(1e-4), 0.05),
    )
    for rule in (meant, did):
        assert rule[f"{block}mlp.fc1.bias"] == (pytest.approx(1e-4), 0.05)
        assert rule["head.fc.weight"] == rule["head.fc.bias"] == (1e-3, 0.05)
    assert groups("plain")[f"{block}mlp.fc1.bias"] == (pytest.approx(1e-4), 0.0)


def test_earlier_layers_learn_more_slowly():
    rates = {name: rate for name, (rate, _) in groups("plain", 0.5).items()}
    assert rates["head.fc.weight"] == 1e-3
    assert rates["backbone.norm.weight"] == pytest.approx(1e-4)
    assert rates["backbone.layers.1.blocks.1.attn.proj.weight"] == pytest.approx(1e-4 / 2)
    assert rates["backbone.layers.1.blocks.0.attn.proj.weight"] == pytest.approx(1e-4 / 4)
    assert rates["backbone.layers.0.downsample.reduction.weight"] == pytest.approx(1e-4 / 8)
    assert rates["backbone.layers.0.blocks.0.norm1.weight"] == pytest.approx(1e-4 / 16)
    assert rates["backbone.patch_embed.proj.weight"] == pytest.approx(1e-4 / 32)


def test_the_public_codes_schedule():
    """A cosine by epochs from the first one on; while it warms up, a line from a tenth of it."""
    factors = [stepwise_factor(step, 4, 10, 2.5) for step in range(40)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[5] == pytest.approx(0.97552826 * 0.55, rel=1e-6)
    assert factors[12:16] == [pytest.approx(0.79389263)] * 4
    assert factors[36:] == [pytest.approx(0.02447174)] * 4
