"""What ``videoswin bench`` promises: nothing is timed before it is equal, and nothing is left out in silence."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from videoswin.bench import measure as measure_module
from videoswin.bench import variants
from videoswin.bench.equality import DifferentResultsError, check_gradients, relative_difference
from videoswin.bench.measure import Job, measure, parse_what
from videoswin.bench.timing import Times, take_turns
from videoswin.bench.variants import OTHERS, choose, gradients, require
from videoswin.cli.main import main
from videoswin.errors import MissingExtraError, VideoSwinError
from videoswin.model import VideoSwin

CPU = torch.device("cpu")
SMALL = Job("swin3d_micro", (2, 8, 8))


def test_all_forms_are_found_equal_and_timed_in_turns() -> None:
    result = measure(SMALL, ["plain"], ["forward", "train"], repeats=2)
    for rows, limit in ((result.forward, 1e-5), (result.train, 1e-4)):
        assert [row.name for row in rows] == ["videoswin", "plain"]
        assert all(row.difference < limit for row in rows)
        assert rows[0].ratio == (1, 1, 1)
        low, median, high = rows[1].ratio[1], rows[1].ratio[0], rows[1].ratio[2]
        assert 0 < low <= high
        assert median > 0
    assert result.train[0].difference != result.forward[0].difference


@pytest.mark.parametrize("part", ["forward", "train"])
def test_a_form_that_computes_something_else_is_refused_and_nothing_is_timed(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = variants.build

    def wrong(name: str, ours: VideoSwin, clip: tuple[int, int, int]) -> variants.Model:
        model = right(name, ours, clip)
        if name == "compiled":
            assert isinstance(model, VideoSwin)
            with torch.no_grad():
                model.head.fc.bias[0] += 0.5  # type: ignore[union-attr, operator]
        return model

    monkeypatch.setattr(measure_module, "build", wrong)
    monkeypatch.setattr(measure_module, "take_turns", lambda *_: pytest.fail("something was timed"))
    monkeypatch.setattr(VideoSwin, "compile", lambda self: None)
    with pytest.raises(DifferentResultsError, match=r"compiled.* differ from ours by .*nothing is timed"):
        measure(SMALL, ["compiled"], [part], repeats=1)


def test_our_own_engine_is_compared_with_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when nothing else is measured."""
    right = measure_module._expected
    monkeypatch.setattr(
        measure_module, "_expected", lambda job, part: {k: v * 1.001 for k, v in right(job, part).items()}
    )
    with pytest.raises(DifferentResultsError, match="videoswin differ from ours"):
        measure(SMALL, [], ["forward"], repeats=1)


def test_differences() -> None:
    one = torch.ones(2, 3)
    assert relative_difference(one, one) == 0
    assert relative_difference(one * 1.5, one) == pytest.approx(0.5)
    assert relative_difference(one, one[:1]) == relative_difference(one * torch.nan, one) == float("inf")
    with pytest.raises(DifferentResultsError, match=r"has other tensors than ours \(b\)"):
        check_gradients("peer", {"a": one, "b": one}, {"a": one}, "float32")


def test_no_tensor_of_the_compared_model_is_idle() -> None:
    """A mistake in a bias, a norm or a table would not show if all of them were zeros or ones."""
    for name, parameter in SMALL.ours().named_parameters():
        assert parameter.std() > 1e-3, name


def test_turns_begin_with_another_call_each_time() -> None:
    order: list[str] = []
    times = take_turns({name: lambda n=name: order.append(n) for name in "abc"}, 3, CPU)
    assert "".join(order) == "abcbcacab"
    assert {len(taken.seconds) for taken in times.values()} == {3}


