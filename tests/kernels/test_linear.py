"""The MLP of a block, whole and in parts."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from videoswin.kernels import linear


@pytest.mark.parametrize("hidden_values", [1, 64, 65, 7 * 64, 35 * 64, 36 * 64, 10**6])
def test_an_mlp_in_parts_of_any_size(hidden_values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    fc1, fc2, x = nn.Linear(16, 64), nn.Linear(64, 24), torch.randn(5, 7, 16)
    monkeypatch.setattr(linear, "_HIDDEN_VALUES", hidden_values)
    with torch.no_grad():
        found, expected = linear.mlp(x, fc1, fc2), fc2(F.gelu(fc1(x)))
    assert found.shape == (5, 7, 24)
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected)


def test_a_single_token() -> None:
    """(C,) has no rows; nn.Linear takes it, forward and backward."""
    torch.manual_seed(0)
    fc1, fc2, x = nn.Linear(16, 64), nn.Linear(64, 24), torch.randn(16)
    weights = [*fc1.parameters(), *fc2.parameters()]
    expected = fc2(F.gelu(fc1(x)))
    gradients = torch.autograd.grad(expected.sum(), weights)
    with torch.no_grad():
        torch.testing.assert_close(linear.mlp(x, fc1, fc2), expected)
    found = torch.autograd.grad(linear.mlp(x, fc1, fc2).sum(), weights)
    torch.testing.assert_close(found, gradients)
