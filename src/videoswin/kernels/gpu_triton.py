"""The GPU engine's kernels, in Triton: box_attention.c for graphics processors. Imported only where Triton is installed.

A program is one block of one box's tokens, for one head of one clip. Tokens are read through the box index from where they
lie, and results go back the same way. Scores meet an online softmax, block of keys after block of keys (FlashAttention, Dao et
al., 2022), so nothing of size tokens x tokens is kept, but for the relative position bias: ``spread_bias`` lays it out once a
call, one row for each query of each shape of box, for all boxes and clips to read in long pieces. Read from the table pair by
pair it took most of the time. Products take the inputs' own type, and so does the bias; sums are float32.

No sum depends on which program comes first: each address has one writer. The gradient of the bias alone is a sum over boxes;
its programs own a block of pairs and walk through the boxes. That costs two products more than atomic additions would,
but a bias of 392 x 392 pairs has only 2535 rows to add to, where atomics would queue.

In every kernel: ``order`` (M,) tokens by box, where the index ``num_tokens`` is padding; ``boxes`` (boxes, 3) tokens of one,
its first place in ``order``, its group's first row in ``bias``; ``shapes`` (groups, 5) of a group: tokens of a box, first entry
in ``index``, first row in ``bias``, boxes, first place in ``order``; ``bias`` (heads, bias_rows, stride) in powers of two, -inf
behind a row's last key; qkv (B, N, 3, heads, d); pad (B, 3, heads, d); out (B, N, heads, d); lse and delta (B, heads, N).
"""
# pyright: reportMissingImports=false

import triton
import triton.language as tl

__all__ = ["backward_bias", "backward_keys", "backward_queries", "forward", "spread_bias"]


