"""benchmarks/claims.py: pairs are alike in what they say they are, and verdicts are those of the figures."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.claims import gathered
from benchmarks.lib.claims import BASE, SCALES, Claim, Scale, contenders, core_claims, more_claims, table, verdicts

from videoswin.weights.assemble import empty_model
from videoswin.zoo import count_macs, get_config


def sizes(name: str, at: Scale) -> tuple[int, int]:
    """Parameters and multiply-adds."""
    (one,) = contenders((Claim("", name, name, ""),))
    assert one.model is not None
    config = get_config(one.model).replace(num_classes=10, **one.changes)
    clip = (at.clip["clip_len"], at.size, at.size)
    return sum(p.numel() for p in empty_model(config).parameters()), count_macs(config, clip)


@pytest.mark.parametrize(
    ("at", "claim"),
    [
        (at, claim)
        for at in SCALES.values()
        for claim in core_claims(at) + more_claims(at)
        if claim.equal in ("parameters", "multiply-adds", "both")
    ],
)
def test_pairs_are_alike(at: Scale, claim: Claim) -> None:
    which = {"parameters": (0,), "multiply-adds": (1,), "both": (0, 1)}[claim.equal]
    better, worse = sizes(claim.better, at), sizes(claim.worse, at)
    for i in which:
        assert 0.85 < worse[i] / better[i] < 1.2


def test_verdicts() -> None:
    groups = [str(i) for i in range(40)]
    right = {"ahead": "1" * 40, "behind": "1" * 20 + "0" * 20, "as_far": "0" * 20 + "1" * 20}
    results: dict[str, Any] = {
        "groups": groups,
        "models": {
            name: {"runs": [{"seed": 0, "correct": answers, "accuracy": answers.count("1") / 40}]}
            for name, answers in right.items()
        },
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
    assert table(said).splitlines()[2::3] == [
        "|  |  | 100.0 | 50.0 | +50.0 (+35.0 to +65.0) | +50.0 | holds |",
        "|  |  | | | | | not run |",
    ]


def test_the_base_comes_first() -> None:
    for at in SCALES.values():
        assert contenders(core_claims(at))[0].text == at.swin()
        assert at.swin().startswith(BASE)


def test_shares_are_one_comparison(tmp_path: Path) -> None:
    def run(seed: int, correct: str) -> dict[str, Any]:
        share = correct.count("1") / len(correct)
        return {"seed": seed, "correct": correct, "accuracy": share, "folds": [share] * 2, "train_seconds": [1.0]}

    shares = {
        "share-0-of-2": {"a": {"runs": [run(1, "1100")]}, "b": {"runs": [run(0, "1111")]}},
        "share-1-of-2": {"a": {"runs": [run(0, "1110")]}, "b": {"runs": [], "error": "no room"}},
        "share-0-of-1": {"a": {"runs": [run(0, "1110")]}},
    }
    for name, models in shares.items():
        (tmp_path / name).mkdir()
        found = {"groups": ["p", "p", "q", "q"], "models": models}
        (tmp_path / name / "compare.json").write_text(json.dumps(found))
    found = gathered(tmp_path)
    assert [entry["seed"] for entry in found["models"]["a"]["runs"]] == [0, 1]
    assert found["models"]["a"]["accuracy"] == pytest.approx(0.625)
    (said,) = verdicts(found, (Claim("", "a", "b", ""),))
    assert said["by_seed"] == [-0.25]
