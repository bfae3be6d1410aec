"""Holding out: no group on both sides, classes even, nothing lost."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videoswin.data.annotations import Clip
from videoswin.errors import ConfigError
from videoswin.train.split import hold_out, k_folds


def row(number: int, label: str = "a", group: str = "") -> Clip:
    return Clip(Path(f"/clips/{number}.mp4"), label, "", group, 0)


def rows_like(pairs: list[tuple[str, str]]) -> list[Clip]:
    return [row(number, label, group) for number, (label, group) in enumerate(pairs)]


some_rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", "", "eva", "ben", "kim", "lea", "tom"])),
    min_size=5,
    max_size=40,
).map(rows_like)


def groups(rows: list[Clip]) -> set[str]:
    return {row.group for row in rows if row.group}


def units(rows: list[Clip]) -> int:
    """Groups, and clips without one."""
    return len(groups(rows)) + sum(not row.group for row in rows)


@given(some_rows, st.floats(0.01, 0.5), st.integers(0, 3))
def test_hold_out(rows: list[Clip], share: float, seed: int):
    if units(rows) < 2:
        with pytest.raises(ConfigError, match=r"Too few groups.*make a val split"):
            hold_out(rows, share, seed)
        return
    kept, held = hold_out(rows, share, seed)
    assert kept
    assert held
    assert Counter(kept + held) == Counter(rows)
    assert not groups(kept) & groups(held)
    assert hold_out(rows, share, seed) == (kept, held)


@given(some_rows, st.integers(2, 5), st.integers(0, 3))
def test_k_folds(rows: list[Clip], folds: int, seed: int):
    if units(rows) < folds:
        with pytest.raises(ConfigError, match=f"{folds} parts of. Bring more.$"):
            k_folds(rows, folds, seed, "Bring more.")
        return
    parts = k_folds(rows, folds, seed)
    assert len(parts) == folds
    assert all(parts)
    assert Counter(row for part in parts for row in part) == Counter(rows)
    assert sum(len(groups(part)) for part in parts) == len(groups(rows))
    assert k_folds(rows, folds, seed) == parts


@given(st.lists(st.integers(5, 20), min_size=1, max_size=4))
def test_single_clips_are_spread_evenly(counts: list[int]):
    rows = rows_like([(label, "") for label, count in zip("abcd", counts, strict=False) for _ in range(count)])
    for part in k_folds(rows, 5):
        found = Counter(row.label for row in part)
        for label, count in zip("abcd", counts, strict=False):
            assert count // 5 <= found[label] <= -(-count // 5)


def test_people_who_each_show_every_class():
    pairs = [(label, f"person {number}") for number in range(10) for label in "abc" for _ in range(2)]
    kept, held = hold_out(rows_like(pairs), 0.2)
    assert Counter(row.label for row in held) == dict.fromkeys("abc", 4)
    assert Counter(row.label for row in kept) == dict.fromkeys("abc", 16)


def test_the_seed_decides_between_equals():
    rows = rows_like([(label, "") for label in "ab" for _ in range(10)])
    assert len({tuple(row.path for row in hold_out(rows, 0.2, seed)[1]) for seed in range(5)}) > 1


def test_a_class_of_one_clip_is_trained_on():
    rows = rows_like([("a", "")] * 9 + [("rare", "")])
    for seed in range(10):
        kept, _ = hold_out(rows, 0.2, seed)
        assert {row.label for row in kept} == {"a", "rare"}


@pytest.mark.parametrize(("share", "held"), [(0.5, 10), (0.25, 5), (0.2, 4), (0.1, 2), (0.01, 1)])
def test_share(share: float, held: int):
    assert len(hold_out(rows_like([("a", "")] * 20), share)[1]) == held


def test_two_people_are_parted_one_to_one():
    kept, held = hold_out(rows_like([("a", "eva"), ("b", "eva"), ("a", "ben"), ("b", "ben")]), 0.2)
    assert {len(groups(kept)), len(groups(held))} == {1}


def test_one_group_cannot_be_parted():
    with pytest.raises(ConfigError, match=r"Too few.*2 parts.*val split"):
        hold_out(rows_like([("a", "eva"), ("b", "eva")]), 0.2)
