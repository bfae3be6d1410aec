"""The command line as its users meet it: outputs, exit codes and the lines on stderr."""

import csv
import json
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.tiny import LABELS, tiny_classifier, write_video
from videoswin import __version__
from videoswin.cli import main as main_module
from videoswin.cli.main import main
from videoswin.cli.output import bar, printable

VERBS = (
    "demo", "predict", "train", "evaluate", "info", "models", "inspect", "convert", "export", "stream", "timeline",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint ``ck``, labelled videos ``data``, and a bad file ``bad.mp4``."""
    root = tmp_path_factory.mktemp("cli")
    tiny_classifier().save(root / "ck")
    for i, label in enumerate(LABELS * 2):
        write_video(root / "data" / label / f"{i}.mp4", frames=18, seed=i)
    (root / "bad.mp4").write_text("hello")
    return root


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "100")


def videoswin(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "videoswin", *arguments], capture_output=True, text=True)


# predict --------------------------------------------------------------------------------------------------------------


def test_predict_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "data/nod", "bad.mp4", "--weights", "ck", "--json", "--views", "1x3"]) == 1
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["path"] for line in lines] == ["data/nod/1.mp4", "data/nod/4.mp4", "bad.mp4"]
    assert all(line.keys() == {"path", "duration_s", "views", "complete", "predictions", "error"} for line in lines)
    assert [line["error"] is None for line in lines] == [True, True, False]
    assert lines[0]["views"] == "1x3"
    assert "bad.mp4" in err


def test_predict_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "data/nod/1.mp4", "--weights", "ck", "--top-k", "2"]) == 0
    out, err = capsys.readouterr()
    head, *rows = out.splitlines()
    assert head.startswith("data/nod/1.mp4  (1.50 s, looked at 0.08 to 1.25 s)")
    assert len(rows) == 2
    assert all(row.split()[0] in LABELS and " % " in row for row in rows)
    assert err == ""


@pytest.mark.parametrize("files", [["data/nod/1.mp4"], ["data/nod", "bad.mp4"]])
def test_predict_profile(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["predict", *files, "--weights", "ck", "--profile", "--top-k", "1"])
    out, _ = capsys.readouterr()
    head = next(i for i, line in enumerate(out.splitlines()) if line.startswith("reading"))
    table = out.splitlines()[head:]
    assert [line.split("  ")[1] for line in table if line.startswith("  ") and line.strip()] == [
        "open, read all packets",
        "decode the frames that are needed",
        "resize them once for all views",
        "cut the views, normalise",
        "the model",
        "wait for a video to be read",
        "all else",
    ]
    assert table[-1].startswith("1 video in " if len(files) == 1 else "3 videos in ")


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_profile_json_is_the_last_line_of_stderr(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "data", "--weights", "ck", "--views", "2xwide", "--profile", "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == (6 if verb == "predict" else 1)
    profile = json.loads(err.splitlines()[-1])["profile"]
    assert profile.keys() == {"videos", "wall_s", "videos_per_s", "readers", "stages"}
    assert profile["videos"] == 6
    main_thread = sum(profile["stages"][name]["share"] for name in ("model", "waiting", "rest"))
    assert main_thread == pytest.approx(1, abs=0.01)


def test_predict_says_none_of_these(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = tiny_classifier()
    classifier.none_threshold = 1.0
    classifier.save(tmp_path / "strict")
    assert main(["predict", "data/nod/1.mp4", "--weights", str(tmp_path / "strict")]) == 0
    assert "none of these" in capsys.readouterr().out


def test_predict_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "r.html"
    assert main(["predict", "data", "bad.mp4", "--weights", "ck", "--report", str(report)]) == 1
    assert report.read_text(encoding="utf-8").count("<article") == 7
    assert str(report) in capsys.readouterr().err


def test_file_names_are_no_markup_and_no_escape_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "[red]x[/] \x1b[31m.mp4")
    assert main(["predict", str(path), "nothing\x1b.mp4", "--weights", "ck"]) == 1
    out, err = capsys.readouterr()
    assert "[red]x[/] \\x1b[31m.mp4" in out
    assert "\x1b" not in out + err


def test_exit_codes_of_bad_files() -> None:
    only_bad = videoswin("predict", "bad.mp4", "--weights", "ck")
    assert only_bad.returncode == 2
    assert only_bad.stdout == ""
    assert only_bad.stderr.count("\n") == 1
    assert "bad.mp4" in only_bad.stderr
    assert "text file" in only_bad.stderr
    some = videoswin("predict", "bad.mp4", "data/nod", "--weights", "ck", "--json")
    assert some.returncode == 1
    assert len([json.loads(line) for line in some.stdout.splitlines()]) == 3
    good = videoswin("predict", "data/nod", "--weights", "ck", "--json")
    assert (good.returncode, good.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_progress_is_for_the_terminal_and_stdout_for_the_json() -> None:
    terminal, its_end = os.openpty()
    command = [sys.executable, "-m", "videoswin", "predict", "data", "--weights", "ck", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=its_end, text=True)
    os.close(its_end)
    seen = os.read(terminal, 100_000).decode(errors="replace")
    os.close(terminal)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 6
    assert "Looking at videos" in seen
    assert "predictions" not in seen


# evaluate -------------------------------------------------------------------------------------------------------------


def test_evaluate_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "data", "--weights", "ck", "--json"]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert figures.keys() == {"n", "top1", "top5", "mean_class", "unreadable"}
    assert (figures["n"], figures["top5"], figures["unreadable"]) == (6, 1.0, [])
    assert err == ""


def test_evaluate_counts_what_it_cannot_read(tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["path,label,split,group"]
    lines += [f"{place / 'data' / label / f'{i}.mp4'},{label},test,g" for i, label in enumerate(LABELS)]
    lines += [f"{place / 'bad.mp4'},wave,test,g", f"{place / 'data/nod/4.mp4'},nod,train,g"]
    (tmp_path / "index.csv").write_text("\n".join(lines))
    command = ["evaluate", str(tmp_path / "index.csv"), "--weights", "ck"]
    assert main([*command, "--split", "test", "--out", str(tmp_path / "out"), "--json"]) == 1
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert figures["n"] == 4
    assert figures["unreadable"] == [str(place / "bad.mp4")]
    assert "counted as wrong" in err
    assert "1 group in more than one split" in err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["confusion.png", "predictions.csv"]
    assert main(command) == 1
    assert "all splits are evaluated together (test 4, train 1)" in capsys.readouterr().err


def test_evaluate_text(capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", "data", "--weights", "ck", "--views", "2x3"])
    out = capsys.readouterr().out
    for word in (*LABELS, "recall", "top-1", "mean class", "2x3"):
        assert word in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_evaluate_tells_answers_of_none(tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By a threshold here, which no score reaches: wrong for clips of the classes, right for those of other things."""
    strict = tiny_classifier()
    strict.none_threshold = 1.0
    strict.save(tmp_path / "strict")
    lines = [
        "path,label",
        f"{place}/data/{LABELS[0]}/0.mp4,{LABELS[0]}",
        f"{place}/data/{LABELS[1]}/1.mp4,{LABELS[1]}",
        f"{place}/data/{LABELS[2]}/2.mp4,cat",
    ]
    (tmp_path / "index.csv").write_text("\n".join(lines))
    index, command = str(tmp_path / "index.csv"), ["--weights", str(tmp_path / "strict")]
    assert main(["evaluate", index, *command, "--none", "cat", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["n"] == 2
    told = {"answered": 2, "top1": 0.0, "others": 1, "others_refused": 1}
    assert told.items() <= figures["none"].items()
    more = ["--out", str(tmp_path / "out"), "--report", str(tmp_path / "page.html")]
    assert main(["evaluate", index, *command, "--none", "cat", *more]) == 0
    out = capsys.readouterr().out
    for words in ("said none", "right, and not none", "other things (cat)", "told apart (AUROC)"):
        assert words in out
    with (tmp_path / "out" / "predictions.csv").open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == [*LABELS[:2], "cat"]
    assert main(["evaluate", index, *command]) == 2
    assert '"cat"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("strict", "none", "reason"),
    [(False, "cat", "never answers"), (True, "nod", "one of the classes"), (True, "wav", 'Did you mean "wave"?')],
)
def test_evaluate_refuses_a_none_that_makes_no_sense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], strict: bool, none: str, reason: str
) -> None:
    classifier = tiny_classifier()
    classifier.none_threshold = 0.5 if strict else None
    classifier.save(tmp_path / "ck")
    assert main(["evaluate", "data", "--weights", str(tmp_path / "ck"), "--none", none]) == 2
    assert reason in capsys.readouterr().err


