"""Whether the zoo's published sizes can be exported, and how close the file's logits are to the model's.

    python benchmarks/export_zoo.py [NAME...] [--to onnx] [--results FILE]

Fresh weights, a checkpoint, and ``videoswin export`` in a process of its own, which writes no file that gives other logits. One at
a time: the largest needs most of 24 GB. What was measured before is not measured again.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.export import default_path
from videoswin.storage.atomic import replace_file
from videoswin.zoo import create_model, get_config

NAMES = (
    "c3d", "i3d", "s3dg", "p3d_199", "r3d_18", "mc3_18", "r2plus1d_34", "c2d_r50_nl", "i3d_r101", "i3d_r50_gc", "i3d_r50_dnl",
    "slowonly_r50_nl", "deit_b_16_distilled", "swin2d_t", "timesformer_b_divided", "timesformer_b_local_global",
    "timesformer_b_axial", "vivit_b_16x2_model1", "vivit_b_16x2_model2", "vivit_b_16x2_model3", "vivit_b_16x2_model4", "mvit_v1_b",
    "mvit_v2_s", "mvit_v2_b",
)  # fmt: skip
"""One of every kind; VTN's clips of 250 frames and MViTv2-L's of 312 pixels do not fit beside their file in 24 GB."""


def run(name: str, to: str, folder: Path) -> dict[str, Any]:
    """What ``export`` says, with its seconds; or why it wrote nothing."""
    torch.manual_seed(0)
    config: Any = get_config(name)
    frames, height, width = getattr(config, "clip", (8, 224, 224))  # Video Swins take any
    look = Preprocessing(clip_len=frames, sampling="uniform", size=(height, width), short_side=height)
    labels = tuple(f"class {i}" for i in range(400))
    model = create_model(name, num_classes=400).eval()
    for part, parameter in model.named_parameters():
        if model.is_of_head(part) and parameter.ndim > 1:  # ViViT's begins as zeros, whose logits are always the same
            torch.nn.init.normal_(parameter, std=0.05)
    Classifier(model, look, labels, name=name).save(folder / "checkpoint")
    file = folder / default_path("model", to).name
    order = ["export", str(folder / "checkpoint"), "--to", to, "--out", str(file), "--json"]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "videoswin", *order], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said, errors = process.communicate()
    figures = {"seconds": round(time.monotonic() - began, 1)}
    if process.returncode:
        return {**figures, "error": errors.strip()[-500:]}
    kept = ("bytes", "max_difference", "tolerance", "trace_seconds", "compile_seconds", "runtime")
    return {**figures, "clip": [frames, height, width], **{name: json.loads(said)[name] for name in kept}}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--to", choices=("onnx", "openvino", "torch-export"), default="onnx")
    parser.add_argument("--results", type=Path, default=Path("export-zoo.json"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    found: dict[str, Any] = json.loads(options.results.read_text()) if options.results.exists() else {}
    rows = found.setdefault(options.to, {})
    for name in options.names:
        if "seconds" in rows.get(name, {}) and "error" not in rows[name]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = run(name, options.to, Path(folder))
        with replace_file(options.results) as new:
            new.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(name, rows[name].get("error") or rows[name], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
