"""Time and memory to load a checkpoint of 200 M parameters (swin3d_l, random weights), by container.

    python -m benchmarks.load

Each is loaded in a process of its own, after the libraries are. The peak is of the resident memory, pages of mapped files
included, over what the process took before; the measure is the model itself, 4 bytes a parameter.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from videoswin.model import create_model
from videoswin.weights.convert import convert_model

_LOAD = """
import json, sys, time
import videoswin
from videoswin.model import create_model
from videoswin.weights.checkpoint import load_checkpoint

def megabytes(what):
    line = next(line for line in open("/proc/self/status") if line.startswith(what))
    return int(line.split()[1]) / 1024

create_model("swin3d_micro")
before, start = megabytes("VmRSS"), time.perf_counter()
model, _ = load_checkpoint(sys.argv[1])
seconds = time.perf_counter() - start
size = sum(p.numel() for p in model.parameters()) * 4 / 2**20
print(json.dumps({"s": round(seconds, 2), "peak_mb": round(megabytes("VmHWM") - before), "model_mb": round(size)}))
"""


def write_files(folder: Path) -> list[Path]:
    """The same model as the official code's file, the same with an optimiser beside it, and as safetensors."""
    torch.manual_seed(0)
    model = create_model("swin3d_l")
    files = [folder / name for name in ("official.pth", "with_optimizer.pth", "torchvision.safetensors")]
    convert_model(model, files[0], "official")
    convert_model(model, files[2], "torchvision")
    contents = torch.load(files[0], weights_only=True)
    moments = {name: torch.rand(tensor.shape) for name, tensor in contents["state_dict"].items()}
    torch.save({**contents, "optimizer": {"state": moments}}, files[1])
    return files


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for file in write_files(Path(folder)):
            run = subprocess.run([sys.executable, "-c", _LOAD, str(file)], capture_output=True, text=True, check=True)
            found = json.loads(run.stdout)
            found["peak_over_model"] = round(found["peak_mb"] / found["model_mb"], 2)
            print(json.dumps({"file": file.name, "file_mb": round(file.stat().st_size / 2**20), **found}))


if __name__ == "__main__":
    main()
