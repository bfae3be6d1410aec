"""One word for one thing: an option means the same in every command, and a thing has the same option in all of them."""

import json
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from cyclopts import App
from cyclopts.argument import Argument

from tests.tiny import tiny_classifier
from videoswin.cli.main import app, main
from videoswin.cli.options import in_todays_words

# What each word takes, wherever it stands: the types of its value.
WORDS: dict[str, set[type]] = {
    "--batch-size": {int},
    "--clip-len": {int},
    "--fps": {float},
    "--size": {int},  # one number, or where a clip need not be square two of them
    "--out": {Path, str},
    "--report": {Path},
    "--weights": {str},
    "--precision": {str},
    "--device": {str},
    "--runtime": {str},
    "--limits": {str},
    "--json": {bool},
    "--epochs": {int},
    "--folds": {int},
    "--model": {str},
    "--name": {str},
    "--num-classes": {int},
    "--profile": {bool},
    "--seed": {int},
    "--top-k": {int},
    "--views": {str},
}
# Other words for the same things, in this or another project's commands.
NOT_OURS = {
    *("--frames", "--num-frames", "--clip", "--clip-length", "--rate", "--frame-rate", "--batch", "--bs"),
    *("--resolution", "--crop-size", "--image-size", "--img-size", "--input-size"),
    *("--output", "--output-dir", "--out-dir", "--save", "--save-to", "--dest", "--html", "--page", "--report-page"),
    *(
        "--checkpoint",
        "--ckpt",
        "--pretrained",
        "--weight",
        "--model-path",
        "--dtype",
        "--backend",
        "--topk",
        "--classes",
    ),
}


def verbs(root: App = app, *before: str) -> dict[str, App]:
    """All commands, those of commands too, by their names: "train", or "serve check"."""
    found = {}
    for name in root:
        if not name.startswith("-"):
            found[" ".join([*before, name])] = root[name]
            found |= verbs(root[name], *before, name)
    return found


VERBS = verbs()


def options(verb: str) -> dict[str, Argument]:
    """Every spelling of an option that a command takes, hidden ones too."""
    collection = VERBS[verb].assemble_argument_collection() if VERBS[verb].default_command else []
    return {name: argument for argument in collection for name in argument.names if name.startswith("--")}


def kinds(hint: Any) -> set[type]:
    """``Literal["a", "b"] | None`` -> {str}; ``tuple[int, int]`` -> {int}; ``Path | None`` -> {Path}."""
    if get_origin(hint) is None:
        return {hint} if isinstance(hint, type) else {type(hint)}
    return {kind for part in get_args(hint) for kind in kinds(part)} - {type(None), type(...)}


def test_all_commands_are_walked() -> None:
    assert {"predict", "train", "evaluate", "info", "export", "bench", "stream", "timeline", "convert"} <= set(VERBS)
    assert sum(len(options(verb)) for verb in VERBS) > 100


@pytest.mark.parametrize("verb", VERBS)
def test_options_mean_the_same_everywhere(verb: str) -> None:
    found = options(verb)
    assert not NOT_OURS & found.keys()
    for name in WORDS.keys() & found.keys():
        assert kinds(found[name].hint) <= WORDS[name], f"{verb} {name} takes {found[name].hint}"
    assert all(argument.show for argument in found.values()), "former spellings stand in videoswin.cli.options"


def test_the_same_option_takes_the_same_kind_of_value() -> None:
    """Also those that the table does not name."""
    seen: dict[str, tuple[str, set[type]]] = {}
    for verb in VERBS:
        for name, argument in options(verb).items():
            other, there = seen.setdefault(name, (verb, kinds(argument.hint)))
            here = kinds(argument.hint)
            assert here == there or name in WORDS, f"{name}: {here} in {verb}, {there} in {other}"


@pytest.mark.parametrize("verb", ["info", "inspect"])
def test_weights_with_and_without_their_option(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_classifier().save(tmp_path / "ck")
    outputs = []
    for arguments in ([str(tmp_path / "ck")], ["--weights", str(tmp_path / "ck")], [f"--weights={tmp_path / 'ck'}"]):
        assert main([verb, *arguments, "--json"]) == 0
        outputs.append(json.loads(capsys.readouterr().out))
    assert outputs[0] == outputs[1] == outputs[2]


def test_what_is_converted_and_where_to_may_have_their_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_classifier().save(tmp_path / "ck")
    assert main(["convert", str(tmp_path / "ck"), str(tmp_path / "a.pth"), "--to", "official"]) == 0
    assert (
        main(["convert", "--weights", str(tmp_path / "ck"), "--out", str(tmp_path / "b.pth"), "--to", "official"]) == 0
    )
    assert (tmp_path / "a.pth").stat().st_size == (tmp_path / "b.pth").stat().st_size


@pytest.mark.parametrize(
    ("before", "today", "said"),
    [
        ("info swin3d_t --frames 16", "info swin3d_t --clip-len 16", ["--frames is now called --clip-len"]),
        ("info swin3d_t --frames=16", "info swin3d_t --clip-len 16", ["--frames is now called --clip-len"]),
        (
            "batch l.csv --features --timeline --out o",
            "batch l.csv --keep-features --keep-timeline --out o",
            ["--features is now called --keep-features", "--timeline is now called --keep-timeline"],
        ),
        ("bench --batch 2", "bench --batch-size 2", ["--batch is now called --batch-size"]),
        ("bench --clip 16x56x56", "bench --clip-len 16 --size 56", ["--clip is now called --clip-len 16 --size 56"]),
        (
            "bench --clip 16x56x64",
            "bench --clip-len 16 --size 56x64",
            ["--clip is now called --clip-len 16 --size 56x64"],
        ),
        (
            "stream - --size 40x30 --rate 10",
            "stream - --pipe-size 40x30 --pipe-fps 10",
            ["--size is now called --pipe-size", "--rate is now called --pipe-fps"],
        ),
        ("info swin3d_t --frames", "info swin3d_t --frames", []),
        ("train videos --size=64 --out x", "train videos --size=64 --out x", []),
        ("predict --frames=1", "predict --frames=1", []),
        ("", "", []),
    ],
)
def test_former_spellings(before: str, today: str, said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert in_todays_words(before.split()) == today.split()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"videoswin: {line}; the old name will go." for line in said]


def test_a_former_spelling_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    facts = []
    for option in ("--frames", "--clip-len"):
        assert main(["info", "swin3d_micro", option, "16", "--size", "56", "--json"]) == 0
        facts.append(json.loads(capsys.readouterr().out))
    assert facts[0] == facts[1]
    assert main(["info", "swin3d_micro", "--clip-len", "16", "--size", "32x64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clip"] == [16, 32, 64]


@pytest.mark.parametrize("value", ["3x", "x", "2x3x4", "1.5", "-3", "²"])
def test_a_size_is_one_number_or_two(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "swin3d_micro", f"--size={value}"]) == 2
    err = capsys.readouterr().err
    assert "height x width" in err
    assert err.count("\n") == 1
