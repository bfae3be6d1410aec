"""Our checkpoints in the transformers library, and back."""

from pathlib import Path

import pytest
import torch

from tests.tiny import LABELS, tiny_classifier, write_video
from videoswin.classifier.loading import load

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint ``ck`` and a video ``clip.mp4``."""
    import videoswin.hf  # noqa: F401  (registers)

    root = tmp_path_factory.mktemp("hf")
    tiny_classifier().save(root / "ck")
    write_video(root / "clip.mp4", frames=60)
    return root


def model_of(folder: Path, **changes):
    return transformers.AutoModelForVideoClassification.from_pretrained(folder, **changes).eval()


def test_the_same_logits(place: Path):
    model, ours = model_of(place / "ck"), load(place / "ck")
    assert model.config.id2label == dict(enumerate(LABELS))
    clips = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        theirs = model(pixel_values=clips.transpose(1, 2), labels=torch.tensor([0, 1]))
    torch.testing.assert_close(theirs.logits, ours.logits(clips), rtol=1e-6, atol=1e-6)
    assert theirs.loss > 0


def test_the_pipeline_looks_at_the_whole_video(place: Path):
    pipe = transformers.pipeline("video-classification", model=str(place / "ck"))
    for views in ("1x1", "4x3"):
        found = pipe(str(place / "clip.mp4"), views=views, top_k=2)
        expected = load(place / "ck")(place / "clip.mp4", views=views, top_k=2).predictions
        assert [entry["label"] for entry in found] == [label for label, _ in expected]
        assert [entry["score"] for entry in found] == pytest.approx([score for _, score in expected], rel=1e-6)
    with pytest.raises(ValueError, match="download the video first"):
        pipe("http://127.0.0.1/clip.mp4")


def test_saved_there_and_loaded_here(place: Path, tmp_path: Path):
    model = model_of(place / "ck")
    with torch.no_grad():
        model.head.fc.bias += 1.0
    model.save_pretrained(tmp_path / "back")
    ours = load(tmp_path / "back")
    assert (ours.labels, ours.name, ours.preprocessing) == (LABELS, "tiny", load(place / "ck").preprocessing)
    clips = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        expected = model(pixel_values=clips.transpose(1, 2)).logits
        again = model_of(tmp_path / "back")(pixel_values=clips.transpose(1, 2)).logits
    torch.testing.assert_close(ours.logits(clips), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(again, expected, rtol=1e-6, atol=1e-6)


def test_a_new_head(place: Path):
    labels = {0: "a", 1: "b"}
    model = model_of(
        place / "ck", id2label=labels, label2id={v: k for k, v in labels.items()}, ignore_mismatched_sizes=True
    )
    assert model.head.fc.weight.shape[0] == 2
    assert model.head.fc.weight.std() < 0.1
    before = load(place / "ck").model.backbone.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())


def test_their_trainer(place: Path, tmp_path: Path):
    pytest.importorskip("accelerate")
    model = model_of(place / "ck")
    clips = [{"pixel_values": torch.randn(8, 3, 32, 32), "labels": i % 3} for i in range(4)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        gradient_checkpointing=True, save_strategy="steps", save_steps=2, disable_tqdm=True,
    )  # fmt: skip
    before = model.head.fc.weight.detach().clone()
    transformers.Trainer(model=model, args=arguments, train_dataset=clips).train()
    assert not torch.equal(before, model.head.fc.weight)
    ours = load(tmp_path / "checkpoint-2")
    assert torch.equal(ours.model.head.fc.weight, model.head.fc.weight)


def test_peft(place: Path):
    peft = pytest.importorskip("peft")
    model = model_of(place / "ck")
    clips = torch.randn(1, 8, 3, 32, 32)
    with torch.no_grad():
        before = model(pixel_values=clips).logits
    config = peft.LoraConfig(r=2, target_modules=r".*\.attn\.(qkv|proj)", modules_to_save=["head"])
    adapted = peft.get_peft_model(model, config)
    adapted.train()
    adapted(pixel_values=clips, labels=torch.tensor([1])).loss.backward()
    learns = {name for name, p in adapted.named_parameters() if p.grad is not None}
    assert any("lora_A" in name for name in learns)
    assert any("head" in name for name in learns)
    assert not any("mlp" in name for name in learns)
    adapted.eval()
    with torch.no_grad():
        torch.testing.assert_close(adapted(pixel_values=clips).logits, before, rtol=1e-5, atol=1e-6)
