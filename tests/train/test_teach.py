"""Teaching classes by a few clips."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.tiny import LABELS, tiny_classifier, write_video
from videoswin.classifier.classifier import Classifier
from videoswin.cli.main import main
from videoswin.data.annotations import Clip
from videoswin.errors import ConfigError
from videoswin.interface.ordered_head import OrderedHead, nearness
from videoswin.train.features import extract
from videoswin.train.few_shot import NONE, OrderedFewShot, PlainFewShot, few_shot_for
from videoswin.train.novelty import HeldOut, Nearness, look_from_outside, memory_of
from videoswin.train.teach import teach
from videoswin.train.varied import varied
from videoswin.weights.safetensors import read_tensors, write_tensors


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Three classes that differ in brightness, which any features show, in five scenes; and clips of other things."""
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for number, label in enumerate((*LABELS, NONE)):
        for scene in range(5):
            path = write_video(folder / f"{label}-{scene}.mp4", frames=10, seed=100 * number + scene % 2)
            found.append(Clip(path, label, "", f"scene {scene}"))
    return found


def test_the_checkpoint_answers_and_the_estimate_is_of_held_out_clips(rows: list[Clip], tmp_path: Path) -> None:
    taught = teach(tiny_classifier(), [row for row in rows if row.label != NONE], features=tmp_path)
    assert taught.classifier.labels == (*LABELS, NONE)
    assert taught.accuracy > 0.5
    assert taught.interval[0] <= taught.accuracy <= taught.interval[1]
    assert taught.none_from == "classes left out"
    assert (taught.groups, taught.held_out) == (5, (15, 5))
    assert "of 15 held-out clips right, of 5 persons or scenes (" in taught.estimate
    assert taught.classifier.none_threshold is not None
    assert (
        sum(taught.classifier(row.path).label is None for row in rows if row.label != NONE) <= 3
    )  # learnt clips are sure
    right = sum(taught.classifier(row.path).predictions[0].label == row.label for row in rows if row.label != NONE)
    assert right >= 12


def test_labels_without_meaning_get_no_flattering_figure(tmp_path: Path) -> None:
    """Twelve clips of noise, labelled by lot: a head can learn them by heart, and held-out clips say so."""
    clips = [write_video(tmp_path / f"{n}.mp4", frames=10, seed=n) for n in range(24)]
    generator = torch.Generator().manual_seed(1)
    labels = ["ab"[i] for i in (torch.rand(24, generator=generator) < 0.5).int().tolist()]
    taught = teach(
        tiny_classifier(), [Clip(c, label) for c, label in zip(clips, labels, strict=True)], features=tmp_path / "f"
    )
    assert taught.accuracy < 0.8
    assert any("same" in note or "these persons" in note for note in taught.notes)


def test_other_things_become_a_class(rows: list[Clip], tmp_path: Path) -> None:
    taught = teach(tiny_classifier(), rows, features=tmp_path)
    assert taught.classifier.labels == (*LABELS, NONE)
    assert taught.none_from == "clips"
    assert taught.none_auroc is not None
    assert 0 <= taught.none_auroc <= 1


def test_other_things_keep_the_name_that_the_caller_gave_them(rows: list[Clip], tmp_path: Path) -> None:
    named = [replace(row, label="idle") if row.label == NONE else row for row in rows]
    taught = teach(tiny_classifier(), named, none="idle", features=tmp_path)
    assert taught.classifier.labels == (*LABELS, NONE)
    assert taught.clips == {**dict.fromkeys(LABELS, 5), "idle": 5}
    mixed = teach(
        tiny_classifier(),
        [replace(row, group=str(n % 3)) for n, row in enumerate(named)],
        none="idle",
        features=tmp_path,
    )
    assert NONE not in [label for pair in mixed.confused for label in pair]


def test_two_persons_are_enough(rows: list[Clip], tmp_path: Path) -> None:
    """Of two folds, each learns from one of them alone."""
    two = [replace(row, group=f"person {number % 2}") for number, row in enumerate(rows) if row.label != NONE]
    taught = teach(tiny_classifier(), two, features=tmp_path)
    assert taught.groups == 2
    assert "2 parts" in taught.notes[0]
    assert taught.held_out == (15, 2)
    assert "of 15 held-out clips right, of 2 persons or scenes: too few to say what it is on others" in taught.estimate


