"""Which engine computes: named for a thread and a task, told when it is asked for, and never another than was named."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.helpers import tiny_clip, tiny_model
from videoswin.errors import ConfigError
from videoswin.kernels import attend, chosen_engine, cpu, cpu_build, engine_in_force, gpu, plain, use_engine
from videoswin.model.windows import partition


@pytest.fixture
def no_compiled_engine(monkeypatch: pytest.MonkeyPatch) -> str:
    reason = "no C compiler was found (cc, or $CC)"
    monkeypatch.setattr(cpu_build, "_built", cpu_build._Built(None, reason))
    return reason


def used_here(calls: list[str]) -> str:
    """The engine that computes attention right now."""
    boxes = partition((1, 2, 2), (1, 2, 2), (0, 0, 0), "exact", "attended", torch.device("cpu"))
    calls.clear()
    attend(torch.randn(1, 4, 12), None, torch.zeros(9, 1), boxes, 1)
    return calls[0]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that computed, call by call."""
    seen: list[str] = []

    def listed(name: str, engine: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def attend(*args: Any, **options: Any) -> Tensor:
            seen.append(name)
            return engine(*args, **options)

        return attend

    for name, module in (("cpu", cpu), ("plain", plain)):
        monkeypatch.setattr(module, "attend", listed(name, module.attend))
    return seen


def test_names(calls: list[str]) -> None:
    assert used_here(calls) == "cpu"
    for name, engine in (("plain", "plain"), ("cpu", "cpu"), ("native", "cpu"), ("auto", "cpu")):
        with use_engine(name):
            assert used_here(calls) == engine
    with use_engine("plain"), use_engine("auto"):
        assert used_here(calls) == "cpu"
    with use_engine("native"):
        assert chosen_engine() == "cpu"


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ConfigError, match='no engine "cpuu"'), use_engine("cpuu"):
        pass


def test_the_environment_names_an_engine(monkeypatch: pytest.MonkeyPatch, calls: list[str]) -> None:
    monkeypatch.setenv("VIDEOSWIN_ENGINE", "plain")
    assert used_here(calls) == "plain"
    assert engine_in_force() == ("plain", "it was named")
    with use_engine("auto"):
        assert used_here(calls) == "cpu"
    monkeypatch.setenv("VIDEOSWIN_ENGINE", "fastest")
    with pytest.raises(ConfigError, match="VIDEOSWIN_ENGINE"):
        chosen_engine()


def test_what_was_named_is_never_replaced(no_compiled_engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match='engine "cpu" cannot be had here: no C compiler'), use_engine("cpu"):
        pass
    assert engine_in_force() == ("plain", no_compiled_engine)
    monkeypatch.setenv("VIDEOSWIN_ENGINE", "cpu")
    with pytest.raises(ConfigError, match='engine "cpu" cannot be had here: no C compiler'):
        tiny_model()(tiny_clip())


def test_a_thread_names_for_itself() -> None:
    """Two threads inside each other's blocks: each keeps its own, in whatever order they leave."""
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()
    seen: dict[str, list[str]] = {"first": [], "second": [], "third": []}

    def first() -> None:
        with use_engine("plain"):
            first_is_in.set()
            second_is_in.wait(30)
            seen["first"].append(chosen_engine())
        first_is_out.set()
        seen["first"].append(chosen_engine())

    def second() -> None:
        first_is_in.wait(30)
        seen["second"].append(chosen_engine())
        with use_engine("cpu"):
            second_is_in.set()
            first_is_out.wait(30)
            seen["second"].append(chosen_engine())

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == {"first": ["plain", "auto"], "second": ["auto", "cpu"], "third": []}


def test_a_task_names_for_itself() -> None:
    async def inside(name: str) -> list[str]:
        seen = [chosen_engine()]
        with use_engine(name):
            await asyncio.sleep(0)
            seen.append(chosen_engine())
            await asyncio.sleep(0)
        return [*seen, chosen_engine()]

    async def both() -> list[list[str]]:
        return list(await asyncio.gather(inside("plain"), inside("cpu")))

    assert asyncio.run(both()) == [["auto", "plain", "auto"], ["auto", "cpu", "auto"]]


def test_checkpointed_blocks_are_computed_again_by_the_same_engine(calls: list[str]) -> None:
    model, clip = tiny_model().train(), tiny_clip()
    model.set_grad_checkpointing()
    with use_engine("plain"):
        loss = model(clip).sum()
    assert set(calls) == {"plain"}
    thread = threading.Thread(target=loss.backward)  # as the backward threads of GPUs do
    with use_engine("cpu"):
        thread.start()
        thread.join()
    assert set(calls) == {"plain"}
    assert len(calls) == 8
    assert all(p.grad is not None for p in model.parameters())


def test_it_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cpu_build, "_built", None)
    model, clip = tiny_model(), tiny_clip()
    with caplog.at_level(logging.INFO, "videoswin.kernels"):
        model(clip)
        model(clip)
    (record,) = caplog.records
    assert "the compiled engine" in record.getMessage()


def test_the_reason_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cpu_build, "_built", None)
    monkeypatch.setattr(cpu_build, "_build", lambda: cpu_build._Built(None, "it rains"))
    model, clip = tiny_model(), tiny_clip()
    with caplog.at_level(logging.INFO, "videoswin.kernels"):
        model(clip)
        model(clip)
    (record,) = caplog.records
    assert "the plain engine" in record.getMessage()
    assert "it rains" in record.getMessage()


def test_where_it_is_plain_for_its_tensors() -> None:
    assert engine_in_force(dtype=torch.bfloat16).reason == "the compiled engine serves float32 on a CPU"
    assert engine_in_force("cuda").reason == "the compiled engine serves float32 on a CPU"


def test_auto_never_takes_the_gpu_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has measured it."""
    monkeypatch.setattr(gpu, "why_not", lambda: "")
    assert engine_in_force("cuda").name == "plain"
    with use_engine("triton"):
        assert chosen_engine() == "gpu"
        assert engine_in_force("cuda", torch.bfloat16).name == "gpu"
        assert engine_in_force("cuda", torch.float64).name == "plain"


def test_neither_import_nor_training_brings_the_compiler_or_needs_numpy() -> None:
    """The compiler takes a second and 60 MB, and only torch.compile and torch.export need it."""
    code = """
import sys
sys.modules["numpy"] = None
import torch
from videoswin.model import SwinConfig, VideoSwin
model = VideoSwin(SwinConfig(embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=(2, 3, 3)))
model(torch.randn(1, 3, 4, 16, 20)).sum().backward()
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
