"""What this machine could do at best: matrix products at the model's own shapes, and copying memory.

The floor is the time that the products of one forward pass take when each is done alone, on data that lies ready, at its
fastest. What a model takes beyond it went into everything else: softmax, norms, GELU, moving tokens.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from benchmarks.lib.job import Job
from torch.nn import functional as F

from videoswin.bench.timing import timed
from videoswin.kernels.boxes import Partition
from videoswin.model.backbone import block_partition
from videoswin.zoo.swin_macs import stage_grids

__all__ = ["Gemm", "Limits", "Product", "linear_shapes", "measure_limits", "product_shapes"]

_REPEATS = 5
_COPIED_BYTES = 2**28  # far more than any cache holds


class Gemm(NamedTuple):
    """A linear layer as a matrix product: (m, k) x (k, n)."""

    layer: str
    m: int
    k: int
    n: int

    @property
    def macs(self) -> int:
        return self.m * self.k * self.n


class Product(NamedTuple):
    """The two products of attention, for all boxes of a shape and all heads: (b, n, d) x (b, d, n) and (b, n, n) x (b, n, d)."""

    b: int
    n: int
    d: int

    @property
    def macs(self) -> int:
        return 2 * self.b * self.n * self.n * self.d


@dataclass(frozen=True)
class Limits:
    """The machine's own limits for one forward pass of a job. Seconds and multiply-adds are of the whole batch."""

    linear_s: float
    linear_macs: int
    attention_s: float
    attention_macs: int
    copy_bytes_per_s: float
    """Bytes read plus bytes written."""
    rates: dict[str, float]
    """Multiply-adds in a second for each linear layer, by name."""

    @property
    def floor_s(self) -> float:
        """All matrix products of a forward pass, and nothing else."""
        return self.linear_s + self.attention_s


def linear_shapes(job: Job) -> Counter[Gemm]:
    """Every linear layer of a forward pass, with how often it occurs."""
    config, batch = job.config, job.batch
    grids = stage_grids(config, *job.clip)
    tokens = [batch * t * h * w for t, h, w in grids]
    patch = config.patch_size[0] * config.patch_size[1] * config.patch_size[2] * config.in_channels
    shapes = Counter({Gemm("patches", tokens[0], patch, config.embed_dim): 1})
    for stage, (rows, dim) in enumerate(zip(tokens, config.stage_dims, strict=True)):
        hidden, where = int(dim * config.mlp_ratio), f"stage {stage + 1}"
        for block in range(config.depths[stage]):
            padded = batch * _boxes(job, stage, block).padded  # one token more, which all padding reads
            shapes[Gemm(f"{where} qkv", rows + padded, dim, 3 * dim)] += 1
            shapes[Gemm(f"{where} proj", rows, dim, dim)] += 1
            shapes[Gemm(f"{where} fc1", rows, dim, hidden)] += 1
            shapes[Gemm(f"{where} fc2", rows, hidden, dim)] += 1
        if stage + 1 < len(tokens):
            shapes[Gemm(f"{where} merging", tokens[stage + 1], 4 * dim, 2 * dim)] += 1
    if config.num_classes:
        shapes[Gemm("head", batch, config.num_features, config.num_classes)] += 1
    return shapes


def product_shapes(job: Job) -> Counter[Product]:
    """The products of attention in a forward pass, with how often each shape occurs."""
    shapes: Counter[Product] = Counter()
    for stage, dim in enumerate(job.config.stage_dims):
        heads = job.config.num_heads[stage]
        for block in range(job.config.depths[stage]):
            for group in _boxes(job, stage, block).groups:
                shapes[Product(job.batch * group.count * heads, group.tokens_per_box, dim // heads)] += 1
    return shapes


@torch.inference_mode()
def measure_limits(job: Job, after_each: Callable[[], None] = lambda: None) -> Limits:
    """Time every shape by itself, and a copy."""
    device = torch.device(job.device)
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    linear_s, rates = 0.0, {}
    for gemm, count in linear_shapes(job).items():
        seconds = _gemm_seconds(gemm, device, dtype)
        linear_s += count * seconds
        rates[gemm.layer] = gemm.macs / seconds
        after_each()
    attention_s = 0.0
    for products, count in product_shapes(job).items():
        attention_s += count * _product_seconds(products, device, dtype)
        after_each()
    return Limits(
        linear_s=linear_s,
        linear_macs=sum(gemm.macs * count for gemm, count in linear_shapes(job).items()),
        attention_s=attention_s,
        attention_macs=sum(products.macs * count for products, count in product_shapes(job).items()),
        copy_bytes_per_s=_copy_rate(device),
        rates=rates,
    )


def _boxes(job: Job, stage: int, block: int) -> Partition:
    grid = stage_grids(job.config, *job.clip)[stage]
    return block_partition(job.config, grid, block, torch.device("cpu"))


def best_of(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The fastest of some calls, after one to warm up: everything slower is disturbance."""
    call()
    return min(timed(call, device) for _ in range(repeats))


def _gemm_seconds(gemm: Gemm, device: torch.device, dtype: torch.dtype) -> float:
    x = torch.randn(gemm.m, gemm.k, device=device).to(dtype)
    weight = torch.randn(gemm.n, gemm.k, device=device).to(dtype).t()  # as nn.Linear keeps it
    out = torch.empty(gemm.m, gemm.n, device=device, dtype=dtype)
    return best_of(lambda: torch.mm(x, weight, out=out), _REPEATS, device)


def _product_seconds(shape: Product, device: torch.device, dtype: torch.dtype) -> float:
    """The faster of two ways: plain products, as many boxes at a time as there are threads, so that the (n, n) scores stay in
    a cache; and the fused kernel, whose softmax is then counted too."""
    q = torch.randn(1, shape.b, shape.n, shape.d, device=device).to(dtype)
    keys, values = q[0].transpose(1, 2), q[0]
    together = shape.b if device.type == "cuda" else min(shape.b, torch.get_num_threads())
    scores = torch.empty(together, shape.n, shape.n, device=device, dtype=dtype)
    out = torch.empty(together, shape.n, shape.d, device=device, dtype=dtype)
    starts = range(0, shape.b - together + 1, together)

    def plain() -> None:
        for start in starts:
            torch.bmm(values[start : start + together], keys[start : start + together], out=scores)
            torch.bmm(scores, values[start : start + together], out=out)

    def fused() -> None:
        F.scaled_dot_product_attention(q, q, q)

    share = shape.b / (len(starts) * together)  # a remainder that fills no round is added in proportion
    return min(best_of(plain, 3, device) * share, best_of(fused, 3, device))


def _copy_rate(device: torch.device) -> float:
    source = torch.ones(_COPIED_BYTES // 4, device=device)
    target = torch.zeros_like(source)
    return 2 * _COPIED_BYTES / best_of(lambda: target.copy_(source), _REPEATS, device)
