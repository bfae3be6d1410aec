"""The model card: what hubs read of it, and what people do."""

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from tests.tiny import tiny_classifier
from videoswin.classifier.card import model_card
from videoswin.classifier.classifier import Classifier
from videoswin.classifier.facts import check_card
from videoswin.classifier.loading import load
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, WeightsError
from videoswin.predict.answers import SeveralLabels
from videoswin.zoo.papers import paper_of
from videoswin.zoo.registry import CONFIGS, create_model


def card_of(classifier: Classifier) -> str:
    return model_card(classifier.facts, classifier.num_parameters)


def read(classifier: Classifier) -> Any:
    """As a hub reads it."""
    return ModelCard(card_of(classifier))


def test_nothing_is_claimed_that_is_not_known() -> None:
    header = read(tiny_classifier()).data.to_dict()
    assert header == {
        "library_name": "videoswin",
        "pipeline_tag": "video-classification",
        "tags": ["video-classification", "video-swin-transformer", "videoswin"],
    }
    text = card_of(tiny_classifier())
    assert "Nothing was recorded" in text
    assert "No accuracy on held-out videos is recorded" in text
    assert "5,828 parameters" in text
    assert "`clap`, `nod`, `wave`." in text


def test_what_is_known_stands_in_the_header() -> None:
    classifier = tiny_classifier()
    classifier.card = {
        "license": "apache-2.0",
        "datasets": ["me/clips"],
        "base_model": "me/start",
        "tags": ["gestures", "videoswin"],
        "text": "Made for the kitchen.",
    }
    classifier.metrics = {"epoch": 12, "train_top1": 0.99, "val_top1": 0.9, "val_mean_class": 0.85}
    card = read(classifier)
    header = card.data.to_dict()
    assert (header["license"], header["datasets"], header["base_model"]) == ("apache-2.0", ["me/clips"], "me/start")
    assert header["tags"] == ["video-classification", "video-swin-transformer", "videoswin", "gestures"]
    assert card.data.eval_results is not None
    found = {(r.metric_type, r.metric_name, r.metric_value, r.dataset_split) for r in card.data.eval_results}
    assert found == {("accuracy", "val_top1", 0.9, "val"), ("mean_class", "val_mean_class", 0.85, "val")}
    assert "| val_top1 | 90.0 % |" in card.text
    assert "| epoch | 12 |" in card.text
    assert "chose the epoch" in card.text
    assert "Made for the kitchen." in card.text


@pytest.mark.parametrize(
    ("preprocessing", "words"),
    [
        (Preprocessing(clip_len=8, size=(32, 32), short_side=36), "8 frames, one in 2; the shorter side of each frame becomes 36"),
        (Preprocessing(clip_len=8, size=(32, 32), short_side=None, sampling="uniform"), "spread over the whole video; each frame is stretched"),
        (Preprocessing(clip_len=8, size=(32, 32), short_side=32, sampling="time", fps=7.5), "7.5 frames per second"),
    ],
)  # fmt: skip
def test_preprocessing_in_words(preprocessing: Preprocessing, words: str) -> None:
    assert words in card_of(tiny_classifier(preprocessing=preprocessing))


@pytest.mark.parametrize(
    ("model", "tag", "words"),
    [
        (
            "swin3d_micro",
            "video-swin-transformer",
            "Video Swin Transformer (Liu et al., 2021, arXiv 2106.13230): a model",
        ),
        ("r2plus1d_micro", "r2plus1d", "R(2+1)D (Tran et al., 2018, arXiv 1711.11248): a model"),
    ],
)
def test_the_system_is_named(model: str, tag: str, words: str) -> None:
    network = create_model(model, num_classes=2)
    side = 56
    clips = Preprocessing(clip_len=16, sampling="uniform", size=(side, side), short_side=side)
    text = card_of(Classifier(network, clips, ("nod", "wave"), name="mine"))
    assert words in text
    assert f'tags: ["video-classification", "{tag}", "videoswin"]' in text
    assert ("Video Swin" in text) == (model == "swin3d_micro")


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_model_has_a_paper(name: str) -> None:
    paper = paper_of(CONFIGS[name])
    assert "arXiv" in paper.citation
    assert (paper.tag == "video-swin-transformer") == name.startswith("swin3d")


