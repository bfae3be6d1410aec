"""Doubtful labels, lists, and the command."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_classifier, write_video
from videoswin.audit.facts import about_list, odd_ones
from videoswin.audit.labels import doubts, fits, held_out_scores, trial
from videoswin.audit.quick import quick_look
from videoswin.audit.scenes import joined, same_place
from videoswin.cli.main import main
from videoswin.data.annotations import read_index
from videoswin.data.clips import Clip, names_of
from videoswin.data.fingerprints import Fingerprint
from videoswin.train.features import Features


def blobs(classes: int = 4, each: int = 25, flipped: float = 0.1, copies: bool = False):
    """Features of clips around a centre for each class, and labels of which a tenth is wrong."""
    g = torch.Generator().manual_seed(0)
    truth = torch.arange(classes).repeat_interleave(each)
    centres = 2.2 * torch.randn(classes, 16, generator=g)
    sees = centres[truth] + torch.randn(len(truth), 16, generator=g)
    wrong = torch.randperm(len(truth), generator=g)[: round(flipped * len(truth))]
    given = truth.clone()
    given[wrong] = (truth[wrong] + 1 + torch.randint(classes - 1, (len(wrong),), generator=g)) % classes
    rows = [Clip(Path(f"{i}.mp4"), f"class {label}") for i, label in enumerate(given.tolist())]
    features = Features({1: sees, 2: sees}, {}, 0)
    return features, rows, [f"class {k}" for k in range(classes)], set(wrong.tolist())


def test_flipped_labels_are_found():
    features, rows, labels, wrong = blobs()
    scores = held_out_scores([features], rows, labels, range(len(rows)))
    assert torch.allclose(scores.sum(1), torch.ones(len(rows)), atol=1e-4)
    found = {d.number for d in doubts(scores, rows, labels)}
    assert len(found & wrong) >= 0.6 * len(wrong)
    assert len(found & wrong) >= 0.8 * len(found)


def test_how_far_to_believe_it_is_tried():
    features, rows, labels, _ = blobs(flipped=0.0)
    steps: list[int] = []
    tried = trial([features], rows, labels, range(len(rows)), lambda: steps.append(1))
    assert tried is not None
    assert tried.changed == round(0.1 * len(rows))
    assert tried.found >= 0.8 * tried.changed
    assert tried.found >= 0.7 * tried.named
    assert len(steps) == fits(len(rows))
    noise = Features({1: torch.randn(len(rows), 16, generator=torch.Generator().manual_seed(1))}, {}, 0)
    nothing = trial([noise], rows, labels, range(len(rows)))
    assert nothing is not None
    assert nothing.found <= 0.4 * nothing.named  # features that know nothing of the classes
    assert trial([features], rows[:20], labels, range(20)) is None  # two changed labels say nothing


def test_two_looks_know_more_than_one():
    """One sees the first half of the classes, the other the rest; what happens when counts as well as what happens."""
    features, rows, labels, wrong = blobs()
    kinds = torch.tensor([labels.index(row.label) for row in rows])
    sees = features.pooled[1]
    looks = [
        Features({1: torch.where((kinds[:, None] % 2 == half), sees, torch.zeros_like(sees))}, {}, 0) for half in (0, 1)
    ]
    one, two = (
        {d.number for d in doubts(held_out_scores(given, rows, labels, range(len(rows))), rows, labels)}
        for given in ([looks[0]], looks)
    )
    assert len(two & wrong) > len(one & wrong)


def test_the_order_of_a_clip_counts():
    g = torch.Generator().manual_seed(0)
    rows = [Clip(Path(f"{n}.mp4"), f"class {n % 2}") for n in range(60)]
    times = 0.3 * torch.randn(60, 8, 4, generator=g)
    for n in range(60):
        times[n, :4, 0] += 1 if n % 2 else -1  # up and down, or down and up: the mean is the same
        times[n, 4:, 0] -= 1 if n % 2 else -1
    look = Features({1: times.mean(1)}, {}, 0, {1: times})
    scores = held_out_scores([look], rows, ["class 0", "class 1"], range(60))
    assert float((scores.argmax(1) == torch.tensor([n % 2 for n in range(60)])).float().mean()) > 0.95


def test_right_labels_are_left_alone():
    features, rows, labels, _ = blobs(flipped=0.0)
    found = doubts(held_out_scores([features], rows, labels, range(len(rows))), rows, labels)
    assert len(found) <= 0.03 * len(rows)


def test_a_copy_does_not_confirm_a_wrong_label():
    features, rows, labels, wrong = blobs()
    one = next(iter(sorted(wrong)))
    twice = Features({s: torch.cat([x, x[one : one + 1]]) for s, x in features.pooled.items()}, {}, 0)
    rows = [*rows, Clip(Path("copy.mp4"), rows[one].label)]
    apart = held_out_scores([twice], rows, labels, range(len(rows)))[one]
    together = held_out_scores([twice], rows, labels, [*range(len(rows) - 1), one])[one]
    given = labels.index(rows[one].label)
    assert float(together[given]) < float(apart[given])


def test_copies_have_one_score():
    """One that is hard to see is judged by what the others show."""
    features, rows, labels, _ = blobs(flipped=0.0)
    blurred = Features({s: torch.cat([x, x[:1] - 2 * (x[:1] - x[30:31])]) for s, x in features.pooled.items()}, {}, 0)
    rows = [*rows, Clip(Path("copy.mp4"), rows[0].label)]
    apart = held_out_scores([blurred], rows, labels, range(len(rows)))
    together = held_out_scores([blurred], rows, labels, [*range(len(rows) - 1), 0])
    given = labels.index(rows[0].label)
    assert torch.equal(together[0], together[-1])
    assert float(apart[-1, given]) < float(together[-1, given])


def test_a_list_in_words(tmp_path: Path):
    rows = [["path", "label", "split", "group"]]
    for n in range(24):
        path = write_video(tmp_path / f"{n}.mp4", frames=2)
        rows.append([path.name, "rare" if n == 0 else "often", "test" if n > 15 else "train", f"g{n % 4}"])
    with (tmp_path / "l.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    said = " ".join(about_list(read_index(tmp_path / "l.csv")))
    assert "few clips: rare 1" in said
    assert '"often" has 23 clips, the rarest 1' in said
    assert (
        '"test" has 8 clips: one clip is 12.5 points; an accuracy of 80 % is known to ± 28 points; none of rare' in said
    )
    assert "groups in more than one split: g0, g1, g2, g3" in said


def test_odd_lengths_and_rates_that_give_a_class_away():
    rows = [Clip(Path(f"{i}.mp4"), "nod" if i < 10 else "wave") for i in range(20)]
    film = torch.zeros(1, 2, 2, dtype=torch.uint8)
    prints = [Fingerprint(film, 20.0 if i == 3 else 2.0, 25 if i < 10 else 30, 64, 48, "") for i in range(20)]
    lines, odd = odd_ones(rows, prints)
    assert odd == [(3, "20.0 s long, the others 2.0 s")]
    assert '25 frames a second are of "nod" alone: a model can learn that in place of the action.' in lines


def test_one_place():
    g = torch.Generator().manual_seed(0)
    places = torch.randint(0, 200, (2, 1, 8, 8), generator=g).float()
    films = []
    for n in range(4):
        still = torch.nn.functional.interpolate(places[n % 2][None], (64, 64), mode="nearest")[0, 0]
        film = still + 4 * torch.randn(12, 64, 64, generator=g)
        films.append(film.clamp(0, 255).to(torch.uint8))
    assert same_place(films) == [(0, 2), (1, 3)]
    assert joined(5, [(0, 2), (1, 3), (3, 4)]) == [0, 1, 0, 1, 1]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of six clips; one of them once more under another name, label and split; and a file that is no video."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = [["path", "label", "split"]]
    for n in range(12):
        label = ("nod", "wave")[n % 2]
        write_video(tmp_path / f"{n}.mp4", seed=n)
        rows.append([f"{n}.mp4", label, "train"])
    shutil.copy("0.mp4", "again.mp4")
    Path("bad.mp4").write_text("no video")
    rows += [["again.mp4", "wave", "test"], ["bad.mp4", "nod", "test"]]
    with Path("l.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


def test_the_quick_look(data: Path):
    rows = read_index("l.csv").rows
    assert quick_look(rows) == [
        "beware: 0.mp4, again.mp4 have the same bytes and different labels, in several splits or groups. videoswin audit shows more."
    ]
    assert quick_look(rows[:5]) == []


def test_clips_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for label in ("nod", "wave"):
        (tmp_path / "set" / label).mkdir(parents=True)
        write_video(tmp_path / "set" / label / "01.mp4", seed=1)
    index = read_index(tmp_path / "set")
    assert quick_look(index.rows)[0].startswith("beware: nod/01.mp4, wave/01.mp4 have the same bytes and different")
    assert main(["audit", str(tmp_path / "set"), "--no-labels"]) == 0
    assert "nod/01.mp4   wave/01.mp4" in capsys.readouterr().out
    parts = [Clip(tmp_path / "a.mp4", "nod", end=2.0), Clip(tmp_path / "a.mp4", "wave", start=2.0)]
    assert names_of(parts) == ["a.mp4, 0 s to 2 s", "a.mp4, 2 s to the end"]


def test_the_command(data: Path, capsys: pytest.CaptureFixture[str]):
    tiny_classifier(("nod", "wave", "x")).save("ck")
    assert main(["audit", "l.csv", "--weights", "ck", "--report", "a.html", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    (pair,) = found["copies"]
    assert {Path(pair["first"]).name, Path(pair["second"]).name} == {"0.mp4", "again.mp4"}
    assert pair["crosses"]
    assert pair["motion"] > 0.95
    assert [Path(one["path"]).name for one in found["unreadable"]] == ["bad.mp4"]
    assert isinstance(found["doubts"], list)
    page = Path("a.html").read_text(encoding="utf-8")
    assert "in two splits or groups" in page
    assert "two labels" in page
    assert page.count("data:image/webp") >= 2
    assert "<script" not in page
    assert main(["audit", "l.csv", "--no-labels"]) == 1
    said = capsys.readouterr()
    assert "Copies of each other: 1 pair of clips." in said.out
    assert "bad.mp4" in said.err


def test_mistakes_are_said_first(data: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["audit", "l.csv", "--no-labels", "--weights", "ck"]) == 2
    assert main(["audit", "l.csv", "--report", "none/a.html"]) == 2
    assert "cannot be written there" in capsys.readouterr().err


def test_clips_of_several_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lines = ["path,label,split,group"]
    for n, cell in enumerate(("nod", "wave", "nod|wave", "|", "nod", "wave|nod")):
        path = write_video(tmp_path / f"{n}.mp4", frames=12, size=(48, 64), seed=n % 4)  # two copies
        lines.append(f"{path.name},{cell},{'test' if n > 3 else 'train'},g{n}")
    data, page = tmp_path / "l.csv", tmp_path / "page.html"
    data.write_text("\n".join(lines) + "\n")
    assert main(["audit", str(data), "--multi-label", "--report", str(page), "--json"]) == 0
    said = capsys.readouterr()
    assert "not looked for" in said.err
    found = json.loads(said.out)
    assert found["doubts"] is None
    assert any("few clips: wave 3, nod 4" in line for line in found["lines"])
    assert "nod|wave" not in " ".join(found["lines"])
    assert page.is_file()
    assert main(["audit", str(data), "--multi-label", "--weights", "ck"]) == 2
    assert main(["audit", str(data), "--no-labels"]) == 2  # not taken for a class of its own
    assert "--multi-label" in capsys.readouterr().err
