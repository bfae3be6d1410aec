"""One run: equal first, then in turns; memory in a process of its own for each figure.

python -m videoswin.bench.measure JSON      what such a process runs; prints one JSON object
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videoswin.bench.equality import check_gradients, check_output
from videoswin.bench.timing import Times, take_turns, timed
from videoswin.bench.variants import OURS, Model, build, gradients, is_trainable, require, require_form
from videoswin.errors import ConfigError, MissingExtraError, VideoSwinError, nearest
from videoswin.interface.video_model import VideoModel
from videoswin.model import SwinConfig
from videoswin.weights.assemble import empty_model
from videoswin.zoo.registry import config_from_dict, create_model, get_config

__all__ = ["Job", "Result", "Row", "measure", "parse_what"]

WHAT = ("forward", "train", "memory")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Job:
    """What is measured.

    Raises:
        ConfigError: there is no such preset or device, no clips, or the clips are too small.
    """

    model: str = "swin3d_t"
    clip: tuple[int, int, int] = (32, 224, 224)
    """Frames, height, width in pixels."""
    batch: int = 1
    device: str = "cpu"
    precision: Literal["float32", "bf16"] = "float32"
    """"bf16": matrix products in bfloat16 under autocast, as in training; weights stay float32."""
    architecture: dict[str, Any] | None = None
    """Instead of what ``model`` names: a configuration as :func:`~videoswin.zoo.config_to_dict` writes it."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"A batch of {self.batch} clips cannot be measured; give 1 or more.")
        self.empty().check_clip(self.clip)

    def _config(self) -> Any:
        """Nothing is drawn; tables of a system of the zoo fit the clip. Only the fields that the system has."""
        config: Any = config_from_dict(self.architecture) if self.architecture else get_config(self.model)
        still = {"drop_path": 0.0, "head_dropout": 0.0, "dropout": 0.0, "temporal_dropout": 0.0}
        if isinstance(config, SwinConfig):
            still["relative_bias"] = "official"  # type: ignore[assignment]
        else:
            still |= {"clip_len": self.clip[0], "crop_size": self.clip[1]}
        return config.replace(**{name: value for name, value in still.items() if hasattr(config, name)})

    def empty(self) -> VideoModel:
        """The model without its numbers."""
        return empty_model(self._config())

    def ours(self) -> VideoModel:
        """The model that all others are compared with; the same weights in every process, none of them idle.

        Nothing is drawn, and windows that are clipped in space read the bias table as torchvision does.
        """
        torch.manual_seed(0)
        model = create_model(self._config())
        with torch.no_grad():  # fresh weights hide mistakes: biases are 0, norms 1, bias tables nearly nothing
            for name, parameter in model.named_parameters():
                if name.endswith("relative_position_bias_table"):
                    parameter.normal_()
                elif parameter.ndim == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
        return model.to(self.device)

    def clips(self) -> Tensor:
        """(B, 3, T, H, W) of noise; the same in every process."""
        return torch.randn(self.batch, 3, *self.clip, generator=torch.Generator().manual_seed(1)).to(self.device)

    def autocast(self) -> AbstractContextManager[None]:
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16")  # type: ignore[return-value]


@dataclass(frozen=True)
class Row:
    """One form of the model in one table."""

    name: str
    median_s: float
    quartiles_s: tuple[float, float]
    ratio: tuple[float, float, float]
    """To our model's time: of the medians, and the least and the most of any round."""
    difference: float
    """Relative, to our plain engine in float32: of the logits, or the worst of all gradients."""
    ready_s: float
    """Building it and the first call: exporting and compiling are in it."""


@dataclass
class Result:
    """All that was measured; what was not asked for is empty."""

    job: Job
    repeats: int
    forward: list[Row] = field(default_factory=list)
    train: list[Row] = field(default_factory=list)
    memory: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of "forward" and "train": bytes that two passes add to model and clips, by form."""
    missing: dict[str, str] = field(default_factory=dict)
    """Forms that could not be measured, each with the reason."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        facts = {"threads": torch.get_num_threads(), "vector_instructions": torch.backends.cpu.get_cpu_capability()}
        return {**asdict(self), "machine": {"torch": torch.__version__, **facts}}


