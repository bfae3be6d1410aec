import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import videoswin
from tests.tiny import CONFIG, LABELS, PREPROCESSING, tiny_classifier, write_video
from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, VideoSwinError, WeightsError
from videoswin.export.runtime.open import open_classifier
from videoswin.model import create_model
from videoswin.train.start import DEFAULT_START
from videoswin.weights.safetensors import read_tensors, write_tensors


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    tiny_classifier().save(folder)
    return folder


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Rewrite config.json after ``edit`` changed it."""
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    edit(settings)
    path.write_text(json.dumps(settings))


def one_line(error: BaseException) -> str:
    assert "\n" not in str(error)
    return str(error)


def test_a_saved_classifier_loads_as_it_was(saved: Path) -> None:
    before, after = tiny_classifier(), load(saved)
    assert after.labels == before.labels
    assert after.preprocessing == before.preprocessing
    assert after.model.config == before.model.config
    assert after.name == "tiny"
    assert not after.model.training
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.inference_mode():
        assert torch.equal(after.model(clip), before.model(clip))
    assert all(p.requires_grad for p in after.model.parameters())
    assert sorted(p.name for p in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_everything_beside_the_weights_survives(tmp_path: Path) -> None:
    classifier = tiny_classifier()
    classifier.none_threshold, classifier.notes = 0.4, "made in a test – with a dash"
    classifier.metrics = {"val_top1": 0.5}
    classifier.save(tmp_path / "x")
    loaded = load(tmp_path / "x")
    assert (loaded.none_threshold, loaded.notes, loaded.metrics) == (0.4, classifier.notes, {"val_top1": 0.5})


def test_weights_do_not_depend_on_the_file_after_loading(saved: Path) -> None:
    classifier = load(saved)
    before = {k: v.clone() for k, v in classifier.model.state_dict().items()}
    size = (saved / "model.safetensors").stat().st_size
    (saved / "model.safetensors").write_bytes(b"\0" * size)  # in place: a mapped file would change under the model
    assert all(torch.equal(v, before[k]) for k, v in classifier.model.state_dict().items())


def test_half_precision_files_become_float32_models(saved: Path) -> None:
    path = saved / "model.safetensors"
    write_tensors(path, {k: v.half() for k, v in read_tensors(path).items()})
    assert {p.dtype for p in load(saved).model.parameters()} == {torch.float32}


def test_whole_numbers_are_no_weights(saved: Path) -> None:
    path = saved / "model.safetensors"
    tensors = read_tensors(path)
    write_tensors(path, {**tensors, "head.fc.bias": tensors["head.fc.bias"].int()})
    with pytest.raises(WeightsError, match=r'"head\.fc\.bias" holds torch\.int32'):
        load(saved)


def test_call_classifies(saved: Path, tmp_path: Path) -> None:
    prediction = load(saved)(write_video(tmp_path / "v.mp4"), views="2x3", top_k=2)
    assert [p.label for p in prediction.predictions] == sorted(
        (p.label for p in prediction.predictions), key=lambda name: -dict(prediction.predictions)[name]
    )
    assert len(prediction.predictions) == 2


def test_names_and_shapes_have_to_agree(saved: Path) -> None:
    path = saved / "model.safetensors"
    tensors = read_tensors(path)
    tensors["head.fc.weigth"] = tensors.pop("head.fc.weight")
    tensors["head.fc.bias"] = torch.zeros(5)
    write_tensors(path, tensors)
    with pytest.raises(WeightsError) as caught:
        load(saved)
    text = one_line(caught.value)
    assert "1 missing: head.fc.weight" in text
    assert "1 not part of the model: head.fc.weigth" in text
    assert "1 of another shape: head.fc.bias is 5, not 3" in text


def test_a_long_list_of_differences_is_shortened(saved: Path) -> None:
    write_tensors(saved / "model.safetensors", {f"x{i}": torch.zeros(1) for i in range(30)})
    with pytest.raises(WeightsError, match="and 25 more"):
        load(saved)


EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "format": (lambda c: c.update(format="other"), '"format"'),
    "version": (lambda c: c.update(version=2), '"version" is 2'),
    "missing": (lambda c: c.pop("preprocessing"), '"preprocessing" is missing'),
    "misspelt": (lambda c: c.update(none_treshold=0.5), 'no field "none_treshold". Did you mean "none_threshold"?'),
    "model not a table": (lambda c: c.update(model=3), '"model"'),
    "unknown model field": (lambda c: c["model"].update(embed_dimm=3), 'no field "embed_dimm". Did you mean'),
    "model field of another type": (lambda c: c["model"].update(embed_dim="wide"), '"model"'),
    "impossible model": (lambda c: c["model"].update(num_heads=[3, 2]), "num_heads"),
    "a billion blocks": (lambda c: c["model"].update(depths=[10**9, 1]), "depths=(1000000000, 1) is absurdly large"),
    "more blocks than tensors": (lambda c: c["model"].update(depths=[4000, 1]), "4001 blocks"),
    "endless channels": (lambda c: c["model"].update(embed_dim=2**62), "absurdly large"),
    "huge channels": (lambda c: c["model"].update(embed_dim=2**16), "of another shape"),
    "an endless window": (lambda c: c["model"].update(window_size=[10**9, 7, 7]), "window_size"),
    "a window with endless tables": (lambda c: c["model"].update(window_size=[512] * 3), "bias tables of"),
    "an endless ratio": (lambda c: c["model"].update(mlp_ratio=1e300), "mlp_ratio=1e+300 is absurdly large"),
    "a window of no number": (lambda c: c["model"].update(window_size=[1e9, 7, 7]), "window_size"),
    "a tiny deviation": (lambda c: c["preprocessing"].update(std=[1e-320] * 3), "std"),
    "a huge mean": (lambda c: c["preprocessing"].update(mean=[1e308] * 3), "mean"),
    "no number among the metrics": (lambda c: c.update(metrics={"loss": float("nan")}), "NaN is no finite number"),
    "unknown preprocessing": (lambda c: c["preprocessing"].update(clip_length=3), '"clip_length"'),
    "bad preprocessing": (lambda c: c["preprocessing"].update(sampling="intervall"), "sampling"),
    "clips the model cannot take": (lambda c: c["preprocessing"].update(clip_len=1), "Axis T"),
    "labels missing": (lambda c: c["id2label"].pop("1"), '"id2label"'),
    "a label too few": (lambda c: (c["id2label"].pop("2"), c.pop("label2id")), "3 outputs and there are 2 labels"),
    "a label twice": (lambda c: (c["id2label"].update({"2": "nod"}), c.pop("label2id")), '"nod" is used for more'),
    "a label that is a number": (lambda c: c["id2label"].update({"2": 5}), '"id2label"'),
    "label2id": (lambda c: c["label2id"].update(nod=0), '"label2id" and "id2label" contradict'),
    "threshold": (lambda c: c.update(none_threshold=40), "none_threshold=40"),
    "metrics": (lambda c: c.update(metrics=[1]), '"metrics"'),
}


@pytest.mark.parametrize("kind", EDITS)
def test_a_bad_config_is_refused_by_field(saved: Path, kind: str) -> None:
    edit, reason = EDITS[kind]
    change(saved, edit)
    with pytest.raises(WeightsError) as caught:
        load(saved)
    assert reason in one_line(caught.value)
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"null"])
def test_a_config_that_is_no_config(saved: Path, content: bytes) -> None:
    (saved / "config.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"config\.json"):
        load(saved)


def test_numbers_that_become_infinite_are_no_json(saved: Path) -> None:
    path = saved / "config.json"
    path.write_text(path.read_text().replace('"metrics": {}', '"metrics": {"loss": 1e999}'))
    with pytest.raises(WeightsError, match="1e999 is no finite number"):
        load(saved)


def test_half_a_checkpoint(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors: the file was not found"):
        load(saved)
    (saved / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config\.json: the file was not found"):
        load(saved)


def test_names_that_lead_nowhere(saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("videoswin.classifier.bundled.CHECKPOINTS", tmp_path)
    assert videoswin.bundled_checkpoints() == ("tiny",)
    assert load("tiny").labels == LABELS
    for name, reason in [
        ("tinny", 'Did you mean "tiny"?'),
        ("swin3d_t", "an architecture without weights"),
        (saved / "model.safetensors", "is a file"),
        ("a\0b", "no path"),
        ("x" * 5000, "There is no checkpoint"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load(name)
        assert reason in one_line(caught.value)


def test_saving_replaces_a_checkpoint_and_nothing_else(saved: Path, tmp_path: Path) -> None:
    classifier = load(saved)
    classifier.notes = "second"
    classifier.save(saved)
    assert load(saved).notes == "second"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("x")
    with pytest.raises(WeightsError, match="left alone"):
        classifier.save(tmp_path / "photos")


def test_a_failed_save_keeps_the_old_checkpoint(saved: Path) -> None:
    classifier = load(saved)
    with torch.no_grad():
        next(classifier.model.parameters()).fill_(float("nan"))
    with pytest.raises(WeightsError, match="NaN"):
        classifier.save(saved)
    classifier = load(saved)
    classifier.metrics = {"loss": float("nan")}
    with pytest.raises(ConfigError, match="metrics"):
        classifier.save(saved)
    assert load(saved).metrics == {}


def test_a_checkpoint_caught_between_two_renames_still_loads(saved: Path) -> None:
    saved.rename(saved.with_name(".tiny.previous"))
    assert load(saved).labels == LABELS


def test_parts_that_do_not_belong_together() -> None:
    model = create_model(CONFIG)
    with pytest.raises(ConfigError, match="3 outputs and there are 2 labels"):
        Classifier(model, PREPROCESSING, ("a", "b"))
    with pytest.raises(ConfigError, match="Axis T"):
        Classifier(model, Preprocessing(clip_len=1, size=(32, 32), short_side=32), LABELS)
    with pytest.raises(ConfigError, match="none_threshold"):
        Classifier(model, PREPROCESSING, LABELS, none_threshold=1.5)
    with pytest.raises(VideoSwinError, match="colour channels"):
        Classifier(create_model(CONFIG.replace(in_channels=1)), PREPROCESSING, LABELS)


def test_the_public_names_are_there_and_lazy() -> None:
    assert videoswin.load is load
    assert set(videoswin.__all__) <= set(dir(videoswin))
    assert all(hasattr(videoswin, name) for name in videoswin.__all__)
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = videoswin.laod  # type: ignore[attr-defined]
    script = "import sys, videoswin, videoswin.cli.main; print(sorted({'torch', 'numpy', 'av'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


def test_repr_says_what_it_is() -> None:
    assert repr(tiny_classifier()).startswith('Classifier("tiny", 3 labels, ')


def test_as_causal(saved: Path, tmp_path: Path) -> None:
    """The same weights in a causal model, which a checkpoint remembers; figures and threshold were another model's."""
    source = load(saved)
    source.none_threshold, source.metrics = 0.5, {"top1": 1.0}
    causal = source.as_causal()
    assert (causal.labels, causal.preprocessing) == (source.labels, source.preprocessing)
    assert (causal.none_threshold, causal.metrics) == (None, {})
    causal.save(tmp_path / "causal")
    again = load(tmp_path / "causal")
    assert again.model.config == source.model.config.replace(causal=True)
    assert all(tensor.equal(again.model.state_dict()[name]) for name, tensor in source.model.state_dict().items())


# A start: a model without a head ----------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A checkpoint that names no classes."""
    model = create_model(CONFIG, num_classes=0)
    Classifier(model, PREPROCESSING, (), name="motion").save(tmp_path / "motion")
    return tmp_path / "motion"


def test_a_start_is_loaded_and_answers_with_no_label(start: Path):
    classifier = load(start)
    assert classifier.labels == ()
    with pytest.raises(
        ConfigError, match=r"motion is a start .* names no classes yet. .*videoswin train DATA --weights"
    ):
        classifier.logits(torch.zeros(1, 3, 4, 32, 32))
    with pytest.raises(ConfigError, match="names no classes yet"):
        open_classifier(start)


def test_the_card_of_a_start_says_what_it_is_for(start: Path):
    card = (start / "README.md").read_text()
    assert "names no classes yet: a start for training" in card
    assert "videoswin train DATA --weights FOLDER" in card
    assert "## Labels" not in card
    assert "predict" not in card


def test_the_bundled_start_is_one():
    start = load(DEFAULT_START)
    assert start.labels == ()
    assert start.preprocessing.size == (112, 112)
    assert start.num_parameters < 3e6
