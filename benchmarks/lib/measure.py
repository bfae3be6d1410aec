"""One run: check that all compute the same, then time them in turns, beside what the machine could do at best."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from benchmarks.lib.job import Job
from benchmarks.lib.limits import measure_limits
from benchmarks.lib.memory import Memory, peak_memory
from benchmarks.lib.memory import What as PassName
from benchmarks.lib.passes import Pass, forward_pass, gradients_of, output_of, training_step
from benchmarks.lib.peers import Compiled, Exported, Model, Multihead, Ours, OursCheckpointed, Peer, Torchvision
from benchmarks.lib.report import Report, Row
from benchmarks.lib.scaling import measure_scaling
from torch import Tensor, nn

from videoswin.bench.equality import check_gradients, check_output
from videoswin.bench.timing import Times, take_turns, timed
from videoswin.errors import ConfigError, MissingExtraError, nearest
from videoswin.model import VideoSwin

__all__ = ["Steps", "What", "measure", "parse_what"]

What = Literal["forward", "train", "memory", "scaling"]
Steps = Callable[[int, str], AbstractContextManager[Callable[[], None]]]
"""Given a number of steps and a title: a context with a function to call after each step."""


@dataclass(frozen=True)
class _Ready:
    """A peer that is built, warm, and known to compute the right thing."""

    peer: Peer
    model: Model
    run: Pass
    difference: float | None
    first_s: float


def no_steps(total: int, title: str) -> AbstractContextManager[Callable[[], None]]:
    """Progress for nobody."""
    return nullcontext(lambda: None)


def parse_what(text: str) -> list[What]:
    """ "forward,memory" -> ["forward", "memory"].

    Raises:
        ConfigError: one of them is unknown.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in get_args(What):
            raise ConfigError(f'There is nothing called "{name}" to measure. {nearest(name, get_args(What))}')
    return [name for name in get_args(What) if name in names]


def measure(
    job: Job,
    peers: Sequence[Peer],
    what: Sequence[What] = ("forward",),
    *,
    repeats: int = 5,
    compiled: bool = False,
    steps: Steps = no_steps,
) -> Report:
    """Our model beside ``peers``. Peers whose library is missing, or which are bound to another device, are listed in the
    report with the reason.

    Raises:
        DifferentResultsError: a peer of the same model computes something else; then nothing has been timed.
        ConfigError: no repeats, or something that this machine cannot measure.
    """
    if repeats < 1:
        raise ConfigError(f"repeats={repeats} must be 1 or more.")
    report = Report(job, repeats)
    chosen = [Ours(), *_present(job, peers, report)]
    if compiled:
        chosen += [Compiled(peer) for peer in chosen if type(peer) in (Ours, Torchvision)]
    if "forward" in what:
        with steps(len(chosen) * (repeats + 1), "Forward passes") as step:
            ready = _ready_forward(job, chosen, step)
            report.forward = _rows(job, ready, _take_turns(job, ready, repeats, step))
        with steps(60, "Limits of the machine") as step:
            report.limits = measure_limits(job, step)
    if "train" in what:
        trained = [peer for peer in _with_checkpointing(chosen) if peer.trainable]
        with steps(len(trained) * (repeats + 2), "Training steps") as step:
            ready = _ready_train(job, trained, step)
            report.train = _rows(job, ready, _take_turns(job, ready, repeats, step))
    if "memory" in what:
        plain = [
            peer for peer in chosen if not isinstance(peer, Compiled | Exported)
        ]  # making these takes memory itself
        report.memory["forward"] = _memory(job, plain, "forward", steps)
        if "train" in what:
            report.memory["train"] = _memory(job, _with_checkpointing(plain), "train", steps)
    if "scaling" in what:
        same = [peer for peer in chosen if type(peer) in (Ours, Torchvision)]
        report.scaling = measure_scaling(job, same, repeats, steps)
    return report


