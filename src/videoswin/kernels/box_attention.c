/* Attention inside boxes, forward and backward, in float32: what plain.py computes with PyTorch's operators,
 * in one pass over the tokens and with nothing of size tokens x tokens in memory.
 *
 * A task is one box and one head. The tokens of a box are read through the box index straight from the grid, and results
 * go back the same way: no gather, no scatter. The relative position bias is read from the small table once for all boxes
 * of a group. A block of MR queries meets all keys of the box while its scores lie in the first-level cache (the idea of
 * FlashAttention, Dao et al., 2022; boxes are short, so no running softmax is needed).
 *
 * Compiled on the user's machine for its own instruction set by cpu_build.py. Vectors are GCC's and Clang's own, so
 * the same text serves AVX-512, AVX2 and NEON. Sums are taken in one fixed order for a given number of threads.
 */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define VL 16 /* floats in a vector */
#define MR 12 /* rows of a register tile: MR x 2 vectors of sums, which fill the registers but for a few */
#elif defined(__AVX2__) || defined(__AVX__)
#define VL 8
#define MR 6
#else
#define VL 4
#define MR 6
#endif
#define NR (2 * VL)
#define QB (4 * MR) /* queries at a time in backward: the sums over queries are loaded and stored once for each */
#define LOG2E 1.44269504f /* scores are kept in powers of two: 2^x needs fewer steps than e^x */
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(VL * 4), aligned(4), may_alias));

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec v) { *(vec *)p = v; }
INLINE vec splat(float x) { return x - (vec){0}; }
/* The larger of two; b if one of them is no number. */
INLINE vec larger(vec a, vec b) {
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    ivec take = a > b;
    return (vec)(((ivec)a & take) | ((ivec)b & ~take));
#endif
}
INLINE int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/* s[MR x NR] += A[MR x K] B[K x NR] in registers; element (i, k) of A stands at a[i * ai + k * ak]. */
INLINE void multiply(vec s[MR][2], int64_t K, const float *a, int64_t ai, int64_t ak, const float *b, int64_t ldb) {
    for (int64_t k = 0; k < K; k++) {
        vec b0 = load(b + k * ldb), b1 = load(b + k * ldb + VL);
#pragma GCC unroll 16
        for (int i = 0; i < MR; i++) {
            float x = a[i * ai + k * ak];
            s[i][0] += x * b0;
            s[i][1] += x * b1;
        }
    }
}

/* C[MR x NR] = start + A B, where start is C itself, another tile, or (NULL) nothing. */
INLINE void tile(int64_t K, const float *a, int64_t ai, int64_t ak, const float *b, int64_t ldb, float *c, int64_t ldc,
                 const float *start, int64_t lds) {
    vec s[MR][2];
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
        for (int j = 0; j < 2; j++) s[i][j] = start ? load(start + i * lds + j * VL) : (vec){0};
    multiply(s, K, a, ai, ak, b, ldb);
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
        for (int j = 0; j < 2; j++) store(c + i * ldc + j * VL, s[i][j]);
}

/* 2^x for x <= 0, relative error 9e-08; 0 for what is below -126.5, -inf too; NaN stays NaN. */
INLINE vec exp2_negative(vec x) {
    x = larger(splat(-127.0f), x);
    vec t = x + 12582912.0f; /* adding 1.5 * 2^23 rounds to a whole number */
    vec f = x - (t - 12582912.0f);
    vec p = f * 1.326472630e-03f + 9.671513010e-03f;
    p = p * f + 5.550733749e-02f;
    p = p * f + 2.402224208e-01f;
    p = p * f + 6.931469776e-01f;
    p = p * f + 1.0f;
    return p * (vec)(((ivec)t - (0x4b400000 - 127)) << 23); /* a product, since a sum of bits would hide a NaN */
}

INLINE float sum_of(vec v) {
    float s = 0;
    for (int i = 0; i < VL; i++) s += v[i];
    return s;
}

INLINE float max_of(vec v) {
    float m = v[0];
    for (int i = 1; i < VL; i++) m = v[i] > m ? v[i] : m;
    return m;
}

typedef struct {
    int64_t count;        /* boxes */
    int64_t n;            /* tokens of one */
    const int32_t *order; /* (count, n) tokens of the grid; num_tokens stands for a padding token */
    const int32_t *index; /* (n, n) rows of the table; -1: this query may not see this key */
} Group;

