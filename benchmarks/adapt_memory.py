"""Peak memory of one training step for each way to adapt, each in a process of its own:

    python -m benchmarks.adapt_memory --model swin3d_t --clip 32x224x224 full lora head

Prints a JSON object: peak resident MB of the whole process, and the share of the first way's.
"""

import argparse
import json
import multiprocessing
import resource


def step(model_name: str, clip: tuple[int, int, int], way: str, queue: "multiprocessing.Queue[float]") -> None:
    import torch
    from torch.nn import functional as F

    from videoswin.model import create_model
    from videoswin.train.adapt import adapt, parse_adaptation, set_training
    from videoswin.train.optim import build_optimizer

    torch.manual_seed(0)
    model = create_model(model_name, num_classes=10)
    adapt(model, parse_adaptation(way))
    set_training(model)
    optimizer = build_optimizer(model, 5e-4, 0.1, 0.05)
    F.cross_entropy(model(torch.randn(1, 3, *clip)), torch.tensor([1])).backward()
    optimizer.step()
    queue.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", default=["full", "lora"])
    parser.add_argument("--model", default="swin3d_t")
    parser.add_argument("--clip", default="32x224x224", help="frames x height x width")
    args = parser.parse_args()
    frames, height, width = (int(part) for part in args.clip.split("x"))
    context = multiprocessing.get_context("spawn")
    peaks: dict[str, float] = {}
    for way in args.ways:
        queue = context.Queue()
        process = context.Process(target=step, args=(args.model, (frames, height, width), way, queue))
        process.start()
        peaks[way] = queue.get()
        process.join()
    first = peaks[args.ways[0]]
    print(
        json.dumps({way: {"peak_mb": round(mb), "share": round(mb / first, 3)} for way, mb in peaks.items()}, indent=2)
    )


if __name__ == "__main__":
    main()
