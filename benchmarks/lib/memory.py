"""Peak memory, measured in a process of its own for every figure, so that nothing from before is counted.

    python -m benchmarks.lib.memory JSON      prints one JSON object

On a CPU it is the resident memory of the process (Linux): the highest value while two passes run, and what that is above the
value just before them, when model and clip are there. On a GPU it is what PyTorch allocated there.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from benchmarks.lib.job import Job
from benchmarks.lib.passes import Pass, forward_pass, training_step
from benchmarks.lib.peers import PEERS, Peer

from videoswin.errors import ConfigError, VideoSwinError

__all__ = ["Memory", "What", "peak_memory", "peak_memory_here"]

What = Literal["forward", "train"]
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    peak: int
    """Highest value of the whole process, libraries included (on a GPU: of PyTorch's allocations)."""
    step: int
    """What of it came on top of model and clip."""


def peak_memory(peer: Peer, job: Job, what: What) -> Memory:
    """Of two passes, in a fresh process.

    Raises:
        ConfigError: this system does not tell how much memory a process uses.
        VideoSwinError: the process failed; the message is its last line.
    """
    order = json.dumps({"peer": peer.name, "job": job.to_dict(), "what": what})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.lib.memory", order], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}, perhaps out of memory"])[-1]
        raise VideoSwinError(f"The memory of {peer.name} could not be measured: {reason}. Try a smaller clip or batch.")
    return Memory(**json.loads(done.stdout.strip().splitlines()[-1]))


def peak_memory_here(peer: Peer, job: Job, what: What) -> Memory:
    """The same in this process, whose past is counted with it."""
    model, video = peer.build(job, job.ours()), job.video(peer.clip(job))
    run: Pass = forward_pass(model, video, job) if what == "forward" else training_step(model, video, job)
    before = _start(job)
    for _ in range(2):  # the optimiser's state is made in the first step and in the way of the second
        run()
    return _since(before, job)


def _start(job: Job) -> int:
    """Bytes in use; from here on the highest value counts."""
    if torch.device(job.device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(job.device)
        return torch.cuda.memory_allocated(job.device)
    if not _STATUS.exists():
        raise ConfigError("The memory of a CPU process is measured on Linux only. Leave memory out of --what.")
    _CLEAR.write_text("5", encoding="ascii")  # the kernel's word for: forget the highest value
    return _status("VmRSS")


def _since(before: int, job: Job) -> Memory:
    if torch.device(job.device).type == "cuda":
        torch.cuda.synchronize(job.device)
        peak = torch.cuda.max_memory_allocated(job.device)
    else:
        peak = _status("VmHWM")
    return Memory(peak, peak - before)


def _status(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _main(order: str) -> None:
    wanted = json.loads(order)
    memory = peak_memory_here(PEERS[wanted["peer"]], Job.from_dict(wanted["job"]), wanted["what"])
    print(json.dumps({"peak": memory.peak, "step": memory.step}))


if __name__ == "__main__":
    _main(sys.argv[1])
