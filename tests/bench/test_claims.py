"""benchmarks/claims.py: pairs are alike in what they say they are, and verdicts are those of the figures."""

from typing import Any

import pytest
from benchmarks.claims import BASE, CORE, MORE, SIZE, Claim, contenders, verdicts

from videoswin.weights.assemble import empty_model
from videoswin.zoo import count_macs, get_config

_CLIP = (SIZE["clip_len"], SIZE["size"], SIZE["size"])


def sizes(name: str) -> tuple[int, int]:
    """Parameters and multiply-adds."""
    one = next(c for c in contenders(CORE + MORE) if c.text == name)
    assert one.model is not None
    config = get_config(one.model).replace(num_classes=10, **one.changes)
    return sum(p.numel() for p in empty_model(config).parameters()), count_macs(config, _CLIP)


@pytest.mark.parametrize("claim", [c for c in CORE + MORE if c.equal in ("parameters", "multiply-adds", "both")])
def test_pairs_are_alike(claim: Claim) -> None:
    which = {"parameters": (0,), "multiply-adds": (1,), "both": (0, 1)}[claim.equal]
    better, worse = sizes(claim.better), sizes(claim.worse)
    for i in which:
        assert 0.85 < worse[i] / better[i] < 1.2


def test_verdicts() -> None:
    groups = [str(i) for i in range(40)]
    right = {"ahead": "1" * 40, "behind": "1" * 20 + "0" * 20, "as_far": "0" * 20 + "1" * 20}
    results: dict[str, Any] = {
        "groups": groups,
        "models": {name: {"runs": [{"seed": 0, "correct": answers}]} for name, answers in right.items()},
    }
    claims = (
        Claim("", "ahead", "behind", ""),
        Claim("", "behind", "ahead", ""),
        Claim("", "behind", "as_far", ""),
        Claim("", "ahead", "never_run", ""),
    )
    said = verdicts(results, claims)
    assert [entry.get("says") for entry in said] == ["holds", "contradicted", "not seen", None]
    assert said[0]["mean"] == pytest.approx(0.5)


def test_the_base_comes_first() -> None:
    assert contenders(CORE)[0].text == BASE