@triton.jit(do_not_specialize=["num_heads", "bias_rows"])
def spread_bias(
    table, index, shapes, bias, num_heads, bias_rows, scale, STRIDE: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    """``table`` (rows, heads) -> ``bias``, times ``scale``. A program writes a row, for all heads."""
    shape = shapes + 5 * tl.program_id(1)
    n, entry, first_row = tl.load(shape), tl.load(shape + 1), tl.load(shape + 2)
    i = tl.program_id(0)
    if i >= n:
        return
    for first in range(0, STRIDE, PIECE):
        j = first + tl.arange(0, PIECE)
        row = tl.load(index + entry + i * n + j, mask=j < n, other=-1)
        for head in range(num_heads):
            value = tl.load(table + row * num_heads + head, mask=row >= 0, other=float("-inf")).to(tl.float32) * scale
            at = bias + (head * bias_rows + first_row + i).to(tl.int64) * STRIDE + j
            tl.store(at, value.to(bias.dtype.element_ty))


@triton.jit
def _task(boxes, num_boxes, num_blocks, num_heads):
    """What this program computes: block, head and clip, and the box's tokens, first slot and first row of its bias."""
    task = tl.program_id(0)
    block = task % num_blocks
    head = (task // num_blocks) % num_heads
    box = (task // num_blocks // num_heads) % num_boxes
    clip = task // num_blocks // num_heads // num_boxes
    n = tl.load(boxes + 3 * box)
    slot = tl.load(boxes + 3 * box + 1)
    first_row = tl.load(boxes + 3 * box + 2)
    return block, head, clip, n, slot, first_row


@triton.jit
def _tokens(order, slot, i, n, clip, num_tokens):
    """Of places ``i`` of a box: rows in a tensor (B, N, ...), as int64; whether they hold a token of the grid; or padding.

    Behind the last place the last token is read again: its bias of -inf, or a mask, keeps it out of every sum."""
    token = tl.load(order + slot + tl.minimum(i, n - 1))
    real = (i < n) & (token < num_tokens)
    padding = (i < n) & (token >= num_tokens)
    return clip.to(tl.int64) * num_tokens + token, real, padding


@triton.jit
def _read(tensor, row, real, width, column, d: tl.constexpr, D: tl.constexpr, PADDED: tl.constexpr):
    """(rows, D) of a tensor (B, N, width), from ``column`` on; zeros where there is nothing to read."""
    c = tl.arange(0, D)
    at = tensor + row[:, None] * width + (column + c)[None, :]
    if PADDED:
        return tl.load(at, mask=real[:, None] & (c < d)[None, :], other=0.0)
    elif d < D:
        return tl.load(at, mask=(c < d)[None, :], other=0.0)
    else:
        return tl.load(at)


@triton.jit
def _read_key(
    qkv, pad, row, real, padding, clip, width, column, d: tl.constexpr, D: tl.constexpr, PADDED: tl.constexpr
):
    """As ``_read``; padding tokens are keys and values too."""
    rows = _read(qkv, row, real, width, column, d, D, PADDED)
    if PADDED:
        c = tl.arange(0, D)
        rows = tl.where(
            padding[:, None], tl.load(pad + clip * width + column + c, mask=c < d, other=0.0)[None, :], rows
        )
    return rows


@triton.jit
def _write(tensor, values, row, real, width, column, d: tl.constexpr, D: tl.constexpr):
    c = tl.arange(0, D)
    mask = real[:, None] & (c < d)[None, :]
    tl.store(tensor + row[:, None] * width + (column + c)[None, :], values.to(tensor.dtype.element_ty), mask=mask)


@triton.jit
def _bias_row(bias, head, bias_rows, first_row, i, n, STRIDE: tl.constexpr):
    """Where the rows of queries ``i`` begin; behind the last query, where the last one's does."""
    return bias + (head * bias_rows + first_row + tl.minimum(i, n - 1)).to(tl.int64) * STRIDE


@triton.jit
def _row_sums(lse, row, clip, head, num_heads, num_tokens):
    return lse + row + (clip.to(tl.int64) * (num_heads - 1) + head) * num_tokens  # row is clip * N + token already


@triton.jit
def forward(
    qkv, pad, bias, order, boxes, out, lse,
    num_boxes, num_blocks, num_heads, num_tokens, bias_rows, scale,
    d: tl.constexpr, D: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr, KEYS: tl.constexpr,
    PADDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """``scale``: of scores in powers of two, log2(e) / sqrt(d)."""
    block, head, clip, n, slot, first_row = _task(boxes, num_boxes, num_blocks, num_heads)
    if block * BLOCK >= n:  # a box smaller than the largest
        return
    width = num_heads * d
    i = block * BLOCK + tl.arange(0, BLOCK)
    row, real, _padding = _tokens(order, slot, i, n, clip, num_tokens)
    q = _read(qkv, row, real, 3 * width, head * d, d, D, PADDED)
    bias_row = _bias_row(bias, head, bias_rows, first_row, i, n, STRIDE)
    top = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    sums = tl.zeros([BLOCK, D], tl.float32)
    for first in range(0, n, KEYS):
        j = first + tl.arange(0, KEYS)
        key_row, key_real, key_padding = _tokens(order, slot, j, n, clip, num_tokens)
        k = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, width + head * d, d, D, PADDED)
        v = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, 2 * width + head * d, d, D, PADDED)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores += tl.load(bias_row[:, None] + j[None, :]).to(tl.float32)
        new_top = tl.maximum(top, tl.max(scores, 1))
        base = tl.where(
            new_top == float("-inf"), 0.0, new_top
        )  # rows that have seen no key yet: -inf - -inf is no number
        shrink = tl.exp2(top - base)
        shares = tl.exp2(scores - base[:, None])
        total = total * shrink + tl.sum(shares, 1)
        sums = tl.dot(shares.to(v.dtype), v, sums * shrink[:, None], input_precision=PRECISION)
        top = new_top
    _write(out, sums / total[:, None], row, real, width, head * d, d, D)
    tl.store(_row_sums(lse, row, clip, head, num_heads, num_tokens), top + tl.log2(total), mask=real)


@triton.jit
def backward_queries(
    qkv, pad, bias, order, boxes, out, d_out, lse, delta, d_qkv,
    num_boxes, num_blocks, num_heads, num_tokens, bias_rows, scale, natural_scale,
    d: tl.constexpr, D: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr, KEYS: tl.constexpr,
    PADDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The queries' third of ``d_qkv``: a block of queries meets all keys. Writes ``delta``, the sums of out * d_out, which the
    other two kernels read."""
    block, head, clip, n, slot, first_row = _task(boxes, num_boxes, num_blocks, num_heads)
    if block * BLOCK >= n:
        return
    width = num_heads * d
    i = block * BLOCK + tl.arange(0, BLOCK)
    row, real, _padding = _tokens(order, slot, i, n, clip, num_tokens)
    q = _read(qkv, row, real, 3 * width, head * d, d, D, PADDED)
    gradient = _read(d_out, row, real, width, head * d, d, D, PADDED)
    result = _read(out, row, real, width, head * d, d, D, PADDED)
    row_delta = tl.sum(result.to(tl.float32) * gradient.to(tl.float32), 1)
    tl.store(_row_sums(delta, row, clip, head, num_heads, num_tokens), row_delta, mask=real)
    row_lse = tl.load(_row_sums(lse, row, clip, head, num_heads, num_tokens), mask=real, other=float("inf"))
    bias_row = _bias_row(bias, head, bias_rows, first_row, i, n, STRIDE)
    d_q = tl.zeros([BLOCK, D], tl.float32)
    for first in range(0, n, KEYS):
        j = first + tl.arange(0, KEYS)
        key_row, key_real, key_padding = _tokens(order, slot, j, n, clip, num_tokens)
        k = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, width + head * d, d, D, PADDED)
        v = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, 2 * width + head * d, d, D, PADDED)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
        scores += tl.load(bias_row[:, None] + j[None, :]).to(tl.float32)
        shares = tl.exp2(scores - row_lse[:, None])
        d_scores = shares * (tl.dot(gradient, tl.trans(v), input_precision=PRECISION) - row_delta[:, None])
        d_q = tl.dot(d_scores.to(k.dtype), k, d_q, input_precision=PRECISION)
    _write(d_qkv, d_q * natural_scale, row, real, 3 * width, head * d, d, D)


@triton.jit
def backward_keys(
    qkv, pad, bias, order, boxes, d_out, lse, delta, d_qkv, d_pad,
    num_boxes, num_blocks, num_heads, num_tokens, bias_rows, scale, natural_scale,
    d: tl.constexpr, D: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr, QUERIES: tl.constexpr,
    PADDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The other two thirds: a block of keys meets all queries. ``d_pad`` (programs, 2, d): what each gives to padding.

    Scores are computed with keys as rows, so that the shares are where the next products want them."""
    block, head, clip, n, slot, first_row = _task(boxes, num_boxes, num_blocks, num_heads)
    if block * BLOCK >= n:
        return
    width = num_heads * d
    j = block * BLOCK + tl.arange(0, BLOCK)
    key_row, key_real, key_padding = _tokens(order, slot, j, n, clip, num_tokens)
    k = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, width + head * d, d, D, PADDED)
    v = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, 2 * width + head * d, d, D, PADDED)
    d_k = tl.zeros([BLOCK, D], tl.float32)
    d_v = tl.zeros([BLOCK, D], tl.float32)
    for first in range(0, n, QUERIES):
        i = first + tl.arange(0, QUERIES)
        row, real, _padding = _tokens(order, slot, i, n, clip, num_tokens)
        q = _read(qkv, row, real, 3 * width, head * d, d, D, PADDED)
        gradient = _read(d_out, row, real, width, head * d, d, D, PADDED)
        # Where there is no query, an lse of +inf: its shares are 0, whatever the bias says.
        row_lse = tl.load(_row_sums(lse, row, clip, head, num_heads, num_tokens), mask=real, other=float("inf"))
        row_delta = tl.load(_row_sums(delta, row, clip, head, num_heads, num_tokens), mask=real, other=0.0)
        bias_row = _bias_row(bias, head, bias_rows, first_row, i, n, STRIDE)
        scores = tl.dot(k, tl.trans(q), input_precision=PRECISION) * scale
        scores += tl.load(bias_row[None, :] + j[:, None]).to(tl.float32)
        shares = tl.exp2(scores - row_lse[None, :])
        d_v = tl.dot(shares.to(gradient.dtype), gradient, d_v, input_precision=PRECISION)
        d_scores = shares * (tl.dot(v, tl.trans(gradient), input_precision=PRECISION) - row_delta[None, :])
        d_k = tl.dot(d_scores.to(q.dtype), q, d_k, input_precision=PRECISION)
    d_k *= natural_scale
    _write(d_qkv, d_k, key_row, key_real, 3 * width, width + head * d, d, D)
    _write(d_qkv, d_v, key_row, key_real, 3 * width, 2 * width + head * d, d, D)
    if PADDED:
        c = tl.arange(0, D)
        at = d_pad + tl.program_id(0).to(tl.int64) * 2 * d + c
        tl.store(at, tl.sum(tl.where(key_padding[:, None], d_k, 0.0), 0), mask=c < d)
        tl.store(at + d, tl.sum(tl.where(key_padding[:, None], d_v, 0.0), 0), mask=c < d)


@triton.jit(do_not_specialize=["num_groups", "pairs", "batch"])
def backward_bias(
    qkv, pad, bias, order, shapes, d_out, lse, delta, d_bias,
    num_groups, pairs, batch, num_blocks, num_heads, num_tokens, bias_rows, scale,
    d: tl.constexpr, D: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr,
    PADDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """(shares, heads, pairs) as ``index``, for all groups one after the other: a program sums a block of pairs over every so
    many-th box and clip."""
    group, share = tl.program_id(2) % num_groups, tl.program_id(2) // num_groups
    shape = shapes + 5 * group
    n, entry, first_row = tl.load(shape), tl.load(shape + 1), tl.load(shape + 2)
    count, slot = tl.load(shape + 3), tl.load(shape + 4)
    block, other = tl.program_id(0) // num_blocks, tl.program_id(0) % num_blocks
    if block * BLOCK >= n or other * BLOCK >= n:  # a box smaller than the largest
        return
    head = tl.program_id(1)
    i = block * BLOCK + tl.arange(0, BLOCK)
    j = other * BLOCK + tl.arange(0, BLOCK)
    width = num_heads * d
    known = tl.load(_bias_row(bias, head, bias_rows, first_row, i, n, STRIDE)[:, None] + j[None, :]).to(tl.float32)
    total = tl.zeros([BLOCK, BLOCK], tl.float32)
    for task in range(share, count * batch, tl.num_programs(2) // num_groups):
        clip, first = task // count, slot + task % count * n
        row, real, _padding = _tokens(order, first, i, n, clip, num_tokens)
        key_row, key_real, key_padding = _tokens(order, first, j, n, clip, num_tokens)
        q = _read(qkv, row, real, 3 * width, head * d, d, D, PADDED)
        k = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, width + head * d, d, D, PADDED)
        v = _read_key(qkv, pad, key_row, key_real, key_padding, clip, 3 * width, 2 * width + head * d, d, D, PADDED)
        gradient = _read(d_out, row, real, width, head * d, d, D, PADDED)
        row_lse = tl.load(_row_sums(lse, row, clip, head, num_heads, num_tokens), mask=real, other=float("inf"))
        row_delta = tl.load(_row_sums(delta, row, clip, head, num_heads, num_tokens), mask=real, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale + known
        shares = tl.exp2(scores - row_lse[:, None])
        total += shares * (tl.dot(gradient, tl.trans(v), input_precision=PRECISION) - row_delta[:, None])
    at = d_bias + (share * num_heads + head).to(tl.int64) * pairs + entry + i[:, None] * n + j[None, :]
    tl.store(at, total, mask=(i < n)[:, None] & (j < n)[None, :])