def _present(job: Job, peers: Sequence[Peer], report: Report) -> list[Peer]:
    present = []
    for peer in peers:
        if peer.device not in ("", torch.device(job.device).type):
            report.missing[peer.name] = f"It runs on {peer.device} devices only."
            continue
        try:
            if loaded := peer.require():
                report.loaded[peer.name] = loaded
            present.append(peer)
        except MissingExtraError as error:
            report.missing[peer.name] = str(error)
    return present


def _with_checkpointing(peers: Sequence[Peer]) -> list[Peer]:
    return [peers[0], OursCheckpointed(), *peers[1:]]


def _ready_forward(job: Job, peers: Sequence[Peer], step: Callable[[], None]) -> list[_Ready]:
    """Every peer built, and run once: that warms it up, and its output is compared."""
    ours = job.ours()
    with torch.inference_mode():
        expected = ours.eval()(job.video())  # eager, float32: the reference for all
    _second_opinion(job, ours, expected)
    ready = []
    for peer in peers:
        start = time.perf_counter()
        model, video = peer.build(job, ours), job.video(peer.clip(job))
        built_s = time.perf_counter() - start if isinstance(peer, Exported) else 0.0
        run = forward_pass(model, video, job)
        outputs: list[Tensor] = []
        first_s = timed(lambda m=model, v=video, o=outputs: o.append(output_of(m, v, job)), torch.device(job.device))
        same = peer.same_model
        difference = check_output(peer.name, outputs[0], expected, job.precision) if same else None
        ready.append(_Ready(peer, model, run, difference, built_s + first_s))
        step()
    return ready


def _second_opinion(job: Job, ours: VideoSwin, expected: Tensor) -> None:
    """Our own engine is checked too, against the model that shares nothing with it, whoever else is measured."""
    plain = Job(job.name, job.config, job.clip, job.batch, job.device)
    output = output_of(Multihead().build(plain, ours), plain.video(), plain)
    check_output("the reference of rolled windows", output, expected, "float32")


def _ready_train(job: Job, peers: Sequence[Peer], step: Callable[[], None]) -> list[_Ready]:
    """Every peer built; gradients of one step compared with ours, eager in float32; then a whole step to warm up."""
    ours = job.ours()
    gradients_of(ours, job.video(), Job(job.name, job.config, job.clip, job.batch, job.device))
    expected = Ours().gradients(ours)
    ready = []
    for peer in peers:
        model, video = peer.build(job, ours), job.video(peer.clip(job))
        assert isinstance(model, nn.Module)
        difference = None
        first_s = timed(lambda m=model, v=video: gradients_of(m, v, job), torch.device(job.device))
        if peer.same_model:
            difference = check_gradients(peer.name, peer.gradients(model), expected, job.precision)
        step()
        run = training_step(model, video, job)
        run()
        step()
        ready.append(_Ready(peer, model, run, difference, first_s))
    return ready


def _take_turns(job: Job, ready: Sequence[_Ready], repeats: int, step: Callable[[], None]) -> dict[str, Times]:
    calls = {r.peer.name: r.run for r in ready}
    return take_turns(calls, repeats, torch.device(job.device), step)


def _rows(job: Job, ready: Sequence[_Ready], times: dict[str, Times]) -> list[Row]:
    base = times[ready[0].peer.name]
    rows = []
    for r in ready:
        mine, clip = times[r.peer.name], r.peer.clip(job)
        rows.append(
            Row(
                name=r.peer.name,
                same_model=r.peer.same_model,
                clip=clip,
                times=mine,
                clips_per_s=job.batch / mine.median,
                ratio=mine.over(base),
                gmacs=r.peer.gmacs(job),
                parameters=_parameters(r.model),
                difference=r.difference,
                compile_s=r.first_s if isinstance(r.peer, Compiled | Exported) else None,
                accuracy=r.peer.accuracy,
            )
        )
    return rows


def _parameters(model: Model) -> int | None:
    return sum(p.numel() for p in model.parameters()) if isinstance(model, nn.Module) else None


def _memory(job: Job, peers: Sequence[Peer], what: PassName, steps: Steps) -> dict[str, Memory]:
    found = {}
    with steps(len(peers), f"Memory ({what})") as step:
        for peer in peers:
            found[peer.name] = peak_memory(peer, job, what)
            step()
    return found
