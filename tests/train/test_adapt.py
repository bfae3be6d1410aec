"""Which parameters learn, and that what is saved is a plain model."""

from pathlib import Path

import pytest
import torch

from tests.train.helpers import Recorder, interrupter, same, tiny_classifier, tiny_trainer
from videoswin.classifier.loading import load
from videoswin.errors import ConfigError, Interrupted, MissingExtraError
from videoswin.train.adapt import Adaptation, adapt, describe, folded, learning, parse_adaptation, save_adapter
from videoswin.train.loop import Trainer


def test_ways_by_name():
    assert parse_adaptation("full") == Adaptation("full", 0)
    assert parse_adaptation("last:3") == Adaptation("last", 3)
    assert str(parse_adaptation("last:3")) == "last:3"


@pytest.mark.parametrize("text", ["", "ful", "last", "last:0", "last:x", "head:2", "bitfit:1", "last:-1"])
def test_refused(text: str):
    with pytest.raises(ConfigError, match="adapt="):
        parse_adaptation(text)


def learns(way: str) -> set[str]:
    model = tiny_classifier().model
    adapt(model, parse_adaptation(way))
    return set(learning(model))


def test_what_learns():
    everything = learns("full")
    head = {"head.fc.weight", "head.fc.bias"}
    assert learns("head") == head
    last = learns("last:1")
    assert head < last < everything
    blocks = {
        name.rsplit("blocks.", 1)[0] + name.rsplit("blocks.", 1)[1].split(".")[0] for name in last if "blocks" in name
    }
    assert len(blocks) == 1
    assert "backbone.norm.weight" in last
    assert learns("bitfit") == {name for name in everything if name.endswith(".bias")} | {"head.fc.weight"}


def test_more_blocks_than_there_are():
    with pytest.raises(ConfigError, match=r"last:99 asks for more"):
        adapt(tiny_classifier().model, Adaptation("last", 99))


@pytest.mark.parametrize("way", ["head", "last:1", "bitfit"])
def test_only_what_learns_changes(videos: Path, tmp_path: Path, way: str, without_pictures: None):
    trainer = adapted_trainer(videos, tmp_path / "run", way)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.run(Recorder())
    changed = {name for name, tensor in trainer.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(learning(trainer.model))
    assert same(load(tmp_path / "run" / "best").model.state_dict(), trainer.model.state_dict())


def adapted_trainer(videos: Path, out: Path, way: str, epochs: int = 2) -> Trainer:
    plain = tiny_trainer(videos, out, validate=False, epochs=epochs)
    return Trainer(tiny_classifier(), plain.train_clips, None, plain.settings, out, parse_adaptation(way))


def test_a_still_backbone_has_no_stochastic_depth(videos: Path, tmp_path: Path):
    from videoswin.train.adapt import set_training

    model = adapted_trainer(videos, tmp_path, "head").model
    set_training(model)
    assert not model.backbone.training
    assert model.head is not None
    assert model.head.training


def test_what_is_said():
    model = tiny_classifier().model
    adapt(model, Adaptation("head"))
    assert describe(model, Adaptation("head")).startswith("head: the head: 34 of ")


def test_no_adapter_but_loras(tmp_path: Path):
    with pytest.raises(ConfigError, match="only lora has"):
        save_adapter(tiny_classifier().model, Adaptation("head"), tmp_path)


# LoRA -----------------------------------------------------------------------------------------------------------------

peft_is_there = True
try:
    parse_adaptation("lora")
except MissingExtraError:
    peft_is_there = False
needs_peft = pytest.mark.skipif(not peft_is_there, reason="peft is not installed")


def test_without_peft_one_line_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'videoswin\[lora\]'"):
        parse_adaptation("lora")


@needs_peft
def test_lora_begins_where_the_model_was_and_folds_in():
    classifier = tiny_classifier()
    clips = torch.randn(2, 3, 4, 16, 16)
    before = classifier.logits(clips)
    adapt(classifier.model, parse_adaptation("lora:2"))
    torch.testing.assert_close(classifier.logits(clips), before)
    assert any("lora_B" in name for name in learning(classifier.model))
    with torch.no_grad():
        for name, parameter in learning(classifier.model).items():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
    after = classifier.logits(clips)
    assert not torch.allclose(after, before, atol=1e-3)
    plain = tiny_classifier()
    plain.model = folded(classifier.model)
    assert plain.model is not classifier.model
    assert plain.model.state_dict().keys() == tiny_classifier().model.state_dict().keys()
    torch.testing.assert_close(plain.logits(clips), after, atol=1e-5, rtol=1e-5)


@needs_peft
def test_a_lora_run_saves_plain_checkpoints_and_can_be_resumed(videos: Path, tmp_path: Path, without_pictures: None):
    whole = adapted_trainer(videos, tmp_path / "whole", "lora:2", epochs=3)
    whole.run(Recorder())
    cut = adapted_trainer(videos, tmp_path / "cut", "lora:2", epochs=3)
    with pytest.raises(Interrupted):
        cut.run(interrupter(2, 1))
    assert load(tmp_path / "cut" / "last").labels == ("nod", "wave")
    again = adapted_trainer(videos, tmp_path / "cut", "lora:2", epochs=3)
    again.resume()
    again.run(Recorder())
    assert same(learning(again.model), learning(whole.model))
    assert same(
        load(tmp_path / "cut" / "best").model.state_dict(), load(tmp_path / "whole" / "best").model.state_dict()
    )
    started = tiny_classifier().model.backbone.state_dict()
    frozen = load(tmp_path / "whole" / "best").model.backbone.state_dict()
    assert torch.equal(frozen["patch_embed.proj.weight"], started["patch_embed.proj.weight"])
    save_adapter(whole.model, whole.adaptation, tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_config.json").is_file()