def test_long_labels_are_whole_when_piped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "a label " * 40
    tiny_classifier(labels=(long.strip(), "b", "c")).save(tmp_path / "long")
    main(["predict", "data/nod/1.mp4", "--weights", str(tmp_path / "long")])
    assert long.strip() in capsys.readouterr().out


# info -----------------------------------------------------------------------------------------------------------------


def test_info_json_of_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "swin3d_t", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"] == 28_158_070
    assert round(facts["macs"] / 1e9, 1) == 87.8
    assert facts["stages"][0] == [96, 16, 56, 56]
    assert main(["info", "swin3d_t", "--num-classes", "10", "--clip-len", "16", "--size", "112", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["clip"] == [16, 112, 112]
    assert facts["parameters"] == 28_158_070 - 390 * 769
    assert facts["macs_executed"] < facts["macs"]


def test_info_of_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "ck", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["labels"] == list(LABELS)
    assert facts["clip"] == [8, 32, 32]
    assert facts["preprocessing"]["clip_len"] == 8
    assert main(["info", "ck"]) == 0
    out = capsys.readouterr().out
    for word in ("parameters", "MACs", "stage", "preprocessing", *LABELS):
        assert word in out


# demo -----------------------------------------------------------------------------------------------------------------


def test_demo(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("videoswin.classifier.bundled.CHECKPOINTS", tmp_path)
    assert main(["demo"]) == 2
    assert "no sample clips" in capsys.readouterr().err
    tiny_classifier().save(tmp_path / "swin3d_micro_gestures")
    write_video(tmp_path / "samples" / "one.mp4")
    assert main(["demo", "--report", str(tmp_path / "demo.html")]) == 0
    out = capsys.readouterr().out
    for word in ("video", "label", "score", "time span", "one.mp4", "0.33 to 1.50 s", "demo.html"):
        assert word in out
    assert "<article" in (tmp_path / "demo.html").read_text(encoding="utf-8")


# What cannot be done --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("predcit x.mp4", 'Did you mean "predict"?'),
        ("predict x.mp4 --wieghts ck", "Did you mean --weights?"),
        ("predict x.mp4", "--weights"),
        ("predict --weights ck", "FILE"),
        ("predict x.mp4 --weights ck --top-k many", "--top-k"),
        ("predict x.mp4 --weights ck --top-k 0", "top_k=0"),
        ("predict x.mp4 --weights ck --views 3", "Views"),
        ("predict x.mp4 --weights nowhere", 'no checkpoint "nowhere"'),
        ("predict x.mp4 --weights swin3d_t", "without weights"),
        ("predict data --weights ck --report missing/r.html", "the folder it should stand in does not exist"),
        ("evaluate data --weights ck --split test", "no splits"),
        ("evaluate nowhere --weights ck", "nowhere"),
        ("info swin3d_tn", 'Did you mean "swin3d_t"?'),
        ("info nowhere/x", "no checkpoint"),
        ("info ck --num-classes 5", "num_classes=5 is for presets"),
        ("info swin3d_t --clip-len 1", "Axis T is 1 long"),
        ("info swin3d_t --size 0", "size=0"),
        ("info swin3d_t --num-classes -1", "num_classes=-1"),
    ],
)
def test_one_line_and_code_2(command: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
    assert err.count("\n") == 1


def test_an_unknown_label_is_named(tmp_path: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "i.csv").write_text(f"path,label\n{place / 'data/nod/1.mp4'},nodd\n")
    assert main(["evaluate", str(tmp_path / "i.csv"), "--weights", "ck"]) == 2
    err = capsys.readouterr().err
    assert '"nodd"' in err
    assert 'Did you mean "nod"?' in err


def test_an_output_folder_that_cannot_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "data", "--weights", "ck", "--out", "bad.mp4"]) == 2
    err = capsys.readouterr().err
    assert "bad.mp4" in err
    assert "Traceback" not in err


