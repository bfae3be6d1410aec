"""Forward time of exported files beside PyTorch, and beside torchvision's model code where it is installed.

    python -m benchmarks.export FOLDER --export-only onnx openvino aot     # makes the files that are not there yet
    python -m benchmarks.export FOLDER --repeats 5                         # times what is there

    python -m benchmarks.export FOLDER --checkpoint swin3d_micro_gestures --repeats 20

Without --checkpoint it is swin3d_t on a 32x224x224 clip with fresh weights, the same ones in every form. All forms get one
clip, take turns in one run and use the same number of threads. Outputs are compared before anything is timed. The floor is
the time that the model's multiply-adds would take at the best rate of one large float32 matrix product, measured in between.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from benchmarks.lib.job import Job
from benchmarks.lib.peers import Torchvision
from torch import Tensor

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import MissingExtraError
from videoswin.export import TOLERANCES, default_path, export
from videoswin.export.runtime import load_exported
from videoswin.model import create_model
from videoswin.zoo.swin_macs import count_macs

FORMS = {
    "onnx": ("onnx", "float32"),
    "openvino": ("openvino", "float32"),
    "openvino-bf16": ("openvino", "bf16"),
    "aot": ("aot", "float32"),
    "torch-export": ("torch-export", "float32"),
}
_SIDE = 2048  # of the square matrices whose product gives the floor

Form = Callable[[Tensor], Tensor]


def prepare(checkpoint: str | None, folder: Path) -> tuple[Classifier, Form | None]:
    """The classifier, and torchvision's model with the same weights if it is swin3d_t and torchvision is installed."""
    if checkpoint is not None:
        return load(checkpoint), None
    place = folder / "checkpoint"
    if not place.is_dir():
        torch.manual_seed(0)
        model = create_model("swin3d_t").eval()
        Classifier(model, Preprocessing(), tuple(f"class {i}" for i in range(400)), name="swin3d_t").save(place)
    classifier = load(place)
    job = Job("swin3d_t", classifier.model.config, (32, 224, 224), device="cpu")
    try:
        return classifier, Torchvision().build(job, classifier.model).eval()
    except MissingExtraError as error:
        print(f"without torchvision: {error}", file=sys.stderr)
        return classifier, None


def file_of(folder: Path, form: str) -> Path:
    """Where a form's file stands."""
    to, precision = FORMS[form]
    return folder / default_path(precision, to)


def facts_of(path: Path) -> Path:
    """Where it is kept what the export said."""
    return path.with_name(f"{path.name}.json")


def make(classifier: Classifier, folder: Path, form: str) -> None:
    """Export one form, and keep what the export said beside the file."""
    path, (to, precision) = file_of(folder, form), FORMS[form]
    result = export(classifier, path, to, precision, step=print)
    facts_of(path).write_text(json.dumps(result.to_dict(), indent=2), encoding="utf-8")


def measure(forms: dict[str, Form], clip: Tensor, repeats: int) -> dict[str, list[float]]:
    """Seconds of each form, taken in turn, and of one matrix product."""
    square = torch.randn(_SIDE, _SIDE)
    turns: dict[str, Callable[[], object]] = {name: lambda form=form: form(clip) for name, form in forms.items()}
    turns["gemm"] = lambda: square @ square
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(repeats):
        for name, turn in turns.items():
            start = time.perf_counter()
            turn()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def inference(function: Form) -> Form:
    """The function without gradients."""

    @torch.inference_mode()
    def run(clip: Tensor) -> Tensor:
        return function(clip)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--export-only", nargs="+", choices=FORMS)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    classifier, peer = prepare(arguments.checkpoint, arguments.folder)
    if arguments.export_only:
        for form in arguments.export_only:
            if not file_of(arguments.folder, form).exists():
                make(classifier, arguments.folder, form)
        return

    size = classifier.preprocessing.clip_len, *classifier.preprocessing.size
    clip = torch.randn(1, 3, *size)
    forms: dict[str, Form] = {"videoswin": inference(classifier.model)}
    if peer is not None:
        forms["torchvision"] = inference(peer)
    made, titles = {}, {}
    for form in FORMS:
        path = file_of(arguments.folder, form)
        if path.exists():
            exported = load_exported(path, trust_code=True, threads=arguments.threads)
            forms[form], titles[form] = exported.logits, exported.runtime.title
            made[form] = json.loads(facts_of(path).read_text(encoding="utf-8"))
    expected = forms["videoswin"](clip)
    differences = {
        name: float((run(clip) - expected).abs().max() / expected.abs().max()) for name, run in forms.items()
    }
    for name, difference in differences.items():
        if difference > TOLERANCES[FORMS[name][1] if name in FORMS else "float32"]:
            raise SystemExit(f"{name} differs from videoswin by {difference:.1e}: nothing is timed")

    seconds = measure(forms, clip, arguments.repeats)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    macs = count_macs(classifier.model.config, *size).executed
    floor = macs * min(seconds["gemm"]) / _SIDE**3
    report = {
        "model": classifier.name,
        "clip": list(clip.shape),
        "threads": arguments.threads,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "runtimes": titles,
        "median_s": {name: round(value, 4) for name, value in medians.items()},
        "spread_s": {name: [round(min(v), 4), round(max(v), 4)] for name, v in seconds.items()},
        "difference": differences,
        "ratio_to_videoswin": {n: round(medians["videoswin"] / medians[n], 2) for n in forms},
        "ratio_to_torchvision": {n: round(medians["torchvision"] / medians[n], 2) for n in forms} if peer else None,
        "executed_gmacs": round(macs / 1e9, 2),
        "floor_s": round(floor, 4),
        "share_of_floor": {n: round(floor / medians[n], 3) for n in forms},
        "exports": {
            form: {k: facts[k] for k in ("bytes", "max_difference", "trace_seconds", "compile_seconds", "load_seconds")}
            for form, facts in made.items()
        },
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
