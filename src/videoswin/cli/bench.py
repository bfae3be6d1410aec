"""``videoswin bench``: how fast our model is here, in its forms and beside torchvision's code."""

import json
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from videoswin.cli.options import Size, precision_of
from videoswin.cli.output import DONE, add_row, say, show, table

if TYPE_CHECKING:
    from videoswin.bench.measure import Result, Row

__all__ = ["bench"]


def bench(
    *,
    model: str = "swin3d_t",
    clip_len: int = 32,
    size: Size | None = None,
    batch_size: int = 1,
    what: str = "forward,memory",
    peers: str = "plain,torchvision",
    repeats: int = 5,
    precision: Annotated[Literal["float32", "bf16"], Parameter(converter=precision_of)] = "float32",
    device: str = "auto",
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Measure time and memory of a model, in its forms and beside torchvision's code.

    All are measured in turns in one run, after their outputs (and, for training, their gradients) were found to be equal
    to ours. A form whose library is not installed is listed with the way to get it.

    For example:

        videoswin bench
        videoswin bench --what forward,train,memory --peers all
        videoswin bench --model swin3d_micro --clip-len 16 --size 56 --batch-size 8 --peers compiled,openvino

    Parameters
    ----------
    model
        A name that videoswin models lists as an architecture, with fresh weights; any system of docs/zoo.md.
    clip_len
        Frames of a clip.
    size
        Height and width of a clip in pixels: one number, or two as 128x171. By default 224.
    batch_size
        Clips in a batch.
    what
        Some of forward, train and memory, with commas. With train, memory is measured for training too.
    peers
        Some of plain (PyTorch's own operators), compiled (torch.compile), onnx, openvino and torchvision, with commas; or
        all, or none.
    repeats
        Rounds; in each, every form runs once.
    precision
        float32, or bf16 for matrix products in bfloat16.
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    json_only
        Print one JSON object and nothing else.
    """
    from videoswin.bench.measure import Job, measure, parse_what
    from videoswin.bench.variants import choose
    from videoswin.classifier.device import choose_device

    chosen, parts = choose(peers), parse_what(what)
    height, width = size or (224, 224)
    job = Job(model, (clip_len, height, width), batch_size, str(choose_device(device)), precision)
    result = measure(job, chosen, parts, repeats, step=(lambda _: None) if json_only else say)
    if json_only:
        print(json.dumps(result.to_dict()))
    else:
        _show(result)
    return DONE


def _show(result: "Result") -> None:
    job, machine = result.job, result.to_dict()["machine"]
    show(f"{job.model}, clip {'x'.join(map(str, job.clip))}, batch {job.batch}, {job.precision}, {job.device}")
    show(f"{machine['threads']} threads ({machine['vector_instructions']}), torch {machine['torch']}")
    for title, rows in (("forward", result.forward), ("training step", result.train)):
        if rows:
            show()
            _show_rows(title, rows)
    for part, found in result.memory.items():
        show()
        title, numbers = f"memory, {'training step' if part == 'train' else part}", ["MiB", "of ours"]
        lines, base = table(title, *numbers, right=numbers), next(iter(found.values()))
        for name, taken in found.items():
            add_row(lines, name, f"{taken / 2**20:,.0f}", f"{taken / base:.2f}" if base > 0 else "-")
        show(lines)
    for name, reason in result.missing.items():
        show(f"{name}: not measured. {reason}")


def _show_rows(title: str, rows: "list[Row]") -> None:
    numbers = ["seconds", "quartiles", "of ours", "single rounds", "difference", "to make ready"]
    lines = table(title, *numbers, right=numbers)
    for row in rows:
        ratio, least, most = row.ratio
        add_row(
            lines,
            row.name,
            f"{row.median_s:.4g}",
            "{:.4g} to {:.4g}".format(*row.quartiles_s),
            f"{ratio:.2f}",
            f"{least:.2f} to {most:.2f}",
            f"{row.difference:.0e}",
            f"{row.ready_s:.1f} s",
        )
    show(lines)
