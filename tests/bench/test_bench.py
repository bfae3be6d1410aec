"""What the benchmark promises: nothing is timed before it is equal, nothing is left out in silence, limits are the model's."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.bench.helpers import Another, Missing, Wrong, WrongGradient, tiny_job
from videoswin.bench import limits as limits_module
from videoswin.bench import measure as measure_module
from videoswin.bench import peers as peers_module
from videoswin.bench import scaling as scaling_module
from videoswin.bench.equality import DifferentResultsError, check_gradients, check_output, relative_difference
from videoswin.bench.job import Job, parse_clip
from videoswin.bench.limits import linear_shapes, measure_limits, product_shapes
from videoswin.bench.measure import measure, parse_what
from videoswin.bench.memory import peak_memory, peak_memory_here
from videoswin.bench.passes import gradients_of, output_of
from videoswin.bench.peers import OTHERS, PEERS, Multihead, Ours, OursCheckpointed, choose
from videoswin.bench.pictures import draw_bars, draw_scaling
from videoswin.bench.report import Report
from videoswin.bench.scaling import sizes
from videoswin.bench.timing import Times, take_turns
from videoswin.cli.main import main
from videoswin.errors import ConfigError, MissingExtraError
from videoswin.model import count_macs

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def little_to_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "_COPIED_BYTES", 2**20)


# Equality -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", [Multihead(), OursCheckpointed()], ids=lambda peer: peer.name)
@pytest.mark.parametrize("clip", [(4, 24, 24), (7, 30, 21), (2, 8, 8), (12, 40, 32)])
def test_peers_of_the_same_model_compute_the_same(peer: Ours, clip: tuple[int, int, int]) -> None:
    """Clipped windows, padding and odd sizes included."""
    job = tiny_job(clip, batch=2)
    ours, model = job.ours(), peer.build(job, job.ours())
    expected = output_of(ours, job.video(), job)
    assert check_output(peer.name, output_of(model, job.video(), job), expected, "fp32") < 1e-5
    gradients_of(ours, job.video(), job)
    gradients_of(model, job.video(), job)  # type: ignore[arg-type]
    check_gradients(peer.name, peer.gradients(model), Ours().gradients(ours), "fp32")  # type: ignore[arg-type]


@pytest.mark.parametrize(("peer", "what"), [(Wrong(), "forward"), (WrongGradient(), "train")])
def test_a_wrong_peer_is_refused_and_nothing_is_timed(peer: Ours, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "take_turns", lambda *_: pytest.fail("something was timed"))
    with pytest.raises(DifferentResultsError, match=f"{peer.name}.* differ from ours by .*nothing is timed"):
        measure(tiny_job(), [peer], parse_what(what))


def test_our_own_engine_is_checked_without_any_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    build = Multihead.build

    def other(self: Multihead, job: Job, ours: torch.nn.Module) -> torch.nn.Module:
        model = build(self, job, ours)  # type: ignore[arg-type]
        torch.nn.init.zeros_(model.backbone.norm.weight)  # type: ignore[arg-type, union-attr]
        return model

    monkeypatch.setattr(Multihead, "build", other)
    with pytest.raises(DifferentResultsError, match="reference of rolled windows"):
        measure(tiny_job(), [], ["forward"])


def test_differences() -> None:
    one = torch.ones(2, 3)
    assert relative_difference(one, one) == 0
    assert relative_difference(one * 1.5, one) == pytest.approx(0.5)
    assert relative_difference(one, one[:1]) == relative_difference(one * torch.nan, one) == float("inf")
    with pytest.raises(DifferentResultsError, match=r"has other tensors than ours \(b\)"):
        check_gradients("peer", {"a": one, "b": one}, {"a": one}, "fp32")


def test_bfloat16_is_compared_with_float32() -> None:
    report = measure(tiny_job(precision="bf16"), [], ["forward"], repeats=1)
    assert 0 < report.forward[0].difference < 3e-2  # type: ignore[operator]


# A whole run ----------------------------------------------------------------------------------------------------------


def test_a_run_and_its_pictures(tmp_path: Path) -> None:
    job = tiny_job((4, 16, 16))
    report = measure(job, [Multihead(), Another(), Missing()], ["forward", "train"], repeats=2)
    assert [row.name for row in report.forward] == ["videoswin", "nn.MultiheadAttention", "another"]
    assert [row.name for row in report.train] == ["videoswin", "videoswin, recomputed", "nn.MultiheadAttention"]
    assert report.missing == {"missing": "nobody has it: pip install nothing"}
    assert report.forward[0].ratio == (1, 1, 1)
    assert report.forward[2].difference is None
    assert report.forward[2].clip == (2, 8, 8)
    assert 0 < report.reached()["linear"] < report.reached()["all_products"]
    data = json.loads(json.dumps(report.to_dict()))
    assert len(data["forward"][1]["seconds"]["all"]) == 2
    draw_bars(tmp_path / "bench.png", report)
    assert (tmp_path / "bench.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", ["torchvision", "timesformer"])
def test_a_library_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("torchvision", "transformers"):
        for module in [m for m in sys.modules if m.partition(".")[0] == library]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, library, None)  # what makes Python say that it is not there
    peers_module._torchvision.cache_clear()
    peers_module._transformers.cache_clear()
    with pytest.raises(MissingExtraError, match="is not installed: pip install"):
        OTHERS[name].require()


def test_scaling_and_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling_module, "peak_memory", peak_memory_here)  # a process for each point takes long
    job = tiny_job((8, 16, 16))
    every = sizes(job)
    assert every[0] == (("frames", "pixels", "batch"), job)
    assert len({(other.clip, other.batch) for _, other in every}) == len(every) == 9
    report = measure(job, [], ["scaling"], repeats=1)
    assert all(point.memory["videoswin"].peak > 0 for point in report.scaling)
    draw_scaling(tmp_path / "scaling.png", report.scaling)
    assert (tmp_path / "scaling.png").read_bytes()[:4] == b"\x89PNG"


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


# Limits and memory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [(4, 24, 24), (7, 30, 21), (12, 40, 32)])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_shapes_are_all_that_the_model_multiplies(clip: tuple[int, int, int], batch: int) -> None:
    job = tiny_job(clip, batch)
    linear = sum(shape.macs * count for shape, count in linear_shapes(job).items())
    products = sum(shape.macs * count for shape, count in product_shapes(job).items())
    assert linear + products == batch * count_macs(job.config, *clip).executed


def test_limits_are_positive() -> None:
    limits = measure_limits(tiny_job((2, 8, 8)))
    assert 0 < limits.linear_s < limits.floor_s
    assert limits.copy_bytes_per_s > 0


def test_memory_of_a_fresh_process_is_less_than_that_of_this_one() -> None:
    job = tiny_job((4, 16, 16))
    fresh, here = peak_memory(Ours(), job, "train"), peak_memory_here(Ours(), job, "train")
    assert 0 < fresh.step < fresh.peak
    assert fresh.peak < 2 * here.peak


# Jobs, names, the command ---------------------------------------------------------------------------------------------


def test_a_job_survives_the_way_to_another_process() -> None:
    job = tiny_job()
    again = Job.from_dict(json.loads(json.dumps(job.to_dict())))
    assert again == job
    assert all(torch.equal(a, b) for a, b in zip(job.ours().parameters(), again.ours().parameters(), strict=True))
    assert torch.equal(job.video(), again.video())


def test_no_tensor_of_the_compared_model_is_idle() -> None:
    """A mistake in a bias, a norm or a table would not show if all of them were zeros or ones."""
    for name, parameter in tiny_job().ours().named_parameters():
        assert parameter.std() > 1e-3, name


def test_a_peer_bound_to_another_device_is_listed_with_the_reason() -> None:
    job = replace(tiny_job(), device="cpu")
    report = Report(job, 1)
    assert measure_module._present(job, [OTHERS["triton"], OTHERS["plain"]], report) == [OTHERS["plain"]]
    assert report.missing == {"videoswin, triton engine": "It runs on cuda devices only."}


def test_names() -> None:
    assert parse_clip("32x224X196") == (32, 224, 196)
    assert parse_what("memory,forward") == ["forward", "memory"]
    assert choose("all") == list(OTHERS.values())
    assert choose("none") == []
    assert [peer.name for peer in choose("multihead,torchvision")] == ["torchvision", "nn.MultiheadAttention"]
    assert all(name == peer.name for name, peer in PEERS.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clip", "32x224"], "frames x height x width"),
        (["--clip", "1x224x224"], "Axis T is 1 long"),
        (["--what", "forwards"], 'Did you mean "forward"'),
        (["--peers", "torchvison"], 'Did you mean "torchvision"'),
        (["--repeats", "0"], "repeats=0"),
        (["--batch", "0"], "batch=0"),
        (["--model", "swin3d_tt"], "Did you mean"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    assert message in capsys.readouterr().err
    with pytest.raises(ConfigError):
        Job.of("swin3d_t", "2x4x4", precision="fp16")  # type: ignore[arg-type]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["bench", "--model", "swin3d_micro", "--clip", "2x8x8", "--repeats", "1"]
    assert main([*small, "--peers", "multihead", "--what", "forward", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["forward"][1]["difference"] < 1e-5
    assert main([*small, "--peers", "none", "--what", "forward,memory", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "limit of this machine" in shown
    assert "memory, forward" in shown
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "bench.png"}
