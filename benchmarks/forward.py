"""Forward time of swin3d_t on one 32x224x224 clip, beside torchvision's model code with the same weights where it is there.

    python benchmarks/forward.py [--repeats 5]

The two are interleaved in one run and their outputs compared before anything is timed. torchvision is no dependency: install
it with ``pip install --no-deps torchvision`` to see the ratio. Where its compiled operators do not load (a CPU build of torch
beside the wheel from PyPI) two of them, which its video models never call, are declared here so that the import goes through.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from videoswin.model import VideoSwin, count_macs, create_model
from videoswin.weights.families import FAMILIES


def torchvision_swin3d_t() -> nn.Module | None:
    """torchvision's swin3d_t with fresh weights, or None if torchvision is not installed."""
    try:
        declared = torch.library.Library("torchvision", "DEF")
        declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision.models.video import swin3d_t  # type: ignore[import-not-found]
    except ImportError:
        return None
    return swin3d_t(weights=None).eval()


def copy_weights(peer: nn.Module, ours: VideoSwin) -> None:
    """torchvision's weights under our names."""
    ours.load_state_dict(FAMILIES["torchvision_3d"].to_canonical(peer.state_dict()).tensors)


@torch.inference_mode()
def measure(models: dict[str, nn.Module], clip: Tensor, repeats: int) -> dict[str, list[float]]:
    """Seconds of each model's forward passes, taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    run: Callable[[nn.Module], Tensor] = lambda model: model(clip)  # noqa: E731
    for model in models.values():
        run(model)  # warm up
    for _ in range(repeats):
        for name, model in models.items():
            start = time.perf_counter()
            run(model)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    ours = create_model("swin3d_t").eval()
    models: dict[str, nn.Module] = {"videoswin": ours}
    clip = torch.randn(1, 3, 32, 224, 224)
    difference = None
    if (peer := torchvision_swin3d_t()) is not None:
        copy_weights(peer, ours)
        with torch.inference_mode():
            expected = peer(clip)
            difference = float((ours(clip) - expected).norm() / expected.norm())
        if difference > 1e-5:
            raise SystemExit(f"outputs differ by {difference:.1e}: nothing is timed")
        models["torchvision"] = peer
    seconds = measure(models, clip, arguments.repeats)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    macs = count_macs(ours.config, 32, 224, 224)
    print(
        json.dumps(
            {
                "model": "swin3d_t",
                "clip": list(clip.shape),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "machine": platform.machine(),
                "median_s": {k: round(v, 3) for k, v in medians.items()},
                "spread_s": {k: [round(min(v), 3), round(max(v), 3)] for k, v in seconds.items()},
                "ratio_to_torchvision": round(medians["torchvision"] / medians["videoswin"], 2) if peer else None,
                "relative_difference": difference,
                "executed_gmacs_per_s": round(macs.executed / 1e9 / medians["videoswin"], 1),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
