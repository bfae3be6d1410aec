"""The state of a run on disk: it comes back bit by bit, and a crash while it is written costs nothing."""

import errno
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from tests.train.helpers import LABELS, same, tiny_classifier
from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.errors import OutputError, WeightsError
from videoswin.train.metrics import Tally
from videoswin.train.optim import build_optimizer
from videoswin.train.state import Progress, load_state, save_state

SETTINGS = {"lr": 1e-3, "epochs": 3}


class Killed(BaseException):
    """As a ``kill -9``: from the fatal call on, nothing reaches the disk any more, no clean-up either."""


def trained(steps: int) -> tuple[Classifier, torch.optim.Optimizer]:
    """A classifier and its optimiser after some steps."""
    classifier = tiny_classifier(seed=3)
    optimizer = build_optimizer(classifier.model, 1e-2, 0.5, 0.05)
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        classifier.model(torch.randn(2, 3, 4, 16, 16)).square().sum().backward()
        optimizer.step()
    return classifier, optimizer


def loaded(folder: Path) -> tuple[Classifier, torch.optim.Optimizer, Progress]:
    classifier = tiny_classifier(seed=4)
    optimizer = build_optimizer(classifier.model, 1e-2, 0.5, 0.05)
    return classifier, optimizer, load_state(folder, classifier.model, optimizer, SETTINGS)


def moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_comes_back_bit_by_bit(tmp_path: Path, steps: int):
    classifier, optimizer = trained(steps)
    progress = Progress(2, 5, 0.1 + 0.2, 1, Tally(7, 1 / 3, 4), 12.5)
    save_state(tmp_path / "last", classifier, classifier.model, optimizer, progress, SETTINGS)
    new_classifier, new_optimizer, new_progress = loaded(tmp_path / "last")
    assert new_progress == progress
    assert same(classifier.model.state_dict(), new_classifier.model.state_dict())
    assert same(moments(optimizer), moments(new_optimizer))
    assert len(moments(optimizer)) == (3 * len(list(classifier.model.parameters())) if steps else 0)
    assert load(tmp_path / "last").labels == LABELS
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_the_next_step_is_the_same(tmp_path: Path):
    classifier, optimizer = trained(2)
    save_state(tmp_path / "last", classifier, classifier.model, optimizer, Progress(), SETTINGS)
    new_classifier, new_optimizer, _ = loaded(tmp_path / "last")
    shutil.rmtree(tmp_path / "last")  # nothing may live on in the files
    for one, other in ((classifier, optimizer), (new_classifier, new_optimizer)):
        torch.manual_seed(0)
        other.zero_grad()
        one.model(torch.randn(2, 3, 4, 16, 16)).square().sum().backward()
        other.step()
    assert same(classifier.model.state_dict(), new_classifier.model.state_dict())


def count_disk_calls(monkeypatch: pytest.MonkeyPatch, fatal: int | None, error: BaseException) -> list[int]:
    """Counts flushes and renames; the ``fatal``-th raises, and if it is :class:`Killed`, everything after it too."""
    calls = [0]

    def wrap(function, counts: bool):
        def called(*arguments, **options):
            if counts:
                calls[0] += 1
            dead = isinstance(error, Killed) and fatal is not None and calls[0] >= fatal
            if dead or (counts and calls[0] == fatal):
                raise error
            return function(*arguments, **options)

        return called

    for name in ("fsync", "rename", "replace"):
        monkeypatch.setattr(os, name, wrap(getattr(os, name), counts=True))
    monkeypatch.setattr(shutil, "rmtree", wrap(shutil.rmtree, counts=False))
    monkeypatch.setattr(Path, "unlink", wrap(Path.unlink, counts=False))
    return calls


Version = tuple[Classifier, torch.optim.Optimizer]


@pytest.fixture(scope="module")
def versions() -> dict[int, Version]:
    """By the number of steps. Read only."""
    return {steps: trained(steps) for steps in (1, 2)}


def version(folder: Path, versions: dict[int, Version]) -> int:
    """Which of the two saved versions is there, whole."""
    classifier, optimizer, progress = loaded(folder)
    expected, expected_optimizer = versions[progress.step]
    assert same(classifier.model.state_dict(), expected.model.state_dict())
    assert same(moments(optimizer), moments(expected_optimizer))
    assert same(load(folder).model.state_dict(), expected.model.state_dict())
    return progress.step


