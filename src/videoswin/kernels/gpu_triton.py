"""The GPU engine's kernels, in Triton: box_attention.c for graphics processors. Imported only where Triton is installed.

A program is one block of one box's tokens, for one head of one clip. Tokens are read through the box index from where they
lie, and results go back the same way. The relative position bias is read from the small table, one column per head. Scores
meet an online softmax, block of keys after block of keys (FlashAttention, Dao et al., 2022), so nothing of size
tokens x tokens is in memory. Products take the inputs' own type, sums are float32.

No sum depends on which program comes first: each address has one writer. The gradient of the bias alone is a sum over boxes;
its programs own a block of pairs and walk through the boxes. That costs two products more than atomic additions would,
but a bias of 392 x 392 pairs has only 2535 rows to add to, where atomics would queue.

In every kernel: ``order`` (M,) tokens by box, where the index ``num_tokens`` is padding; ``boxes`` (boxes, 3) tokens of one,
its first place in ``order``, its group's first place in ``index``; ``columns`` (heads, rows) the bias table in powers of two;
qkv (B, N, 3, heads, d); pad (B, 3, heads, d); out (B, N, heads, d); lse and delta (B, heads, N).
"""
# pyright: reportMissingImports=false

import triton
import triton.language as tl

__all__ = ["backward_bias", "backward_keys", "backward_queries", "forward"]