typedef struct {
    int64_t batch, num_tokens, heads, d, rows, slots, num_groups;
    int64_t qkv_step; /* floats from one clip of qkv to the next */
    const int64_t *groups; /* (num_groups, 4): count, n, first slot in order, first entry in index */
    const int32_t *order, *index;
    const float *qkv;   /* (batch, num_tokens, 3, heads, d), in grid order */
    const float *pad;   /* (batch, 3, heads, d): what a padding token's q, k and v are; NULL if there is none */
    const float *table; /* (rows, heads) */
    float *out;         /* (batch, num_tokens, heads, d) */
    float *lse;         /* (batch, heads, slots): log2 of the sum of the exponentials, for backward; or NULL */
    /* backward only */
    const float *d_out; /* as out */
    float *d_qkv;       /* as qkv, without gaps between clips */
    float *d_pad;       /* as pad */
    float *d_table;     /* as table */
} Job;

/* A thread's own memory. P is n up to whole panels of NR, D the same of d. */
typedef struct {
    float *bias;             /* n x P, or more rows, of one head and group; -inf in the last columns */
    float *kt, *k, *v, *vt;  /* keys and values: panels of d x NR, and rows of D */
    float *q, *go, *o;       /* queries, and gradients of the output: rows of d; output: rows of D */
    float *s, *dp;           /* scores and their gradients: QB x P */
    float *gq, *gk, *gv;     /* gradients: rows of D */
    float *gbias;            /* n x P */
    float *column;           /* one head's column of the table */
    float *gcolumn;          /* gradients of the whole table, (heads, rows) */
    float *gpad;             /* gradients of the padding tokens, as d_pad */
} Scratch;

static Group group_at(const Job *job, int64_t g) {
    const int64_t *row = job->groups + 4 * g;
    return (Group){row[0], row[1], job->order + row[2], job->index + row[3]};
}

/* Where part 0, 1 or 2 (query, key, value) of a token stands in a row of qkv. */
INLINE int64_t column_of(const Job *job, int64_t part, int64_t head) { return (part * job->heads + head) * job->d; }

INLINE const float *token_row(const Job *job, int64_t b, int32_t token, int64_t part, int64_t head) {
    int64_t width = 3 * job->heads * job->d, at = column_of(job, part, head);
    return token == job->num_tokens ? job->pad + b * width + at : job->qkv + b * job->qkv_step + token * width + at;
}

INLINE float *gradient_row(const Job *job, int64_t b, int32_t token, int64_t part, int64_t head) {
    return job->d_qkv + (b * job->num_tokens + token) * 3 * job->heads * job->d + column_of(job, part, head);
}

/* The bias of one head for all pairs of a box; columns behind the last key are never seen. */
static void fill_bias(const Job *job, Group group, int64_t head, int64_t P, Scratch *own) {
    for (int64_t r = 0; r < job->rows; r++) own->column[r] = LOG2E * job->table[r * job->heads + head];
    for (int64_t i = 0; i < group.n; i++) {
        float *row = own->bias + i * P;
        const int32_t *index = group.index + i * group.n;
        for (int64_t j = 0; j < group.n; j++) row[j] = index[j] < 0 ? -INFINITY : own->column[index[j]];
        for (int64_t j = group.n; j < P; j++) row[j] = -INFINITY;
    }
}

/* d x NR panels, so that a tile reads them end to end. */
INLINE void put_in_panels(float *panels, const float *row, int64_t j, int64_t d) {
    float *at = panels + j / NR * d * NR + j % NR;
    for (int64_t c = 0; c < d; c++) at[c * NR] = row[c];
}

/* Columns behind the last token of a box: their scores are -inf, as long as they hold numbers. */
INLINE void clear_tail(float *panels, int64_t n, int64_t P, int64_t d) {
    for (int64_t j = n; j < P; j++)
        for (int64_t c = 0; c < d; c++) panels[j / NR * d * NR + j % NR + c * NR] = 0;
}

INLINE void put_row(float *to, const float *row, int64_t d, float scale) {
    for (int64_t c = 0; c < d; c++) to[c] = row[c] * scale;
}