def test_killed_at_any_point_of_a_save(tmp_path: Path, versions: dict[int, Version], monkeypatch: pytest.MonkeyPatch):
    first, second = versions[1], versions[2]
    found = []
    for fatal in range(1, 100):
        folder = tmp_path / str(fatal) / "last"
        save_state(folder, first[0], first[0].model, first[1], Progress(step=1), SETTINGS)
        with monkeypatch.context() as patch:
            calls = count_disk_calls(patch, fatal, Killed())
            with suppress(Killed):
                save_state(folder, second[0], second[0].model, second[1], Progress(step=2), SETTINGS)
        found.append(version(folder, versions))
        if calls[0] < fatal:
            break  # it was not killed any more
        save_state(
            folder, second[0], second[0].model, second[1], Progress(step=2), SETTINGS
        )  # what the killed one left is in nobody's way
        assert version(folder, versions) == 2
        assert [path.name for path in folder.parent.iterdir()] == ["last"]
    assert len(found) > 8
    assert found == sorted(found)
    assert {found[0], found[-1]} == {1, 2}


def test_a_full_disk_leaves_the_state_as_it_was(
    tmp_path: Path, versions: dict[int, Version], monkeypatch: pytest.MonkeyPatch
):
    first, second = versions[1], versions[2]
    folder = tmp_path / "last"
    save_state(folder, first[0], first[0].model, first[1], Progress(step=1), SETTINGS)
    for fatal in range(1, 100):
        with monkeypatch.context() as patch:
            calls = count_disk_calls(patch, fatal, OSError(errno.ENOSPC, "No space left on device"))
            try:
                save_state(folder, second[0], second[0].model, second[1], Progress(step=2), SETTINGS)
                failed = False
            except OutputError:
                failed = True
        assert failed == (calls[0] >= fatal)
        here = version(folder, versions)
        assert here == 2 or failed
        if here == 2:
            break
        assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert fatal > 8


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path, versions: dict[int, Version]):
    classifier, optimizer = trained(1)
    save_state(tmp_path / "last", classifier, classifier.model, optimizer, Progress(step=1), SETTINGS)
    with torch.no_grad():
        classifier.model.backbone.patch_embed.proj.weight[0] = torch.nan
    with pytest.raises(WeightsError, match="NaN"):
        save_state(tmp_path / "last", classifier, classifier.model, optimizer, Progress(step=2), SETTINGS)
    assert version(tmp_path / "last", versions) == 1


def test_no_state(tmp_path: Path):
    with pytest.raises(WeightsError, match="no run to resume"):
        loaded(tmp_path / "last")
    tiny_classifier().save(tmp_path / "last")  # a checkpoint is no state
    with pytest.raises(WeightsError, match="no run to resume"):
        loaded(tmp_path / "last")


def test_other_settings_are_named(tmp_path: Path):
    classifier, optimizer = trained(1)
    save_state(tmp_path / "last", classifier, classifier.model, optimizer, Progress(), {**SETTINGS, "lr": 0.5})
    with pytest.raises(WeightsError, match=r"other settings: lr 0\.5 -> 0\.001\.") as error:
        loaded(tmp_path / "last")
    assert "epochs" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"progress": {"epoch": 1}, "settings": {}}'])
def test_a_damaged_state_is_refused(tmp_path: Path, text: str):
    classifier, optimizer = trained(1)
    save_state(tmp_path / "last", classifier, classifier.model, optimizer, Progress(), SETTINGS)
    (tmp_path / "last" / "progress.json").write_text(text)
    with pytest.raises(WeightsError, match=r"progress\.json.*damaged"):
        loaded(tmp_path / "last")


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_damaged_tensors_are_refused(tmp_path: Path, name: str):
    classifier, optimizer = trained(1)
    save_state(tmp_path / "last", classifier, classifier.model, optimizer, Progress(), SETTINGS)
    path = tmp_path / "last" / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=name):
        loaded(tmp_path / "last")


def test_the_weights_of_another_model_are_refused(tmp_path: Path):
    other = tiny_classifier()
    del other.model.head
    other.model.head = torch.nn.Linear(3, 3)  # type: ignore[assignment]
    save_state(tmp_path / "last", other, other.model, torch.optim.AdamW(other.model.parameters()), Progress(), SETTINGS)
    with pytest.raises(WeightsError, match="another model's") as error:
        loaded(tmp_path / "last")
    assert "\n" not in str(error.value)


def test_nothing_is_a_pickle(tmp_path: Path):
    classifier, optimizer = trained(1)
    save_state(tmp_path / "last", classifier, classifier.model, optimizer, Progress(), SETTINGS)
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "optimizer.safetensors", "progress.json")
    ]
    assert json.loads((tmp_path / "last" / "progress.json").read_text())["settings"] == SETTINGS
