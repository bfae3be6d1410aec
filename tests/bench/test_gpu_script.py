"""``benchmarks/gpu.py``: it needs only the model and its kernels, it always ends, and what it says is counted right."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from benchmarks.lib.clock import Budget, OutOfTime, interleaved, summary, time_limit
from benchmarks.lib.gpu_kernel import LIMITS, random_cases
from benchmarks.lib.gpu_models import bytes_of_layers
from benchmarks.lib.torchvision_swin import ours_to_theirs

from videoswin.model import create_model, get_config
from videoswin.model.windows import partition
from videoswin.weights.formats import FAMILIES
from videoswin.zoo.swin_macs import stage_grids

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")

ONLY_THE_MODEL = """
import runpy, sys

MISSING = {"av", "numpy", "safetensors", "cyclopts", "rich", "matplotlib", "huggingface_hub", "torchvision"}
OURS = {"model", "interface", "kernels", "zoo", "errors", "storage"}


class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        top, _, inner = name.partition(".")
        if top in MISSING or (top == "videoswin" and inner and inner.split(".")[0] not in OURS):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing)
sys.argv = ["gpu.py", *sys.argv[1:]]
runpy.run_path(%r, run_name="__main__")
"""


@pytest.mark.slow
def test_the_rehearsal_without_our_other_dependencies(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    code = ONLY_THE_MODEL % str(ROOT / "benchmarks" / "gpu.py")
    arguments = ["--device", "cpu", "--quick", "--seconds", "240", "--cases", "4", "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["complete"]
    assert found["machine"]["torchvision"].startswith("none (ModuleNotFoundError")
    rows = found["rows"]
    measured = [row for row in rows if "error" not in row]
    assert {row["name"] for row in measured} >= {"ours, plain"}
    assert {(row["part"], row["precision"]) for row in measured} >= {("forward", "bf16"), ("forward", "float32")}
    assert all(row["error"] for row in rows if "torchvision" in row.get("name", ""))
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.json"]


def test_the_cases_are_the_same_every_time_and_of_every_kind() -> None:
    cases = list(random_cases(200, 0, list(LIMITS), 20))
    assert cases == list(random_cases(200, 0, list(LIMITS), 20))
    assert set(Counter(case.dtype for case in cases)) == set(LIMITS)
    kinds = Counter((case.padding, case.causal, any(case.shift)) for case in cases)
    assert len(kinds) == 8
    padded = 0
    for case in cases[:50]:
        boxes = partition(case.grid, case.window, case.shift, case.relative_bias, case.padding, CPU, case.causal)
        padded += boxes.padded
    assert 0 < padded < 50


def test_their_names_are_those_of_the_format() -> None:
    model = create_model("swin3d_micro")
    theirs = FAMILIES["torchvision_3d"].from_canonical(model.state_dict(), model.config.window_size)
    mapped = {ours_to_theirs(name) for name in model.state_dict()}
    assert mapped == {name for name in theirs if not name.endswith("relative_position_index")}


def test_bytes_are_those_that_layers_read_and_write() -> None:
    """Counted by hooks on the real modules of one small model: tokens in and out of every layer of its blocks."""
    config = get_config("swin3d_micro")
    clip, model = (4, 32, 32), create_model(config).eval()
    counted = 0

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal counted
        counted += 4 * (inputs[0].numel() + output.numel())
        if isinstance(module, torch.nn.Linear):
            counted += 4 * module.weight.numel()

    tokens_dims = 0
    for stage, grid in zip(model.backbone.stages, stage_grids(config, *clip), strict=True):
        for block in stage.blocks:
            dim = block.attn.proj.in_features  # type: ignore[union-attr]
            tokens_dims += 4 * grid[0] * grid[1] * grid[2] * dim  # type: ignore[operator]
            for module in block.modules():
                if isinstance(module, torch.nn.Linear | torch.nn.LayerNorm | torch.nn.GELU):
                    module.register_forward_hook(count)
    from videoswin.kernels import use_engine

    with use_engine("plain"), torch.inference_mode():
        model(torch.zeros(1, 3, *clip))
    counted += (4 + 2 * 3) * tokens_dims  # attention reads 3 C and writes C; each of two sums reads 2 C and writes C
    expected = bytes_of_layers(config, clip, 1, 4)
    assert expected == pytest.approx(counted, rel=0.1)  # merging is in one of them only


def test_a_step_that_takes_too_long_is_stopped() -> None:
    def forever() -> None:
        with time_limit(0.05):
            while True:
                pass

    with pytest.raises(OutOfTime, match="not done within 0 s"):
        forever()
    assert Budget(0).left == 0
    assert 0 < Budget(100).share(5).left <= 5


def test_rounds_end_together_when_the_time_is_over() -> None:
    order: list[str] = []
    calls = {name: lambda n=name: order.append(n) for name in "ab"}
    taken = interleaved(calls, 5, CPU, 0.0, Budget(0))
    assert {len(seconds) for seconds in taken.values()} == {1}
    taken = interleaved(calls, 3, CPU, 0.0, Budget(60))
    assert {len(seconds) for seconds in taken.values()} == {3}
    assert "".join(order[-6:]) == "abbaab"


def test_ratios_are_of_rounds() -> None:
    found = summary([2.0, 2.0, 9.0], [1.0, 2.0, 3.0])
    assert (found["ratio"], found["ratio_least"], found["ratio_most"]) == (2.0, 1.0, 3.0)
    assert (found["ms"], found["rounds"]) == (2000.0, 3)