def test_papers_go_by_the_configuration() -> None:
    names = {"i3d": "I3D", "s3dg": "S3D-G", "c2d_r50_nl": "C2D with non-local blocks", "i3d_r50_gc": "I3D ResNet with global context blocks",
             "slowonly_r50": "SlowOnly", "mc3_18": "MC3", "mvit_v2_b": "MViTv2", "deit_b_16_distilled": "DeiT on frames"}  # fmt: skip
    assert {name: paper_of(CONFIGS[name]).name for name in names} == names


def test_several_labels_are_no_single_answer() -> None:
    classifier = tiny_classifier()
    classifier.answer = SeveralLabels((0.5, 0.5, 0.5))
    assert "gives a video any of 3 labels, several or none" in card_of(classifier)


def test_a_threshold_is_explained() -> None:
    classifier = tiny_classifier()
    assert "gets one of them too" in card_of(classifier)
    classifier.none_threshold = 0.4
    assert "A best score below 0.4 means none of these labels." in card_of(classifier)
    assert "gets one of them too" not in card_of(classifier)


@pytest.mark.parametrize(
    "text", ["---\nlicense: mit\n---", "a: b # c", '"quoted"', "tab\there", "\x7f\u2028\x00", "日本 🎬"]
)
def test_no_text_breaks_out_of_its_place(text: str) -> None:
    classifier = tiny_classifier(labels=(text, "b|`c`", "<script>"))
    classifier.name = classifier.notes = text
    classifier.metrics = {text: text, "test_top1": 0.5}
    card = read(classifier)
    assert "license" not in card.data.to_dict()
    assert card.data.library_name == "videoswin"
    assert card.data.eval_results is not None
    assert card.content.count("\n---\n") == 1
    assert "<script>" not in card.text


def test_long_lists_of_labels_are_cut() -> None:
    text = card_of(tiny_classifier(labels=tuple(f"label {i}" for i in range(60))))
    assert "`label 49` and 10 more, in config.json." in text


@pytest.mark.parametrize(
    ("card", "reason"),
    [({"licence": "mit"}, 'Did you mean "license"'), ({"tags": [3]}, "Use text"), ({"text": ["a"]}, "Use text")],
)
def test_fields_are_checked(card: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        check_card(card)


def test_a_card_that_could_not_be_read_again_is_not_saved(tmp_path: Path) -> None:
    classifier = tiny_classifier()
    classifier.card = {"licence": "mit"}
    with pytest.raises(ConfigError, match='Did you mean "license"'):
        classifier.save(tmp_path / "ck")
    assert list(tmp_path.iterdir()) == []


def test_saved_with_the_checkpoint_and_never_read(tmp_path: Path) -> None:
    classifier = tiny_classifier()
    classifier.card = {"license": "mit"}
    classifier.save(tmp_path / "ck")
    readme = tmp_path / "ck" / "README.md"
    assert readme.read_text(encoding="utf-8") == card_of(classifier)
    readme.unlink()
    assert load(tmp_path / "ck").card == {"license": "mit"}


def test_a_folder_from_before_cards_is_read(tmp_path: Path) -> None:
    tiny_classifier().save(tmp_path / "ck")
    config = tmp_path / "ck" / "config.json"
    settings = json.loads(config.read_text())
    for name in ("card", "model_type", "architectures"):
        del settings[name]
    config.write_text(json.dumps(settings))
    assert load(tmp_path / "ck").card == {}
    config.write_text(json.dumps({**settings, "card": {"licence": "mit"}}))
    with pytest.raises(WeightsError, match='Did you mean "license"'):
        load(tmp_path / "ck")