static void read_box(const Job *job, Group group, int64_t b, int64_t box, int64_t head, int64_t D, Scratch *own) {
    const int32_t *tokens = group.order + box * group.n;
    float scale = LOG2E / sqrtf((float)job->d);
    for (int64_t i = 0; i < group.n; i++) {
        put_row(own->q + i * job->d, token_row(job, b, tokens[i], 0, head), job->d, scale);
        const float *k = token_row(job, b, tokens[i], 1, head);
        const float *v = token_row(job, b, tokens[i], 2, head);
        put_in_panels(own->kt, k, i, job->d);
        put_row(own->v + i * D, v, job->d, 1);
        if (job->d_out) {
            put_row(own->k + i * D, k, job->d, 1);
            put_in_panels(own->vt, v, i, job->d);
        }
    }
}

/* scores[MR x P] = bias + rows[MR x d] times panels. */
INLINE void scores_of(const float *rows, const float *panels, int64_t d, int64_t P, const float *bias, float *scores) {
    for (int64_t j = 0; j < P; j += NR)
        tile(d, rows, d, 1, panels + j * d, NR, scores + j, P, bias ? bias + j : NULL, P);
}

/* The same, and the largest score of each row. */
INLINE void scores_and_tops(const float *rows, const float *panels, int64_t d, int64_t P, const float *bias,
                            float *scores, float top[MR]) {
    vec tops[MR];
    for (int i = 0; i < MR; i++) tops[i] = splat(-INFINITY);
    for (int64_t j = 0; j < P; j += NR) {
        vec s[MR][2];
#pragma GCC unroll 16
        for (int i = 0; i < MR; i++)
            for (int c = 0; c < 2; c++) s[i][c] = load(bias + i * P + j + c * VL);
        multiply(s, d, rows, d, 1, panels + j * d, NR);
#pragma GCC unroll 16
        for (int i = 0; i < MR; i++) {
            tops[i] = larger(tops[i], larger(s[i][0], s[i][1]));
            for (int c = 0; c < 2; c++) store(scores + i * P + j + c * VL, s[i][c]);
        }
    }
    for (int i = 0; i < MR; i++) top[i] = max_of(tops[i]);
}

static void forward_task(const Job *job, Group group, int64_t b, int64_t box, int64_t head, int64_t P, int64_t D,
                         Scratch *own) {
    int64_t n = group.n, d = job->d;
    const int32_t *tokens = group.order + box * n;
    float *lse = job->lse ? job->lse + (b * job->heads + head) * job->slots + (tokens - job->order) : NULL;
    read_box(job, group, b, box, head, D, own);
    for (int64_t first = 0; first < n; first += MR) {
        int64_t rows = n - first < MR ? n - first : MR;
        float top[MR], total[MR];
        scores_and_tops(own->q + first * d, own->kt, d, P, own->bias + first * P, own->s, top);
        for (int64_t i = 0; i < rows; i++) {
            float *s = own->s + i * P;
            vec sum = {0};
            for (int64_t j = 0; j < P; j += VL) {
                vec e = exp2_negative(load(s + j) - top[i]);
                store(s + j, e);
                sum += e;
            }
            total[i] = sum_of(sum);
            if (lse) lse[first + i] = top[i] + log2f(total[i]);
        }
        for (int64_t c = 0; c < D; c += NR) tile(n, own->s, P, 1, own->v + c, D, own->o + c, D, NULL, 0);
        for (int64_t i = 0; i < rows; i++) {
            if (tokens[first + i] == job->num_tokens) continue;
            float *to = job->out + ((b * job->num_tokens + tokens[first + i]) * job->heads + head) * d;
            put_row(to, own->o + i * D, d, 1 / total[i]);
        }
    }
}

