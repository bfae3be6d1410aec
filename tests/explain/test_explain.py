"""Evidence: what it sums to, that it follows the weights, and that the answer hangs on it."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.tiny import tiny_classifier, write_video
from videoswin.classifier.classifier import Classifier
from videoswin.cli.main import main
from videoswin.data.decode import open_video
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError
from videoswin.explain.evidence import find_evidence, strongest_box
from videoswin.explain.occlusion import PASSES, occlusion_evidence
from videoswin.explain.perturb import centre_map, curves, random_map
from videoswin.interface.ordered_head import OrderedHead
from videoswin.predict.answers import NONE
from videoswin.train.novelty import Nearness, set_memory
from videoswin.train.start import adopt
from videoswin.zoo.registry import create_model as create_any_model


@pytest.fixture
def clip() -> torch.Tensor:
    return torch.randn(3, 8, 32, 32)


def ranks(one: torch.Tensor) -> torch.Tensor:
    return one.flatten().argsort().argsort().double()


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([ranks(a), ranks(b)]))[0, 1])


def test_the_last_map_sums_to_the_logit(clip: torch.Tensor) -> None:
    classifier = tiny_classifier()
    found = find_evidence(classifier, clip, stage=2)
    with torch.inference_mode():
        logits = classifier.model(clip[None])[0]
    assert found.number == int(logits.argmax())
    expected = logits[found.number] - classifier.model.head.fc.bias.detach()[found.number]  # type: ignore[union-attr]
    assert float(found.signed.sum()) == pytest.approx(float(expected), abs=1e-4)
    assert float(found.positive.sum()) == pytest.approx(1)
    assert float(found.frames.sum()) == pytest.approx(1)


def taught_classifier() -> Classifier:
    """With the head of a taught model: it reads the parts of the clip in their order, and remembers three clips."""
    tiny = tiny_classifier()
    labels = (*tiny.labels, NONE)
    torch.manual_seed(1)
    model, _ = adopt(tiny, labels, head_parts=4, head_memory=3)
    assert isinstance(model.head, OrderedHead)
    with torch.no_grad():
        model.head.fc.weight.normal_(std=0.5)
        model.head.fc.bias.normal_()
    set_memory(model.head, torch.randn(3, model.head.fc.in_features), Nearness(2.0, 0.1))
    return Classifier(model.eval(), tiny.preprocessing, labels, "taught")


def test_the_last_map_of_a_taught_class_sums_to_its_logit(clip: torch.Tensor) -> None:
    """Each token adds by the weights of its own part of the clip. "None of these" comes from the memory, which is not linear."""
    classifier = taught_classifier()
    bias = classifier.model.head.fc.bias.detach()  # type: ignore[union-attr]
    with torch.inference_mode():
        logits = classifier.model(clip[None])[0]
    for number, label in enumerate(classifier.labels[:-1]):
        found = find_evidence(classifier, clip, label, stage=2)
        assert float(found.signed.sum()) == pytest.approx(float(logits[number] - bias[number]), abs=1e-4)
    none = find_evidence(classifier, clip, NONE, stage=2)
    assert none.signed.isfinite().all()
    assert float(none.signed.sum()) != pytest.approx(float(logits[-1] - bias[-1]), abs=1e-2)


@pytest.mark.parametrize("stage", [1, 2])
def test_maps_change_when_weights_do(clip: torch.Tensor, stage: int) -> None:
    """The parameter-randomisation test (Adebayo et al., 2018): from the head downwards, and all at once."""
    classifier = tiny_classifier()
    before = find_evidence(classifier, clip, "nod", stage)
    again = find_evidence(tiny_classifier(), clip, "nod", stage)
    assert torch.equal(before.signed, again.signed)
    torch.manual_seed(7)
    for part in (classifier.model.head, classifier.model.backbone.stages[-1], classifier.model.backbone):
        for module in part.modules():  # type: ignore[union-attr]
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=0.3)
        after = find_evidence(classifier, clip, "nod", stage)
        assert abs(correlation(before.signed, after.signed)) < 0.6


def test_evidence_lies_where_the_model_looks() -> None:
    """A head that reads one channel, which one place of the clip alone sets off."""
    classifier = tiny_classifier()
    clip = torch.zeros(3, 8, 32, 32)
    clip[:, 4:6, 8:16, 16:24] = 6 * torch.randn(3, 2, 8, 8)
    still = find_evidence(classifier, torch.zeros_like(clip), "nod", 1).signed
    moved = find_evidence(classifier, clip, "nod", 1)
    change = (moved.signed - still).abs()
    at = torch.unravel_index(change.argmax(), change.shape)
    assert int(at[0]) == 2  # 2 frames each
    assert 2 <= int(at[1]) < 4  # 4 pixels each
    assert 4 <= int(at[2]) < 6


def test_taking_out_what_counts_costs_more_than_chance(clip: torch.Tensor) -> None:
    classifier = tiny_classifier()
    found = find_evidence(classifier, clip, stage=1)
    mine = curves(classifier, clip, found, found.signed)
    others = [curves(classifier, clip, found, random_map(found, seed)) for seed in range(4)]
    assert float(mine.deletion[0]) == pytest.approx(found.score, abs=1e-5)
    assert float(mine.insertion[-1]) == pytest.approx(found.score, abs=1e-5)
    assert mine.deletion_area < sum(o.deletion_area for o in others) / 4
    assert mine.insertion_area > sum(o.insertion_area for o in others) / 4
    middle = torch.unravel_index(centre_map(found).argmax(), found.signed.shape)
    assert all(abs(int(at) - n / 2) <= 1 for at, n in zip(middle, found.signed.shape, strict=True))


def test_the_strongest_window_is_one_of_the_model(clip: torch.Tensor) -> None:
    classifier = tiny_classifier()
    found = find_evidence(classifier, clip, stage=1)
    box = strongest_box(classifier, found)
    (t0, t1), (y0, y1), (x0, x1) = box.frames, box.rows, box.columns
    inside = found.positive[t0 // 2 : -(-t1 // 2), y0 // 4 : -(-y1 // 4), x0 // 4 : -(-x1 // 4)]
    assert float(inside.sum()) == pytest.approx(box.share, abs=1e-5)
    assert 0 < box.share < 1


def bright(classifier: Classifier, clips: torch.Tensor) -> torch.Tensor:
    """A model that is surer of its second label, nod, the more contrast there is in one place: (N, 2)."""
    there = clips[:, :, 4:8, 16:24, 8:16].std(dim=(1, 2, 3, 4))
    return torch.stack([1 / (1 + there), there / (1 + there)], dim=1)


def test_hiding_boxes_finds_the_place_that_counts(clip: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videoswin.explain.perturb.score_each_view", bright)
    looks: list[int] = []
    found = occlusion_evidence(tiny_classifier(), clip, "nod", step=lambda: looks.append(1))
    assert len(looks) == PASSES
    at = torch.unravel_index(found.signed.argmax(), found.signed.shape)
    assert 2 <= int(at[0]) < 4  # 2 frames each
    assert 4 <= int(at[1]) < 6  # 4 pixels each
    assert 2 <= int(at[2]) < 4
    against = occlusion_evidence(tiny_classifier(), clip, "clap")
    assert correlation(found.signed, against.signed) < -0.9


def test_occlusion_maps_change_when_weights_do(clip: torch.Tensor) -> None:
    """The parameter-randomisation test, as for the gradient."""
    classifier = tiny_classifier()
    before = occlusion_evidence(classifier, clip, "nod")
    assert torch.equal(before.signed, occlusion_evidence(tiny_classifier(), clip, "nod").signed)
    torch.manual_seed(7)
    for part in (classifier.model.head, classifier.model.backbone.stages[-1], classifier.model.backbone):
        for module in part.modules():  # type: ignore[union-attr]
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=0.3)
        after = occlusion_evidence(classifier, clip, "nod")
        assert abs(correlation(before.signed, after.signed)) < 0.6


def test_hiding_what_counts_costs_more_than_chance(clip: torch.Tensor) -> None:
    classifier = tiny_classifier()
    found = occlusion_evidence(classifier, clip)
    mine = curves(classifier, clip, found, found.signed)
    for other in (random_map(found, 0), random_map(found, 1), centre_map(found)):
        theirs = curves(classifier, clip, found, other)
        assert mine.deletion_area < theirs.deletion_area
        assert mine.insertion_area > theirs.insertion_area


def test_what_cannot_be_explained_is_refused(clip: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match='"nod"'):
        find_evidence(tiny_classifier(), clip, "nodd")
    with pytest.raises(ConfigError, match="stages 1 to 2"):
        find_evidence(tiny_classifier(), clip, stage=3)
    with pytest.raises(ConfigError, match='"nod"'):
        occlusion_evidence(tiny_classifier(), clip, "nodd")
    other = create_any_model("r3d_18", num_classes=2).eval()
    with pytest.raises(ConfigError, match="map of every stage"):
        find_evidence(Classifier(other, Preprocessing(8, size=(32, 32), short_side=32), ("a", "b")), clip)


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_classifier().save(tmp_path / "m")
    video = write_video(tmp_path / "v.mp4")
    arguments = [str(video), "--weights", str(tmp_path / "m"), "--device", "cpu", "--out", str(tmp_path / "o")]
    assert main(["explain", *arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "o" / "explain.json").read_text())
    assert sum(report["evidence_frames"]) == pytest.approx(1, abs=1e-4)
    with Image.open(tmp_path / "o" / "explain.png") as sheet:
        assert sheet.size[0] > 224
    with open_video(tmp_path / "o" / "explain.mp4") as made:
        assert len(made) == 8
    assert report["method"] == "occlusion"
    assert main(["explain", *arguments, "--method", "gradient"]) == 0  # its own files may be replaced