def parse_what(text: str) -> list[str]:
    """ "forward,memory" -> ["forward", "memory"]; a :class:`ConfigError` if one of them is unknown."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in WHAT:
            raise ConfigError(f'There is nothing called "{name}" to measure. {nearest(name, WHAT)}')
    return [name for name in WHAT if name in names]


def measure(
    job: Job,
    others: Sequence[str],
    what: Sequence[str] = ("forward",),
    repeats: int = 5,
    step: Callable[[str], None] = lambda _: None,
) -> Result:
    """Our model beside its other forms and torchvision's code. A form whose library is missing is listed with the reason.

    Args:
        others: names of :data:`~videoswin.bench.variants.OTHERS`.
        step: told what is being done, for people.

    Raises:
        DifferentResultsError: a form computes something else; then nothing has been timed.
        ConfigError: no repeats, or memory is asked for where the system does not tell.
    """
    if repeats < 1:
        raise ConfigError(f"repeats={repeats} must be 1 or more.")
    if "memory" in what and torch.device(job.device).type == "cpu" and not _CLEAR.exists():
        raise ConfigError("The memory of a CPU process is measured on Linux only. Leave memory out of --what.")
    result, names = Result(job, repeats), [OURS]
    model = job.empty()
    for name in others:
        try:
            require_form(name, model)
            require(name, torch.device(job.device))
            names.append(name)
        except (MissingExtraError, ConfigError) as error:
            result.missing[name] = str(error)
    trained = [name for name in names if is_trainable(name)]
    if "forward" in what:
        result.forward = _rows(job, names, "forward", repeats, step)
    if "train" in what:
        result.train = _rows(job, trained, "train", repeats, step)
    if "memory" in what:
        eager = [name for name in trained if name != "compiled"]  # making the others takes memory itself
        for part in [part for part in ("forward", "train") if part in what] or ["forward"]:
            step(f"memory, {part}")
            result.memory[part] = {name: peak_memory(name, job, part) for name in eager}
    return result


def _rows(job: Job, names: Sequence[str], part: str, repeats: int, step: Callable[[str], None]) -> list[Row]:
    ours, clips, device = job.ours(), job.clips(), torch.device(job.device)
    expected = _expected(job, part)
    calls, differences, ready_s = {}, {}, {}
    for name in names:
        step(f"{part}: is {name} the same?")
        start = time.perf_counter()
        model = build(name, ours, job.clip)
        run = _pass(model, clips, job, part)
        outputs: list[Any] = []
        timed(lambda run=run, outputs=outputs: outputs.append(run()), device)
        ready_s[name] = time.perf_counter() - start
        if part == "forward":
            differences[name] = check_output(name, outputs[0].float(), expected["logits"], job.precision)
        else:
            assert isinstance(model, nn.Module)
            differences[name] = check_gradients(name, gradients(name, model), expected, job.precision)
        calls[name] = run
    step(f"{part}: {repeats} rounds")
    times = take_turns(calls, repeats, device)
    base = times[OURS]
    return [_row(name, times[name], base, differences[name], ready_s[name]) for name in names]


def _row(name: str, times: Times, base: Times, difference: float, ready_s: float) -> Row:
    ratio = times.over(base)
    return Row(
        name, times.median, times.quartiles, (ratio.median, ratio.low, ratio.high), difference, round(ready_s, 2)
    )


def _expected(job: Job, part: str) -> dict[str, Tensor]:
    """Of our model with the plain engine in float32: the engine of the first row is checked too."""
    plain, model = replace(job, precision="float32"), build("plain", job.ours(), job.clip)
    assert isinstance(model, nn.Module)
    output = _pass(model, job.clips(), plain, part)()
    return {"logits": output} if isinstance(output, Tensor) else gradients("plain", model)


def _pass(model: Model, clips: Tensor, job: Job, part: str) -> Callable[[], Tensor | None]:
    """A forward pass, or a training step: forward, cross-entropy, backward, AdamW with a step so small that repeats keep
    computing with much the same weights. Gradients stay until the next one."""
    if isinstance(model, nn.Module):
        model.train(part == "train")
    if part == "forward":

        @torch.inference_mode()
        def forward() -> Tensor:
            with job.autocast():
                return model(clips)

        return forward
    assert isinstance(model, nn.Module)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-9)
    labels = torch.arange(len(clips), device=clips.device)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        with job.autocast():
            logits = model(clips)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()

    return train


# Memory ---------------------------------------------------------------------------------------------------------------


def peak_memory(name: str, job: Job, part: str) -> int:
    """Bytes that two passes add to model and clips, in a fresh process.

    Raises:
        VideoSwinError: the process failed; the message is its last line.
    """
    order = json.dumps({"name": name, "job": asdict(job), "part": part})
    command = [sys.executable, "-m", "videoswin.bench.measure", order]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}, perhaps out of memory"])[-1]
        raise VideoSwinError(f"The memory of {name} could not be measured: {reason}. Try a smaller clip or batch.")
    return json.loads(done.stdout.strip().splitlines()[-1])["bytes"]


def _main(order: dict[str, Any]) -> None:
    job = Job(**order["job"] | {"clip": tuple(order["job"]["clip"])})
    on_gpu = torch.device(job.device).type == "cuda"
    run = _pass(build(order["name"], job.ours(), job.clip), job.clips(), job, order["part"])
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(job.device)
    else:
        _CLEAR.write_text("5", encoding="ascii")  # the kernel's word for: forget the highest value
    before = torch.cuda.memory_allocated(job.device) if on_gpu else _status("VmRSS")
    for _ in range(2):  # the optimiser's state is made in the first step and in the way of the second
        run()
    print(json.dumps({"bytes": (torch.cuda.max_memory_allocated(job.device) if on_gpu else _status("VmHWM")) - before}))


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
