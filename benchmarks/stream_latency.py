"""What one update of a live stream costs: a causal Stream, and running the clip again at every step.

    python -m benchmarks.stream_latency --model swin3d_t --clip 32x224x224 [--pushes 64] [--streams 1,4]

An update is two sampled frames. The causal model is pushed them; the ordinary ones, ours and torchvision's model code with the
same weights, run the whole clip again. They take turns: after every 16 pushes (one whole window of the deepest blocks and more)
each of the others runs once. Equality is asserted first: pushes against the offline causal model, and the two clip models against
each other, to 1e-5. Missing torchvision is said, not an error. One JSON object is printed.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from benchmarks.lib.job import Job
from benchmarks.lib.peers import Torchvision
from torch import Tensor

import videoswin
from videoswin.bench.equality import check_output
from videoswin.errors import MissingExtraError

_TURN = 16  # pushes


def clocked(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def others(job: Job, clip: Tensor) -> dict[str, Callable[[], object]]:
    """The models that see a whole clip, ready and equal."""
    ours = job.ours().eval()
    expected = ours(clip)
    found: dict[str, Callable[[], object]] = {"clip again, videoswin": lambda: ours(clip)}
    try:
        peer = Torchvision().build(job, ours)
        assert isinstance(peer, torch.nn.Module)
        peer.eval()
        check_output("torchvision", peer(clip), expected, "float32")
        found["clip again, torchvision"] = lambda: peer(clip)
    except MissingExtraError as error:
        print(error)
    return found


def check_stream(model: videoswin.VideoSwin, clip: Tensor) -> float:
    stream = videoswin.Stream(model, pool="all")
    for pair in clip.split(2, dim=2):
        answer = stream.push(pair)
    return check_output("the stream", answer, model(clip), "float32")


def summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "median_ms": round(1000 * statistics.median(ordered), 2),
        "p95_ms": round(1000 * ordered[round(0.95 * (len(ordered) - 1))], 2),
        "runs": len(ordered),
    }


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="swin3d_t")
    parser.add_argument("--clip", default="32x224x224", help="frames x height x width")
    parser.add_argument("--pushes", type=int, default=64)
    parser.add_argument("--streams", default="1", help="streams in one batch, with commas")
    arguments = parser.parse_args()
    job = Job.of(arguments.model, arguments.clip)
    clip = job.video()
    causal = job.ours().as_causal().eval()
    turns = others(job, clip)
    difference = check_stream(causal, clip)
    found: dict[str, dict[str, float]] = {}
    for count in map(int, arguments.streams.split(",")):
        stream = videoswin.Stream(causal, pool=16)
        pair = clip[:, :, :2].expand(count, -1, -1, -1, -1).contiguous()
        seconds: dict[str, list[float]] = {name: [] for name in ("push", *(turns if count == 1 else ()))}
        for _ in range(2 * _TURN):  # every phase of the windows has been seen
            stream.push(pair)
        for number in range(arguments.pushes):
            if number % _TURN == 0 and count == 1:
                for name, run in turns.items():
                    seconds[name].append(clocked(run))
                stream.push(pair)  # warm again
            seconds["push"].append(clocked(lambda s=stream, p=pair: s.push(p)))
        found |= {name if count == 1 else f"{name}, {count} streams": summary(s) for name, s in seconds.items()}
        if count == 1:
            state_mb = round(stream.state_bytes / 1e6, 1)
    push = found["push"]["median_ms"]
    facts = {
        "model": arguments.model,
        "clip": arguments.clip,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "difference_to_offline": difference,
        "state_mb_per_stream": state_mb,
        "updates": found,
        "sampled_frames_per_s": round(2000 / push, 1),
        "ratio_to_push": {n: round(f["median_ms"] / push, 1) for n, f in found.items() if n.startswith("clip")},
    }
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main()
