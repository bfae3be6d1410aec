"""Heads on frozen features, and that no clip has a say in the setting by which it is judged."""

import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.tiny import write_video
from tests.train.helpers import rows_of, tiny_classifier
from videoswin.classifier.loading import load
from videoswin.cli.main import main
from videoswin.data.annotations import Clip
from videoswin.errors import ConfigError
from videoswin.train.features import Features, extract
from videoswin.train.frozen_heads import attentive, linear, linear_weights, nearest
from videoswin.train.probe import Setting, choose, fit, grid, probe

CLASSES, CLIPS = 3, 60


def blobs(spread: float = 0.5, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(CLIPS, 8) features around one centre per class, and the classes."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(CLIPS) % CLASSES
    centres = torch.randn(CLASSES, 8, generator=generator)
    return centres[targets] + spread * torch.randn(CLIPS, 8, generator=generator), targets


LEARN = torch.arange(CLIPS) < 40


# Heads ----------------------------------------------------------------------------------------------------------------


def test_the_regression_is_at_its_minimum():
    """The gradient of its own loss vanishes, for every setting at once."""
    features, targets = blobs(1.0)
    decays = [0.01, 0.1, 1.0]
    weights, bias = linear_weights(features, targets, CLASSES, decays)
    x = (features - features.mean(0)) / features.std(0, correction=0)
    for w, b, decay in zip(weights, bias, decays, strict=True):
        w = (w * features.std(0, correction=0)[:, None]).requires_grad_()
        b = (b + features.mean(0) @ (w.detach() / features.std(0, correction=0)[:, None])).requires_grad_()
        loss = F.cross_entropy(x @ w + b, targets) + 0.5 * decay * w.square().sum()
        for gradient in torch.autograd.grad(loss, (w, b)):
            assert float(gradient.abs().max()) < 2e-3


def test_settings_do_not_meet():
    features, targets = blobs()
    both = linear(features, targets, CLASSES, LEARN, [0.01, 1.0])
    for number, decay in enumerate((0.01, 1.0)):
        torch.testing.assert_close(both[number], linear(features, targets, CLASSES, LEARN, [decay])[0])
    near = nearest(features, targets, CLASSES, LEARN, [1, 5])
    torch.testing.assert_close(near[1], nearest(features, targets, CLASSES, LEARN, [5])[0])


@pytest.mark.parametrize("head", ["linear", "nearest", "attentive"])
def test_heads_learn_what_can_be_learnt(head: str):
    features, targets = blobs()
    if head == "linear":
        logits = linear(features, targets, CLASSES, LEARN, [0.1])
    elif head == "nearest":
        logits = nearest(features, targets, CLASSES, LEARN, [3])
    else:
        logits = attentive(features[:, None].repeat(1, 3, 1), targets, CLASSES, LEARN, [0.01])
    assert logits.shape == (1, CLIPS, CLASSES)
    assert float((logits[0].argmax(1) == targets)[~LEARN].float().mean()) > 0.8


def test_attention_finds_the_token_that_tells():
    """Each clip is noise but for one token somewhere: its mean says little."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(200) % 2
    tokens = 0.5 * torch.randn(200, 12, 6, generator=generator)
    where = torch.randint(12, (200,), generator=generator)
    signal = torch.zeros(200, 6)
    signal[:, 0] = 6.0
    signal[:, 1] = torch.where(targets == 1, 2.0, -2.0)
    tokens[torch.arange(200), where] = signal
    learn = torch.arange(200) < 140
    found = attentive(tokens, targets, 2, learn, [0.001])[0].argmax(1)
    assert float((found == targets)[~learn].float().mean()) > 0.9


def test_what_is_not_learnt_from_changes_nothing():
    features, targets = blobs()
    changed = features.clone()
    changed[~LEARN] += 100
    wrong = torch.where(LEARN, targets, 0)
    for head in (linear, nearest):
        before = head(features, targets, CLASSES, LEARN, [1])[0][LEARN]
        torch.testing.assert_close(head(changed, wrong, CLASSES, LEARN, [1])[0][LEARN], before)


# Nested folds ---------------------------------------------------------------------------------------------------------


def made_up(spread: float, seed: int = 0) -> tuple[Features, list[Clip]]:
    """Features of two stages, of which the second tells the classes."""
    features, targets = blobs(spread, seed)
    noise = torch.randn(CLIPS, 8, generator=torch.Generator().manual_seed(9))
    rows = [Clip(Path(f"{i}.mp4"), "abc"[int(t)], "", f"g{i // 3 % 10}", 0) for i, t in enumerate(targets)]
    pooled = {1: noise, 2: features}
    return Features(pooled, {s: x[:, None] for s, x in pooled.items()}, 0), rows


def test_the_better_stage_is_chosen_and_the_figures_stand():
    features, rows = made_up(0.4)
    probed = probe(features, rows, "abc", grid("linear", [1, 2], 2), folds=5, seeds=2)
    assert len(probed.head) == 10
    assert sum(probed.pooled) / 2 > 0.9
    assert max(probed.pooled_majority) <= 0.34
    assert all(2 in setting.stages for setting in probed.chosen)


def test_noise_is_at_chance_however_many_settings_there_are():
    """Choosing the best of many by the clips they are judged by would look like knowledge."""
    features, rows = made_up(0.4)
    noise = Features({1: features.pooled[1]}, {}, 0)
    settings = [Setting("linear", (1,), 10**-e) for e in range(5)]
    probed = probe(noise, rows, "abc", settings, folds=5, seeds=3)
    assert sum(probed.pooled) / 3 < 0.47


def test_only_the_kept_clips_choose():
    features, rows = made_up(0.4)
    targets = torch.tensor(["abc".index(row.label) for row in rows])
    settings = grid("linear", [1, 2], 2)
    first = choose(features, rows[:40], rows, targets, 3, settings, 5, 0)
    shuffled = torch.cat([targets[:40], targets[40:].flip(0)])
    assert choose(features, rows[:40], rows, shuffled, 3, settings, 5, 0) == first


@pytest.mark.parametrize(
    ("head", "stages"), [("linar", [1]), ("linear", [3]), ("linear", []), ("linear", [1, 1]), ("knn", [0])]
)
def test_refused(head: str, stages: list[int]):
    with pytest.raises(ConfigError, match=r"head|stages"):
        grid(head, stages, 2)


def test_a_grid_has_each_stage_and_all_together():
    settings = grid("attentive", [1, 2], 2)
    assert {s.stages for s in settings} == {(1,), (2,), (1, 2)}
    assert len(settings) == 12
    assert len(grid("knn", [2], 2)) == 4


def test_a_linear_head_on_the_last_stage_is_a_layer():
    features, rows = made_up(0.4)
    targets = torch.tensor(["abc".index(row.label) for row in rows])
    fitted = fit(features, targets, 3, Setting("linear", (2,), 0.1))
    assert fitted is not None
    logits = features.pooled[2] @ fitted[0].T + fitted[1]
    expected = linear(features.pooled[2], targets, 3, torch.ones(CLIPS, dtype=torch.bool), [0.1])[0]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    assert fit(features, targets, 3, Setting("linear", (1,), 0.1)) is None


# Features -------------------------------------------------------------------------------------------------------------


def test_features_are_those_of_the_model_and_are_kept(videos: Path, tmp_path: Path):
    classifier, rows = tiny_classifier(), rows_of(videos)[:4]
    first = extract(classifier, rows, tmp_path)
    assert first.computed == 4
    assert {s: tuple(p.shape) for s, p in first.pooled.items()} == {1: (4, 8), 2: (4, 16)}
    again = extract(classifier, rows, tmp_path)
    assert again.computed == 0
    assert torch.equal(again.pooled[2], first.pooled[2])
    head = classifier.model.head
    assert head is not None
    logits = first.pooled[2] @ head.fc.weight.T + head.fc.bias
    expected = torch.tensor([dict(classifier(row.path).predictions)["nod"] for row in rows])
    torch.testing.assert_close(logits.softmax(1)[:, classifier.labels.index("nod")], expected, atol=1e-5, rtol=1e-4)


def test_another_file_model_or_size_is_looked_at_anew(videos: Path, tmp_path: Path):
    rows = rows_of(videos)[:1]
    copy = Path(shutil.copy(rows[0].path, tmp_path / "clip.mp4"))
    row = Clip(copy, "nod", "", "", 0)
    kept = tmp_path / "kept"
    assert extract(tiny_classifier(), [row], kept).computed == 1
    assert extract(tiny_classifier(), [rows[0]], kept).computed == 0  # the same content
    assert extract(tiny_classifier(1), [row], kept).computed == 1
    write_video(copy, frames=10, size=(32, 40), seed=77)
    assert extract(tiny_classifier(), [row], kept).computed == 1


def test_a_damaged_file_is_made_anew(videos: Path, tmp_path: Path):
    rows = rows_of(videos)[:1]
    first = extract(tiny_classifier(), rows, tmp_path)
    next(tmp_path.glob("*/*.safetensors")).write_bytes(b"cut off")
    again = extract(tiny_classifier(), rows, tmp_path)
    assert again.computed == 1
    assert torch.equal(again.pooled[1], first.pooled[1])


# The command ----------------------------------------------------------------------------------------------------------


def test_a_list_that_cannot_be_probed_is_refused_before_clips_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tiny_classifier().save(tmp_path / "ck")
    for label in ("a", "b"):
        for n in range(3):
            file = tmp_path / "set" / label / f"{n}.mp4"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("no video")  # looked at, it would be the error
    for data, reason in [
        (tmp_path / "set", "Too few groups or single clips (6)"),
        (tmp_path / "one", "all clips are of one"),
    ]:
        assert main(["probe", str(data), "--weights", str(tmp_path / "ck"), "--folds", "9"]) == 2
        assert reason in capsys.readouterr().err
        shutil.copytree(tmp_path / "set" / "a", tmp_path / "one" / "a", dirs_exist_ok=True)


def test_the_command(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VIDEOSWIN_CACHE", str(tmp_path / "cache"))
    tiny_classifier().save(tmp_path / "ck")
    command = [
        "probe",
        str(videos),
        "--weights",
        str(tmp_path / "ck"),
        "--stages",
        "1,2",
        "--folds",
        "3",
        "--seeds",
        "2",
    ]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert "nearest neighbours" in out
    assert "commonest class" in out
    assert "12 of them computed" in err
    assert "not for new ones" in err
    classifier = load(tmp_path / "run" / "best")
    assert classifier.labels == ("nod", "wave")
    assert classifier(rows_of(videos)[0].path).predictions
    assert main([*command, "--json", "--head", "knn"]) == 0
    out, err = capsys.readouterr()
    assert '"pooled"' in out
    assert "0 of them computed" in err
    assert main([*command[:-6], "--stages", "9"]) == 2
    assert "stages=9" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    assert main([*command, "--out", str(tmp_path / "file")]) == 2
    out, err = capsys.readouterr()
    assert "a folder is to stand there" in err
    assert "computed" not in err
