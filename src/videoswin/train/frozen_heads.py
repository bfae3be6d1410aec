"""Heads on frozen features: many settings fitted at once, each exactly as it would be alone.

All take features of n clips, their classes, and which clips to learn from, and answer for all clips: (S, n, K) logits for S
settings.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from videoswin.train.randomness import seeded

__all__ = ["attentive", "linear", "linear_weights", "nearest"]

_STEPS = 80
_SPREAD = 1e-6
_ROUNDING = 1e-12  # of the largest square
_CHANNELS, _QUERIES = 48, 2
_ATTENTIVE_STEPS, _ATTENTIVE_LR = 80, 0.03
_SHARPNESS = 10.0


def linear(features: Tensor, targets: Tensor, classes: int, learn: Tensor, decays: list[float]) -> Tensor:
    """Logistic regression with a weight decay for each setting.

    ``features`` (n, C); ``targets`` (n,) in 0..classes-1; ``learn`` bool (n,). Gives (S, n, classes).
    """
    weights, bias = linear_weights(features[learn], targets[learn], classes, decays)
    return features @ weights + bias[:, None]


def linear_weights(features: Tensor, targets: Tensor, classes: int, decays: list[float]) -> tuple[Tensor, Tensor]:
    """(S, C, classes) and (S, classes) of the regression, for features as they come.

    Features are standardised by the clips that are learnt from, and the decay is on the weights for those. Newton's method
    with the bound of Boehning (1992) in place of the curvature: one decomposition serves all settings, and no step size has to
    be found.
    """
    mean, std = features.mean(0), features.std(0, correction=0).clamp(min=_SPREAD)
    x = ((features - mean) / std).double()
    n = len(x)
    s, vt = _span(x)  # weights of least norm lie in the span of the clips
    z = x @ vt.T  # (n, r)
    decay = torch.tensor(decays, dtype=torch.float64)[:, None]
    curvature = 0.5 * s.square() / n + decay  # (S, r), diagonal in this basis
    onehot = F.one_hot(targets, classes).double()
    w = torch.zeros(len(decays), z.shape[1], classes, dtype=torch.float64)
    b = onehot.mean(0).clamp(min=1e-3).log().expand(len(decays), classes).clone()
    w_before, b_before = w, b
    for step in range(_STEPS):
        ahead = step / (step + 3)  # Nesterov's momentum: the bound is far from tight where classes are well apart
        w_next, b_next = w + ahead * (w - w_before), b + ahead * (b - b_before)
        error = ((z @ w_next + b_next[:, None]).softmax(-1) - onehot) / n  # (S, n, K)
        w_before, b_before = w, b
        w = w_next - (z.T @ error + decay[..., None] * w_next) / curvature[..., None]
        b = b_next - 2 * error.sum(1)
    weights = (vt.T @ w) / std.double()[:, None]  # (S, C, K), for features as they come
    return weights.float(), (b - (mean.double() @ weights)).float()


def _span(x: Tensor) -> tuple[Tensor, Tensor]:
    """The singular values (r,) of float64 (n, C), and the directions (r, C) of those that are more than rounding.

    From the smaller one of the two products of ``x`` with itself, several times as fast as the decomposition of ``x``.
    """
    wide = x.shape[0] <= x.shape[1]
    squares, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = squares > squares[-1].clamp(min=1e-300) * _ROUNDING
    s, vectors = squares[kept].sqrt(), vectors[:, kept]
    return s, (x.T @ (vectors / s) if wide else vectors).T


def nearest(features: Tensor, targets: Tensor, classes: int, learn: Tensor, neighbours: list[int]) -> Tensor:
    """The k nearest clips by the angle between features vote, near ones more; one setting for each k."""
    x = F.normalize(features - features[learn].mean(0), dim=1)
    alike = x @ x[learn].T  # (n, m)
    votes = F.one_hot(targets[learn], classes).float()
    answers = []
    for k in neighbours:
        near, which = alike.topk(min(k, alike.shape[1]), dim=1)
        share = (near * _SHARPNESS).softmax(1)
        answers.append(((share[..., None] * votes[which]).sum(1) + 1e-6).log())
    return torch.stack(answers)


def attentive(
    tokens: Tensor, targets: Tensor, classes: int, learn: Tensor, decays: list[float], seed: int = 0
) -> Tensor:
    """A few learnt queries choose what to look at among the tokens (n, P, C), then a linear layer: (S, n, classes).

    Tokens are first turned to the directions in which those of the learnt clips differ most.
    """
    known = tokens[learn]
    mean = known.mean((0, 1))
    flat = (known - mean).flatten(0, 1)
    _, s, v = torch.linalg.svd(flat.T @ flat / len(flat))
    kept = min(_CHANNELS, v.shape[0])
    x = (tokens - mean) @ v[:kept].T / s[:kept].clamp(min=_SPREAD).sqrt()  # (n, P, c)
    settings = len(decays)
    with seeded(seed):
        queries = torch.randn(1, _QUERIES, kept).mul(0.1).repeat(settings, 1, 1)
    weights, bias = torch.zeros(settings, _QUERIES * kept, classes), torch.zeros(settings, classes)
    parameters = [p.requires_grad_() for p in (queries, weights, bias)]
    optimizer = torch.optim.Adam(parameters, lr=_ATTENTIVE_LR)
    decay = torch.tensor(decays)[:, None, None]

    def answer(part: Tensor) -> Tensor:
        look = torch.einsum("npc,sqc->snqp", part, queries).softmax(-1)
        return torch.einsum("snqp,npc->snqc", look, part).flatten(2) @ weights + bias[:, None]

    with torch.enable_grad():
        for _ in range(_ATTENTIVE_STEPS):
            logits = answer(x[learn])
            wanted = targets[learn].expand(settings, -1)
            loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum") / int(learn.sum())
            loss = loss + 0.5 * (decay * weights.square()).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return answer(x)