def test_medians_and_ratios() -> None:
    base, other = Times((1.0, 2.0, 4.0)), Times((3.0, 4.0, 4.0))
    assert (base.median, base.quartiles) == (2.0, (1.5, 3.0))
    assert other.over(base) == (2.0, 1.0, 3.0)
    assert Times((1.0,)).quartiles == (1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "breakage", "reason"),
    [
        ("torchvision", None, "torchvision is not installed: pip install torchvision"),
        ("torchvision", RuntimeError("operator torchvision::nms does not exist"), "does not load beside this PyTorch"),
        ("onnx", None, r"pip install 'videoswin\[onnx\]'"),
    ],
)
def test_a_library_that_is_not_there_is_listed(
    name: str, breakage: Exception | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("torchvision", "torchvision.models.video.swin_transformer", "onnxruntime"):
        monkeypatch.setitem(sys.modules, library, None)  # what makes Python say that it is not there
    if breakage is not None:

        def broken(path: str) -> ModuleType:
            raise breakage

        monkeypatch.setattr(variants.importlib, "import_module", broken)
    with pytest.raises(MissingExtraError, match=reason):
        require(name, CPU)
    result = measure(SMALL, [name], [], repeats=1)
    assert list(result.missing) == [name]


def test_their_gradients_have_our_names() -> None:
    """torchvision's tensors under its own names, as its model would have them."""
    from videoswin.weights.formats import FAMILIES

    ours = SMALL.ours()
    theirs = nn.Module()
    for name, tensor in FAMILIES["torchvision_3d"].from_canonical(ours.state_dict(), ours.config.window_size).items():
        if tensor.is_floating_point():
            module = theirs
            *parts, last = name.split(".")
            for part in parts:
                if not hasattr(module, part):
                    module.add_module(part, nn.Module())
                module = module.get_submodule(part)
            module.register_parameter(last, nn.Parameter(tensor))
            module.get_parameter(last).grad = tensor
    found = gradients("torchvision", theirs)
    assert found.keys() == dict(ours.named_parameters()).keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in ours.named_parameters())


def test_names() -> None:
    assert parse_what("memory,forward") == ["forward", "memory"]
    assert choose("all") == list(OTHERS)
    assert choose("none") == []
    assert choose("torchvision, plain") == ["plain", "torchvision"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "32x"], "height x width"),
        (["--clip-len", "1"], "Axis T is 1 long"),
        (["--what", "forwards"], 'Did you mean "forward"'),
        (["--peers", "torchvison"], 'Did you mean "torchvision"'),
        (["--repeats", "0"], "repeats=0"),
        (["--batch-size", "0"], "A batch of 0 clips"),
        (["--model", "swin3d_tt"], "Did you mean"),
        (["--precision", "fp16"], '"fp16"'),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("process", ["this one", pytest.param("its own", marks=pytest.mark.slow)])
def test_the_command(process: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def here(command: list[str], **_: object) -> SimpleNamespace:
        before = capsys.readouterr().out
        measure_module._main(json.loads(command[-1]))
        counted = capsys.readouterr().out
        print(before, end="")
        return SimpleNamespace(returncode=0, stdout=counted)

    if process == "this one":  # a process for each figure takes seconds
        monkeypatch.setattr(measure_module.subprocess, "run", here)
    small = ["bench", "--model", "swin3d_micro", "--clip-len", "2", "--size", "8", "--repeats", "1", "--peers", "plain"]
    assert main([*small, "--what", "train,memory", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["train"][1]["difference"] < 1e-4
    assert data["memory"]["train"].keys() == {"videoswin", "plain"}
    if process == "its own":  # AdamW's two moments, at least
        assert all(found > 2 * 4 * 2.8e6 for found in data["memory"]["train"].values())
    assert main([*small, "--what", "forward", "--precision", "fp32"]) == 0
    shown = capsys.readouterr()
    assert "single rounds" in shown.out
    assert "--precision fp32 is now called float32" in shown.err


def test_a_process_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = SimpleNamespace(returncode=-9, stdout="", stderr="")
    monkeypatch.setattr(measure_module.subprocess, "run", lambda *_, **__: killed)
    with pytest.raises(VideoSwinError, match="memory of videoswin could not be measured: exit code -9, perhaps out of"):
        measure(SMALL, [], ["memory"], repeats=1)