def test_control_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module, "app", interrupt)
    assert main(["predict"]) == 130
    assert capsys.readouterr().err == "videoswin: interrupted.\n"


def test_control_c_in_a_process() -> None:
    script = (
        "import os, signal, sys\n"
        "from videoswin.cli import main as m\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background of a script ignores it
        "m.app = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(m.main(['demo']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGINT
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_stdout_is_named(unbuffered: str) -> None:
    command = [sys.executable, "-m", "videoswin", "--version"]
    with open("/dev/full", "wb") as full:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr == (
        "videoswin: standard output: No space left on device. Check the rights and the space there.\n"
    )


def test_a_closed_pipe_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "videoswin", "predict", "data", "--weights", "ck", "--json"]
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# Help -----------------------------------------------------------------------------------------------------------------


def test_help_needs_no_torch_and_lists_the_verbs() -> None:
    script = (
        "import sys\n"
        "from videoswin.cli.main import main\n"
        "code = main([])\n"
        "sys.exit(code or ('torch' in sys.modules) or ('numpy' in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_has_an_example_and_explains_every_option(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"    videoswin {verb}" in out
    assert "For example:" in out
    assert "Parameters\n" not in out.partition("╭")[0]
    assert all(len(line) <= 100 for line in out.splitlines())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project.get("version", __version__) == __version__


def test_small_pieces() -> None:
    assert bar(1.0) == "█" * 24
    assert bar(0.0) == ""
    assert printable("a\x1b[0m\n\u202eé") == "a\\x1b[0m\\n\\u202eé"