@triton.jit
def _task(boxes, num_boxes, num_blocks, num_heads):
    """What this program computes: block, head and clip, and the box's tokens, first slot and first entry."""
    task = tl.program_id(0)
    block = task % num_blocks
    head = (task // num_blocks) % num_heads
    box = (task // num_blocks // num_heads) % num_boxes
    clip = task // num_blocks // num_heads // num_boxes
    n = tl.load(boxes + 3 * box)
    slot = tl.load(boxes + 3 * box + 1)
    entry = tl.load(boxes + 3 * box + 2)
    return block, head, clip, n, slot, entry


@triton.jit
def _tokens(order, slot, i, n, clip, num_tokens):
    """Of places ``i`` of a box: rows in a tensor (B, N, ...), as int64; whether they hold a token of the grid; or padding."""
    token = tl.load(order + slot + i, mask=i < n, other=0)
    real = (i < n) & (token < num_tokens)
    padding = (i < n) & (token >= num_tokens)
    return clip.to(tl.int64) * num_tokens + token, real, padding


@triton.jit
def _read(tensor, row, real, width, column, d, D: tl.constexpr):
    """(rows, D) of a tensor (B, N, width), from ``column`` on; zeros where there is nothing to read."""
    c = tl.arange(0, D)
    mask = real[:, None] & (c < d)[None, :]
    return tl.load(tensor + row[:, None] * width + (column + c)[None, :], mask=mask, other=0.0)


@triton.jit
def _read_key(qkv, pad, row, real, padding, clip, width, column, d, D: tl.constexpr, PADDED: tl.constexpr):
    """As ``_read``; padding tokens are keys and values too."""
    rows = _read(qkv, row, real, width, column, d, D)
    if PADDED:
        c = tl.arange(0, D)
        rows = tl.where(
            padding[:, None], tl.load(pad + clip * width + column + c, mask=c < d, other=0.0)[None, :], rows
        )
    return rows


@triton.jit
def _write(tensor, values, row, real, width, column, d, D: tl.constexpr):
    c = tl.arange(0, D)
    mask = real[:, None] & (c < d)[None, :]
    tl.store(tensor + row[:, None] * width + (column + c)[None, :], values.to(tensor.dtype.element_ty), mask=mask)


@triton.jit
def _bias(columns, index, entry, head, rows, i, j, n):
    """(i, j) the bias of pairs; -inf where a query may not see a key, or one of them is not in the box."""
    inside = (i < n)[:, None] & (j < n)[None, :]
    row = tl.load(index + entry + i[:, None] * n + j[None, :], mask=inside, other=-1)
    return tl.load(columns + head * rows + row, mask=row >= 0, other=float("-inf"))


@triton.jit
def _shares(q, k, bias, lse, scale, PRECISION: tl.constexpr):
    """(i, j) what forward's softmax gave."""
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale + bias
    return tl.exp2(scores - lse[:, None])


@triton.jit
def _score_gradients(shares, v, d_out, delta, PRECISION: tl.constexpr):
    return shares * (tl.dot(d_out, tl.trans(v), input_precision=PRECISION) - delta[:, None])


@triton.jit
def _read_row_sums(lse, delta, row, real, clip, head, num_heads, num_tokens):
    """Where there is no query, an lse of +inf: its shares are 0, whatever the bias says."""
    at = row + (clip.to(tl.int64) * (num_heads - 1) + head) * num_tokens  # row is clip * N + token already
    return tl.load(lse + at, mask=real, other=float("inf")), tl.load(delta + at, mask=real, other=0.0)


@triton.jit
def forward(
    qkv, pad, columns, order, index, boxes, out, lse, num_boxes, num_blocks, num_heads, num_tokens, rows, d, scale,
    D: tl.constexpr, BLOCK: tl.constexpr, PADDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``scale``: of scores in powers of two, log2(e) / sqrt(d)."""
    block, head, clip, n, slot, entry = _task(boxes, num_boxes, num_blocks, num_heads)
    if block * BLOCK >= n:  # a box smaller than the largest
        return
    width = num_heads * d
    i = block * BLOCK + tl.arange(0, BLOCK)
    row, real, _padding = _tokens(order, slot, i, n, clip, num_tokens)
    q = _read(qkv, row, real, 3 * width, head * d, d, D)
    top = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    sums = tl.zeros([BLOCK, D], tl.float32)
    for first in range(0, n, BLOCK):
        j = first + tl.arange(0, BLOCK)
        key_row, key_real, key_padding = _tokens(order, slot, j, n, clip, num_tokens)
        k = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, width + head * d, d, D, PADDED)
        v = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, 2 * width + head * d, d, D, PADDED)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores += _bias(columns, index, entry, head, rows, i, j, n)
        new_top = tl.maximum(top, tl.max(scores, 1))
        base = tl.where(
            new_top == float("-inf"), 0.0, new_top
        )  # rows that have seen no key yet: -inf - -inf is no number
        shrink = tl.exp2(top - base)
        shares = tl.exp2(scores - base[:, None])
        total = total * shrink + tl.sum(shares, 1)
        sums = sums * shrink[:, None] + tl.dot(shares.to(v.dtype), v, input_precision=PRECISION)
        top = new_top
    total = tl.where(total == 0.0, 1.0, total)  # rows behind the last query, which nobody reads
    _write(out, sums / total[:, None], row, real, width, head * d, d, D)
    at = row + (clip.to(tl.int64) * (num_heads - 1) + head) * num_tokens
    tl.store(lse + at, top + tl.log2(total), mask=real)


@triton.jit
def backward_queries(
    qkv, pad, columns, order, index, boxes, d_out, lse, delta, d_qkv,
    num_boxes, num_blocks, num_heads, num_tokens, rows, d, scale, natural_scale,
    D: tl.constexpr, BLOCK: tl.constexpr, PADDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The queries' third of ``d_qkv``: a block of queries meets all keys."""
    block, head, clip, n, slot, entry = _task(boxes, num_boxes, num_blocks, num_heads)
    if block * BLOCK >= n:
        return
    width = num_heads * d
    i = block * BLOCK + tl.arange(0, BLOCK)
    row, real, _padding = _tokens(order, slot, i, n, clip, num_tokens)
    q = _read(qkv, row, real, 3 * width, head * d, d, D)
    gradient = _read(d_out, row, real, width, head * d, d, D)
    row_lse, row_delta = _read_row_sums(lse, delta, row, real, clip, head, num_heads, num_tokens)
    d_q = tl.zeros([BLOCK, D], tl.float32)
    for first in range(0, n, BLOCK):
        j = first + tl.arange(0, BLOCK)
        key_row, key_real, key_padding = _tokens(order, slot, j, n, clip, num_tokens)
        k = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, width + head * d, d, D, PADDED)
        v = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, 2 * width + head * d, d, D, PADDED)
        shares = _shares(q, k, _bias(columns, index, entry, head, rows, i, j, n), row_lse, scale, PRECISION)
        d_scores = _score_gradients(shares, v, gradient, row_delta, PRECISION)
        d_q += tl.dot(d_scores.to(k.dtype), k, input_precision=PRECISION)
    _write(d_qkv, d_q * natural_scale, row, real, 3 * width, head * d, d, D)


@triton.jit
def backward_keys(
    qkv, pad, columns, order, index, boxes, d_out, lse, delta, d_qkv, d_pad,
    num_boxes, num_blocks, num_heads, num_tokens, rows, d, scale, natural_scale,
    D: tl.constexpr, BLOCK: tl.constexpr, PADDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The other two thirds: a block of keys meets all queries. ``d_pad`` (programs, 2, d): what each gives to padding."""
    block, head, clip, n, slot, entry = _task(boxes, num_boxes, num_blocks, num_heads)
    if block * BLOCK >= n:
        return
    width = num_heads * d
    j = block * BLOCK + tl.arange(0, BLOCK)
    key_row, key_real, key_padding = _tokens(order, slot, j, n, clip, num_tokens)
    k = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, width + head * d, d, D, PADDED)
    v = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, 2 * width + head * d, d, D, PADDED)
    d_k = tl.zeros([BLOCK, D], tl.float32)
    d_v = tl.zeros([BLOCK, D], tl.float32)
    for first in range(0, n, BLOCK):
        i = first + tl.arange(0, BLOCK)
        row, real, _padding = _tokens(order, slot, i, n, clip, num_tokens)
        q = _read(qkv, row, real, 3 * width, head * d, d, D)
        gradient = _read(d_out, row, real, width, head * d, d, D)
        row_lse, row_delta = _read_row_sums(lse, delta, row, real, clip, head, num_heads, num_tokens)
        shares = _shares(q, k, _bias(columns, index, entry, head, rows, i, j, n), row_lse, scale, PRECISION)
        d_v += tl.dot(tl.trans(shares.to(gradient.dtype)), gradient, input_precision=PRECISION)
        d_scores = _score_gradients(shares, v, gradient, row_delta, PRECISION)
        d_k += tl.dot(tl.trans(d_scores.to(q.dtype)), q, input_precision=PRECISION)
    d_k *= natural_scale
    _write(d_qkv, d_k, key_row, key_real, 3 * width, width + head * d, d, D)
    _write(d_qkv, d_v, key_row, key_real, 3 * width, 2 * width + head * d, d, D)
    if PADDED:
        c = tl.arange(0, D)
        at = d_pad + tl.program_id(0).to(tl.int64) * 2 * d + c
        tl.store(at, tl.sum(tl.where(key_padding[:, None], d_k, 0.0), 0), mask=c < d)
        tl.store(at + d, tl.sum(tl.where(key_padding[:, None], d_v, 0.0), 0), mask=c < d)


@triton.jit(do_not_specialize=["count", "n", "slot", "entry", "tasks"])
def backward_bias(
    qkv, pad, columns, order, index, d_out, lse, delta, d_bias,
    count, n, slot, entry, tasks, num_blocks, num_heads, num_tokens, rows, d, scale,
    D: tl.constexpr, BLOCK: tl.constexpr, PADDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """(shares, heads, n, n) of one group of ``count`` boxes: a block of pairs, summed over every so many-th box and clip."""
    j = tl.program_id(0) % num_blocks * BLOCK + tl.arange(0, BLOCK)
    i = tl.program_id(0) // num_blocks * BLOCK + tl.arange(0, BLOCK)
    head, share = tl.program_id(1), tl.program_id(2)
    width = num_heads * d
    bias = _bias(columns, index, entry, head, rows, i, j, n)
    total = tl.zeros([BLOCK, BLOCK], tl.float32)
    for task in range(share, tasks, tl.num_programs(2)):
        clip, first = task // count, slot + task % count * n
        row, real, _padding = _tokens(order, first, i, n, clip, num_tokens)
        key_row, key_real, key_padding = _tokens(order, first, j, n, clip, num_tokens)
        q = _read(qkv, row, real, 3 * width, head * d, d, D)
        k = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, width + head * d, d, D, PADDED)
        v = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, 2 * width + head * d, d, D, PADDED)
        gradient = _read(d_out, row, real, width, head * d, d, D)
        row_lse, row_delta = _read_row_sums(lse, delta, row, real, clip, head, num_heads, num_tokens)
        total += _score_gradients(_shares(q, k, bias, row_lse, scale, PRECISION), v, gradient, row_delta, PRECISION)
    at = d_bias + ((share * num_heads + head).to(tl.int64) * n + i[:, None]) * n + j[None, :]
    tl.store(at, total, mask=(i < n)[:, None] & (j < n)[None, :])