static void backward_task(const Job *job, Group group, int64_t b, int64_t box, int64_t head, int64_t P, int64_t D,
                          Scratch *own) {
    int64_t n = group.n, d = job->d;
    const int32_t *tokens = group.order + box * n;
    const float *lse = job->lse + (b * job->heads + head) * job->slots + (tokens - job->order);
    float scale = 1 / sqrtf((float)d);
    read_box(job, group, b, box, head, D, own);
    memset(own->gk, 0, sizeof(float) * round_up(n, MR) * D);
    memset(own->gv, 0, sizeof(float) * round_up(n, MR) * D);
    for (int64_t first = 0; first < n; first += QB) {
        int64_t rows = n - first < QB ? n - first : QB, filled = round_up(rows, MR);
        float *q = own->q + first * d;
        memset(own->go, 0, sizeof(float) * QB * D);
        for (int64_t i = 0; i < rows; i++) {
            if (tokens[first + i] == job->num_tokens) continue; /* its output goes nowhere */
            int64_t at = ((b * job->num_tokens + tokens[first + i]) * job->heads + head) * d;
            put_row(own->go + i * d, job->d_out + at, d, 1);
        }
        for (int64_t i = 0; i < filled; i += MR) {
            scores_of(q + i * d, own->kt, d, P, own->bias + (first + i) * P, own->s + i * P);
            scores_of(own->go + i * d, own->vt, d, P, NULL, own->dp + i * P);
        }
        for (int64_t i = 0; i < filled; i++) {
            float *s = own->s + i * P, *dp = own->dp + i * P;
            if (i >= rows || tokens[first + i] == job->num_tokens) {
                memset(s, 0, sizeof(float) * P);
                memset(dp, 0, sizeof(float) * P);
                continue;
            }
            float *gbias = own->gbias + (first + i) * P;
            float row_lse = lse[first + i], delta = 0;
            vec sum = {0};
            /* The mean of dp, from the numbers it is taken from: as the output times its gradient it would be rounded in
             * another order, and what cancels exactly (a token alone in its box) would be noise. */
            for (int64_t j = 0; j < P; j += VL) {
                vec p = exp2_negative(load(s + j) - row_lse);
                store(s + j, p);
                if (j + VL <= n)
                    sum += p * load(dp + j);
                else /* columns behind the last key hold anything */
                    for (int64_t c = 0; j + c < n; c++) delta += p[c] * dp[j + c];
            }
            delta += sum_of(sum);
            for (int64_t j = 0; j < P; j += VL) {
                vec g = load(s + j) * (load(dp + j) - delta);
                store(dp + j, g);
                store(gbias + j, load(gbias + j) + g);
            }
        }
        for (int64_t i = 0; i < filled; i++) /* rows of D: the tiles below read whole panels */
            for (int64_t c = 0; c < D; c++) {
                own->o[i * D + c] = c < d ? own->go[i * d + c] : 0;
                own->gq[i * D + c] = c < d && i < rows ? q[i * d + c] / LOG2E : 0;
            }
        for (int64_t c = 0; c < D; c += NR)
            for (int64_t j = 0; j < n; j += MR) {
                float *gv = own->gv + j * D + c, *gk = own->gk + j * D + c;
                tile(filled, own->s + j, 1, P, own->o + c, D, gv, D, gv, D);
                tile(filled, own->dp + j, 1, P, own->gq + c, D, gk, D, gk, D);
            }
        for (int64_t c = 0; c < D; c += NR)
            for (int64_t i = 0; i < filled; i += MR)
                tile(n, own->dp + i * P, P, 1, own->k + c, D, own->gq + i * D + c, D, NULL, 0);
        for (int64_t i = 0; i < rows; i++) {
            if (tokens[first + i] == job->num_tokens) continue;
            put_row(gradient_row(job, b, tokens[first + i], 0, head), own->gq + i * D, d, scale);
        }
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t part = 1; part < 3; part++) {
            const float *from = (part == 1 ? own->gk : own->gv) + i * D;
            if (tokens[i] == job->num_tokens) {
                float *to = own->gpad + b * 3 * job->heads * d + column_of(job, part, head);
                for (int64_t c = 0; c < d; c++) to[c] += from[c];
            } else {
                put_row(gradient_row(job, b, tokens[i], part, head), from, d, 1);
            }
        }
}

/* Gradients of a head's bias, summed over boxes, go to the rows of the table that the pairs read. */
static void add_to_table(const Job *job, Group group, int64_t head, int64_t P, Scratch *own) {
    float *column = own->gcolumn + head * job->rows;
    for (int64_t i = 0; i < group.n; i++)
        for (int64_t j = 0; j < group.n; j++) {
            int32_t row = group.index[i * group.n + j];
            if (row >= 0) column[row] += own->gbias[i * P + j];
        }
}

static float *take(float **block, int64_t floats) {
    float *start = *block;
    *block += round_up(floats, 16);
    return start;
}

