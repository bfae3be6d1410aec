"""``Classifier.logits``: what it does to the model, and that no answer comes from NaN."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.tiny import tiny_classifier, write_video
from videoswin.classifier.classifier import Classifier
from videoswin.cli.main import main
from videoswin.errors import ConfigError, WeightsError
from videoswin.predict.evaluation import evaluate
from videoswin.predict.scoring import predict, require_finite_logits, score_each_view

CLIPS = torch.zeros(2, 3, 8, 32, 32)


def test_each_module_keeps_its_own_mode() -> None:
    classifier = tiny_classifier()
    model = classifier.model
    expected = classifier.logits(CLIPS)
    model.train()
    model.backbone.patch_embed.eval()  # frozen, as fine-tuning does
    before = {name: module.training for name, module in model.named_modules()}
    assert torch.equal(classifier.logits(CLIPS), expected)  # no dropout
    assert {name: module.training for name, module in model.named_modules()} == before
    with pytest.raises(ConfigError, match="Axis H"):
        classifier.logits(CLIPS[..., :1, :])
    assert {name: module.training for name, module in model.named_modules()} == before


def test_the_type_is_that_of_the_layer_that_takes_the_clip() -> None:
    classifier = tiny_classifier()
    classifier.model.to(torch.bfloat16)
    seen: list[torch.dtype] = []
    classifier.model.backbone.patch_embed.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    classifier.model.backbone.norm.float()  # kept in float32, for the sake of precision
    classifier.model.backbone.norm.register_forward_pre_hook(lambda _, given: (given[0].float(),))
    classifier.model.backbone.norm.register_forward_hook(lambda _, __, out: out.bfloat16())
    logits = classifier.logits(CLIPS)
    assert seen == [torch.bfloat16]
    assert logits.dtype == torch.float32


@pytest.fixture
def broken() -> Classifier:
    """All weights finite, and its logits overflow."""
    classifier = tiny_classifier()
    with torch.no_grad():
        classifier.model.backbone.norm.bias.fill_(1)  # features that add up to 16
        classifier.model.head.fc.weight[1].fill_(3e38)  # type: ignore[union-attr]
    return classifier


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_bad_logit_is_enough(value: float) -> None:
    logits = torch.zeros(4, 3)
    assert require_finite_logits(logits, "tiny") is logits
    logits[2, 1] = value
    with pytest.raises(WeightsError, match="tiny: the model gives NaN or infinity in place of scores"):
        require_finite_logits(logits, "tiny")


def test_whatever_computes_them(tmp_path: Path) -> None:
    class Careless(Classifier):
        def logits(self, clips: Tensor) -> Tensor:
            return torch.full((len(clips), 3), float("nan"))

    tiny = tiny_classifier()
    careless = Careless(tiny.model, tiny.preprocessing, tiny.labels)
    with pytest.raises(WeightsError, match="NaN or infinity"):
        score_each_view(careless, CLIPS)
    with pytest.raises(WeightsError, match="NaN or infinity"):
        predict(careless, write_video(tmp_path / "v.mp4"))


def test_nan_is_no_label(broken: Classifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_video(tmp_path / "videos" / "clap" / "v.mp4")
    broken.save(tmp_path / "ck")
    with pytest.raises(WeightsError, match="NaN or infinity"):
        broken(clip)
    for arguments in (
        ["predict", str(clip)],
        ["predict", str(clip), "--json"],
        ["evaluate", str(tmp_path / "videos")],
        ["evaluate", str(tmp_path / "videos"), "--json"],
    ):
        assert main([*arguments, "--weights", str(tmp_path / "ck")]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "tiny: the model gives NaN or infinity in place of scores" in err


def test_evaluate_raises(broken: Classifier, tmp_path: Path) -> None:
    from videoswin.data.annotations import read_index

    write_video(tmp_path / "videos" / "clap" / "v.mp4")
    with pytest.raises(WeightsError, match="NaN or infinity"):
        evaluate(broken, read_index(tmp_path / "videos", labels=broken.labels).rows)


def test_what_a_checkpoint_says_of_itself_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_classifier().save(tmp_path / "ck")
    assert main(["info", str(tmp_path / "ck"), "--json"]) == 0
    json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(text))
