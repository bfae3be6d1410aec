"""Names that people's code may still use: they work, and each says once what it is called today."""

import importlib
import sys
import warnings

import pytest

import videoswin
import videoswin.model


@pytest.mark.parametrize("name", sorted(videoswin._MOVED))
def test_a_module_under_its_former_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, name, raising=False)
    today = importlib.import_module(videoswin._MOVED[name])
    with pytest.warns(DeprecationWarning, match=f"{name} is now {videoswin._MOVED[name]}") as said:
        assert importlib.import_module(name) is today
    assert len(said) == 1
    assert today.__name__ == videoswin._MOVED[name]


@pytest.mark.parametrize("name", ["SlidingStream", "Stream"])
def test_streams_stood_in_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(vars(videoswin.model), name, raising=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        exec(f"from videoswin.model import {name}")
    assert [str(warning.message) for warning in said] == [f"videoswin.model.{name} is now videoswin.{name}."]
    assert said[0].filename == "<string>"
    assert getattr(videoswin.model, name) is getattr(videoswin, name)
