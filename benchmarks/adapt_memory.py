"""Peak memory of one training step for each way to adapt, each in a process of its own:

    python -m benchmarks.adapt_memory --model swin3d_t --clip 32x224x224 full lora head

Prints a JSON object: the peak of what forward and backward allocate, the peak resident size of the whole process (with PyTorch, the
optimiser's step, and what the C library keeps of freed memory), in MB, and the shares of the first way's.
"""

import argparse
import json
import multiprocessing
import resource
from itertools import accumulate
from typing import Any


def step(
    model_name: str, clip: tuple[int, int, int], way: str, queue: "multiprocessing.Queue[tuple[float, float]]"
) -> None:
    import torch
    from torch.nn import functional as F
    from torch.profiler import ProfilerActivity, profile

    from videoswin.model import create_model
    from videoswin.train.adapt import adapt, parse_adaptation, set_training
    from videoswin.train.optim import build_optimizer

    torch.manual_seed(0)
    model = create_model(model_name, num_classes=10)
    adapt(model, parse_adaptation(way))
    set_training(model)
    optimizer = build_optimizer(model, 5e-4, 0.1, 0.05)
    video, labels = torch.randn(1, 3, *clip), torch.tensor([1])
    F.cross_entropy(model(video), labels).backward()
    optimizer.step()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    optimizer.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        F.cross_entropy(model(video), labels).backward()
    results: Any = seen.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = sorted((event.start_ns(), event.nbytes()) for event in results if event.name() == "[memory]")
    queue.put((max(accumulate(size for _, size in changes)) / 2**20, resident))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", default=["full", "lora"])
    parser.add_argument("--model", default="swin3d_t")
    parser.add_argument("--clip", default="32x224x224", help="frames x height x width")
    args = parser.parse_args()
    frames, height, width = (int(part) for part in args.clip.split("x"))
    context = multiprocessing.get_context("spawn")
    peaks: dict[str, tuple[float, float]] = {}
    for way in args.ways:
        queue = context.Queue()
        process = context.Process(target=step, args=(args.model, (frames, height, width), way, queue))
        process.start()
        peaks[way] = queue.get()
        process.join()
    first_allocated, first_resident = peaks[args.ways[0]]
    rows = {
        way: {
            "allocated_mb": round(allocated),
            "share": round(allocated / first_allocated, 3),
            "resident_mb": round(resident),
            "share_of_resident": round(resident / first_resident, 3),
        }
        for way, (allocated, resident) in peaks.items()
    }
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