/* With block NULL, counts the floats a thread needs. */
static int64_t lay_out(const Job *job, Scratch *own, float *block) {
    int64_t n = 1, backward = job->d_out != NULL;
    for (int64_t g = 0; g < job->num_groups; g++)
        if (job->groups[4 * g + 1] > n) n = job->groups[4 * g + 1];
    int64_t d = job->d, D = round_up(d, NR), P = round_up(n, NR), R = round_up(n, MR) + QB;
    float *at = block;
    own->bias = take(&at, R * P);
    own->kt = take(&at, P * d);
    own->v = take(&at, R * D);
    own->q = take(&at, R * d);
    own->o = take(&at, QB * D);
    own->s = take(&at, (QB + 1) * P);
    own->column = take(&at, job->rows);
    if (backward) {
        own->k = take(&at, R * D);
        own->vt = take(&at, P * d);
        own->go = take(&at, QB * D);
        own->dp = take(&at, (QB + 1) * P);
        own->gq = take(&at, QB * D);
        own->gk = take(&at, R * D);
        own->gv = take(&at, R * D);
        own->gbias = take(&at, R * P);
    }
    return at - block;
}

/* The part of all tasks that falls to one thread. Tasks are ordered by group, head, clip and box, and cut by their cost,
 * so that a thread keeps a bias for as many boxes as it can. */
static void run_share(const Job *job, int64_t thread, int64_t threads, Scratch *own) {
    double total = 0, before = 0;
    for (int64_t g = 0; g < job->num_groups; g++) {
        Group group = group_at(job, g);
        total += (double)job->heads * job->batch * group.count * group.n * (group.n + 16);
    }
    double from = total * thread / threads, until = total * (thread + 1) / threads;
    for (int64_t g = 0; g < job->num_groups; g++) {
        Group group = group_at(job, g);
        int64_t P = round_up(group.n, NR), D = round_up(job->d, NR);
        double cost = (double)group.n * (group.n + 16);
        for (int64_t head = 0; head < job->heads; head++) {
            int started = 0;
            for (int64_t task = 0; task < job->batch * group.count; task++, before += cost) {
                double middle = before + cost / 2;
                if (middle < from || middle >= until) continue;
                if (!started) {
                    started = 1;
                    fill_bias(job, group, head, P, own);
                    clear_tail(own->kt, group.n, P, job->d);
                    if (job->d_out) {
                        clear_tail(own->vt, group.n, P, job->d);
                        memset(own->gbias, 0, sizeof(float) * group.n * P);
                    }
                }
                int64_t b = task / group.count, box = task % group.count;
                if (job->d_out)
                    backward_task(job, group, b, box, head, P, D, own);
                else
                    forward_task(job, group, b, box, head, P, D, own);
            }
            if (started && job->d_out) add_to_table(job, group, head, P, own);
        }
    }
}

/* A thread's part, in memory of its own, which it touches first. What backward sums over threads goes to ``sums``.
 * 0, or 1 if memory is short. */
static int run_alone(const Job *job, int64_t thread, int64_t threads, float *sums) {
    Scratch own;
    int64_t floats = round_up(lay_out(job, &own, NULL), 64);
    float *memory = aligned_alloc(256, sizeof(float) * floats);
    if (!memory) return 1;
    lay_out(job, &own, memory);
    own.gcolumn = sums;
    own.gpad = sums + job->heads * job->rows;
    run_share(job, thread, threads, &own);
    free(memory);
    return 0;
}

/* 0, or 1 if memory is short. */
int box_attention(const Job *job, int64_t threads) {
    int64_t table = job->heads * job->rows, pads = job->pad ? job->batch * 3 * job->heads * job->d : 0;
    int64_t summed = job->d_out ? round_up(table + pads, 64) : 0;
    float *sums = calloc(summed * threads + 1, sizeof(float)); /* pages of zeros: nobody writes them before their thread */
    if (!sums) return 1;
    int failed = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(| : failed)
    for (int64_t t = 0; t < threads; t++) failed |= run_alone(job, t, threads, sums + t * summed);
    if (job->d_out && !failed) /* in the order of the threads: the same sums every time */
        for (int64_t t = 0; t < threads; t++) {
            const float *gcolumn = sums + t * summed, *gpad = gcolumn + table;
            for (int64_t r = 0; r < job->rows; r++)
                for (int64_t h = 0; h < job->heads; h++)
                    job->d_table[r * job->heads + h] += gcolumn[h * job->rows + r];
            for (int64_t c = 0; c < pads; c++) job->d_pad[c] += gpad[c];
        }
    free(sums);
    return failed;
}