@pytest.mark.parametrize("others", [1, 2])
def test_a_clip_or_two_of_another_person_make_no_figure_for_new_ones(
    rows: list[Clip], tmp_path: Path, others: int
) -> None:
    """What these alone would teach says nothing of what all clips do. Single clips are held out, and the line says so."""
    known = [row for row in rows if row.label != NONE]
    two = [replace(row, group="other" if number < others else "one") for number, row in enumerate(known)]
    taught = teach(tiny_classifier(), two, features=tmp_path)
    assert (taught.groups, taught.held_out) == (2, (15, 0))
    alone = teach(tiny_classifier(), [replace(row, group="") for row in known], features=tmp_path)
    assert (taught.accuracy, taught.classifier.none_threshold) == (alone.accuracy, alone.classifier.none_threshold)
    assert "of 15 held-out clips right (" in taught.estimate
    assert "of new ones nothing is known" in taught.estimate
    assert f'"one" has {15 - others} of 15 clips' in taught.notes[0]
    assert "add some clips of each class by others" in taught.notes[0]


def test_parts_of_one_file_are_held_out_one_by_one(tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.mp4", frames=72, fps=12)
    parts = [Clip(path, "ab"[number % 2], "", "", start=float(number), end=number + 1.0) for number in range(6)]
    taught = teach(tiny_classifier(), parts, features=tmp_path / "f")
    assert taught.groups == 0
    assert any("No persons or scenes" in note for note in taught.notes)


def test_classes_of_one_person_are_named(rows: list[Clip], tmp_path: Path) -> None:
    apart = [replace(row, group=row.label) if row.label == LABELS[0] else row for row in rows]
    taught = teach(tiny_classifier(), apart, features=tmp_path)
    assert any(f'All clips of "{LABELS[0]}" are of one person or scene' in note for note in taught.notes)
    assert not any("All clips" in note for note in teach(tiny_classifier(), rows, features=tmp_path).notes)


def test_the_start_stays_as_it_is(rows: list[Clip], tmp_path: Path) -> None:
    start = tiny_classifier()
    before = {name: tensor.clone() for name, tensor in start.model.state_dict().items()}
    teach(start, rows, features=tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in start.model.state_dict().items())


@pytest.mark.parametrize("chosen", [lambda r: r.label == LABELS[0], lambda r: r.label == NONE])
def test_too_few_classes(rows: list[Clip], tmp_path: Path, chosen: object) -> None:
    with pytest.raises(ConfigError, match="to be taught"):
        teach(tiny_classifier(), [row for row in rows if chosen(row)], features=tmp_path)  # type: ignore[operator]


def test_too_few_clips(rows: list[Clip], tmp_path: Path) -> None:
    few = [row for row in rows if row.label != LABELS[1] or row.group == "scene 0"]
    with pytest.raises(ConfigError, match="1 clips"):
        teach(tiny_classifier(), few, features=tmp_path)


def test_the_command(
    rows: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tiny_classifier().save(tmp_path / "start")
    index = tmp_path / "index.csv"
    index.write_text("path,label,group\n" + "".join(f"{r.path},{r.label},{r.group}\n" for r in rows))
    command = ["teach", str(index), "--out", str(tmp_path / "taught"), "--weights", str(tmp_path / "start"), "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["clips"] == {**dict.fromkeys(LABELS, 5), NONE: 5}
    loaded = Classifier.from_pretrained(tmp_path / "taught")
    assert loaded.metrics["teach_cross_validation_top1"] == told["accuracy"]


def _listed(rows: list[Clip], folder: Path, header: str = "path,label,group") -> Path:
    index = folder / "index.csv"
    index.write_text(f"{header}\n" + "".join(f"{r.path},{r.label},{r.group}\n" for r in rows))
    return index


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--out", "file"], "this is a file or a link"),
        (["--out", "file/deeper"], "a folder is to stand there"),
        (["--out", "other"], "holds other things"),
        (["--out", "start"], "would be lost"),
        (["--out", "taught", "--none", "wav"], 'Did you mean "wave"?'),
    ],
)
def test_what_cannot_be_done_is_said_before_a_clip_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_classifier().save("start")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    clips = []
    for name in ("nod", "wave"):
        for number in range(3):
            (tmp_path / f"{name}{number}.mp4").write_bytes(b"no video")
            clips.append(Clip(tmp_path / f"{name}{number}.mp4", name, "", ""))
    assert main(["teach", str(_listed(clips, tmp_path)), "--weights", "start", *options]) == 2
    assert reason in capsys.readouterr().err


def test_notes_on_the_list_are_told(
    rows: list[Clip], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt column would otherwise make a figure for new scenes one for these."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tiny_classifier().save(tmp_path / "start")
    index = _listed(rows[:10], tmp_path, "path,label,groop")
    assert main(["teach", str(index), "--out", str(tmp_path / "t"), "--weights", str(tmp_path / "start")]) == 0
    assert "groop" in capsys.readouterr().err


def test_views_vary_and_depend_on_the_clip_alone(rows: list[Clip], tmp_path: Path) -> None:
    start, three = tiny_classifier(), rows[:3]
    first = varied(start, three, 2, 4, tmp_path / "a")
    assert first.times.shape == (4, 3, 4, 16)
    assert first.pooled.shape == (4, 3, 16)
    assert not torch.allclose(first.times[0], first.times[1])
    again = varied(start, three[::-1], 2, 2, tmp_path / "b")
    torch.testing.assert_close(again.times, first.times[:2].flip(1))
    more = varied(start, three[::-1], 2, 4, tmp_path / "b")  # two of them are there
    torch.testing.assert_close(more.times, first.times.flip(1))
    for path in (tmp_path / "b").rglob("*.safetensors"):  # as an earlier release kept them
        write_tensors(path, {"times": read_tensors(path)["times"].contiguous()})
    torch.testing.assert_close(varied(start, three, 2, 4, tmp_path / "b").pooled, first.pooled)


def test_a_causal_model_gets_the_plain_head(rows: list[Clip], tmp_path: Path) -> None:
    tiny = tiny_classifier()
    causal = Classifier(tiny.model.as_causal(), tiny.preprocessing, tiny.labels, "causal")
    assert few_shot_for(tiny) is OrderedFewShot
    assert few_shot_for(causal) is PlainFewShot
    taught = teach(causal, [row for row in rows if row.label != NONE], features=tmp_path)
    assert taught.classifier.labels == LABELS
    assert taught.none_from == "classes left out"


def test_what_is_reported_is_what_the_model_does(rows: list[Clip], tmp_path: Path) -> None:
    """The held-out scores come from the arithmetic that the head does: with all clips learnt from, they are its own."""
    known = [row for row in rows if row.label != NONE]
    start = tiny_classifier()
    shot = few_shot_for(start)(extract(start, known, tmp_path), varied(start, known, 2, 2, tmp_path), known, LABELS)
    model = shot.model(start).eval()
    assert isinstance(model.head, OrderedHead)
    parts = shot.features.times[2].flatten(1)
    held = HeldOut(
        model.head.fc(parts).detach(),
        nearness(parts, model.head.fc(parts)[:, :-1], model.head.memory).detach(),
        torch.ones(len(known), dtype=torch.bool),
    )
    fitted = Nearness(*model.head.near.tolist())
    torch.testing.assert_close(held.scores(fitted), model.head.answer(parts).softmax(1).detach(), rtol=1e-4, atol=1e-5)
    video = start.model.forward_features(torch.zeros(1, 3, 8, 32, 32))
    assert model.classify(video).shape == (1, 4)


def test_a_class_that_is_left_out_is_left_out_of_head_and_memory(rows: list[Clip], tmp_path: Path) -> None:
    """The estimate does not leak: what other clips of the class look like changes nothing for those that are asked about."""
    known = [row for row in rows if row.label != NONE]
    start = tiny_classifier()
    shot = few_shot_for(start)(extract(start, known, tmp_path), varied(start, known, 2, 2, tmp_path), known, LABELS)
    assert isinstance(shot, OrderedFewShot)
    torch.manual_seed(0)
    shot._read.copy_(torch.randn_like(shot._read))  # nothing repeats
    fold = shot.folds[0]
    fitted: list[int] = []

    def fit(learn: torch.Tensor, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        layer = shot._layer_of(learn, number)
        fitted.append(len(layer[1]))
        return layer

    before = look_from_outside(shot._read, shot.targets, shot.known, [fold], fit, 4)
    assert before.shape == (3,)
    assert fitted == [len(LABELS) - 1] * 3  # the class has no answer of its own
    shot._read[(shot.targets == 1) & ~fold] += 1.0
    after = look_from_outside(shot._read, shot.targets, shot.known, [fold], fit, 4)
    assert after[1] == before[1]
    assert not torch.isclose(after[[0, 2]], before[[0, 2]]).any()


def test_held_out_nearness_is_by_heads_that_have_not_learnt_the_clip(rows: list[Clip], tmp_path: Path) -> None:
    known = [row for row in rows if row.label != NONE]
    start = tiny_classifier()
    shot = few_shot_for(start)(extract(start, known, tmp_path), varied(start, known, 2, 2, tmp_path), known, LABELS)
    assert isinstance(shot, OrderedFewShot)
    for held, layer in zip(shot.folds, shot._layers, strict=True):
        asked, learnt = shot._read[held], shot._read[~held]
        expected = nearness(asked, asked @ layer[0].T + layer[1], memory_of(learnt, layer, 4))
        torch.testing.assert_close(shot._held_out.near[held], expected)


def test_one_place_for_all_clips_is_told(rows: list[Clip], tmp_path: Path) -> None:
    """Clips of one scene: single clips are held out, and the figure says whom it holds for."""
    one = [replace(row, group="one") for row in rows if row.label != NONE]
    taught = teach(tiny_classifier(), one, features=tmp_path)
    assert any("No persons or scenes" in note for note in taught.notes)
    grouped = [replace(row, group="other" if row.label == NONE else row.group) for row in rows]
    assert any(
        "are of one person or scene" in note for note in teach(tiny_classifier(), grouped, features=tmp_path).notes
    )
