"""Claims of the paper and of those it builds on, as pairs of models, and what runs say to them."""

from dataclasses import dataclass
from typing import Any

from videoswin.train.compare import answers_by_clip, difference_of
from videoswin.train.contenders import Contender, parse_contenders

__all__ = [
    "BASE",
    "SCALES",
    "Claim",
    "Scale",
    "contenders",
    "core_claims",
    "more_claims",
    "verdicts",
]

BASE = "swin3d_micro"
CLIP_LEN = 16


@dataclass(frozen=True)
class Claim:
    """``better`` should be ahead of ``worse``; ``equal`` says in what they are alike."""

    text: str
    better: str
    worse: str
    equal: str


@dataclass(frozen=True)
class Scale:
    """A size of frame. ``window``: tokens of a window's side, half of a frame's. The widths of other systems are those at which
    they have as many multiply-adds as the base."""

    size: int
    window: int
    space_width: int
    split_width: int
    vivit_width: int

    @property
    def clip(self) -> dict[str, Any]:
        return {"clip_len": CLIP_LEN, "size": self.size}

    def swin(self, variant: str = "", steps: int = 8, side: int = 1, more: str = "") -> str:
        """A variant of the base with windows of ``steps`` time steps, ``side`` times as wide as the scale's."""
        wide = side * self.window
        return f"{BASE}{variant}:window_size={steps}x{wide}x{wide}{more}"

    def on_frames(self) -> str:
        """The 2D form of the base: patches and windows of one frame, features averaged."""
        return f"swin2d_micro:window_size=1x{self.window}x{self.window}"

    def other(self, name: str, width: int) -> str:
        return f"{name}:{width}:crop_size={self.size}"


SCALES = {56: Scale(56, 7, 78, 36, 84), 32: Scale(32, 4, 60, 32, 84)}


def core_claims(at: Scale) -> tuple[Claim, ...]:
    """Those that cost least."""
    return (
        Claim("joint attention beats factorised", at.swin(), at.swin("_factorised"), "parameters"),
        Claim("joint attention beats split", at.swin(), at.swin("_split", more=":26"), "parameters"),
        Claim("windows of 8 time steps beat 1", at.swin(), at.swin(steps=1), "parameters"),
        Claim("windows of 8 time steps beat 4", at.swin(), at.swin(steps=4), "parameters"),
        Claim("the shift along time helps", at.swin(steps=4), at.swin("_no_time_shift", 4), "both"),
        Claim("shifts help", at.swin(steps=4), at.swin("_no_shift", 4), "both"),
        Claim("seeing time beats frames alone", at.swin(), at.on_frames(), "parameters"),
        Claim("R(2+1)D beats R3D", "r2plus1d_micro:11:stem=plain:shortcut=conv", "r3d_micro:11", "both"),
        Claim("non-local blocks help I3D", "i3d_r50_nl_micro", "i3d_r50_micro", "the trunk"),
    )


def more_claims(at: Scale) -> tuple[Claim, ...]:
    """The others."""
    factorised, split = at.swin("_factorised", more=":mlp_ratio=4"), at.swin("_split", more=f":{at.split_width}")
    space, joint = (at.other(f"timesformer_micro_{kind}", at.space_width) for kind in ("space", "joint"))
    vivit, wide_vivit = (at.other("vivit_micro_model1", width) for width in (at.vivit_width, 192))
    return (
        Claim("joint attention beats factorised", at.swin(), factorised, "multiply-adds"),
        Claim("joint attention beats split", at.swin(), split, "multiply-adds"),
        Claim("windows of 8 time steps beat 2", at.swin(), at.swin(steps=2), "parameters"),
        Claim("windows beat attention to all", at.swin(), at.swin(side=2), "all but the tables"),
        Claim("windows beat attention to all (ViViT)", at.swin(), vivit, "multiply-adds"),
        Claim("windows beat attention to all (wide ViViT)", at.swin(), wide_vivit, "parameters"),
        Claim("seeing time beats frames alone (TimeSformer)", at.swin(), space, "multiply-adds"),
        Claim("seeing time beats frames alone (TimeSformer)", joint, space, "parameters"),
        Claim("global context helps I3D", "i3d_r50_gc_micro", "i3d_r50_micro", "the trunk"),
        Claim("disentangled beats non-local", "i3d_r50_dnl_micro", "i3d_r50_nl_micro", "the trunk"),
    )


# The shift along time is tried with windows of 4 steps: 16 frames are 8 time steps, and windows of 8 are not shifted there.


def contenders(claims: tuple[Claim, ...]) -> list[Contender]:
    """Every model that a claim names, once."""
    names = dict.fromkeys(name for claim in claims for name in (claim.better, claim.worse))
    return parse_contenders(",".join(names))


def verdicts(results: dict[str, Any], claims: tuple[Claim, ...]) -> list[dict[str, Any]]:
    """What the runs so far say to each claim: that it holds, or the contrary, if other groups would say so too, 19 times in 20,
    and every seed does."""
    said = []
    for claim in claims:
        pair = [results["models"].get(name, {}) for name in (claim.better, claim.worse)]
        seeds = set.intersection(*({run["seed"] for run in one.get("runs", [])} for one in pair))
        entry: dict[str, Any] = {
            "claim": claim.text,
            "better": claim.better,
            "worse": claim.worse,
            "at_equal": claim.equal,
        }
        if seeds:
            mine, theirs = (answers_by_clip([r for r in one["runs"] if r["seed"] in seeds]) for one in pair)
            entry |= {"seeds": len(seeds), **difference_of(mine, theirs, results["groups"])}
            entry["accuracies"] = [sum(mine) / len(mine), sum(theirs) / len(theirs)]
            entry["by_seed"] = [_of_seed(pair[0], seed) - _of_seed(pair[1], seed) for seed in sorted(seeds)]
            if entry["low"] > 0 and min(entry["by_seed"]) > 0:
                entry["says"] = "holds"
            elif entry["high"] < 0 and max(entry["by_seed"]) < 0:
                entry["says"] = "contradicted"
            else:
                entry["says"] = "not seen"
        said.append(entry)
    return said


def table(said: list[dict[str, Any]]) -> str:
    """Verdicts as a table in Markdown: accuracies in percent, their difference with its range, and that of each seed."""
    lines = ["| claim | at equal | better | worse | difference | of each seed | |", f"|{' --- |' * 7}"]
    for entry in said:
        if "says" not in entry:
            lines.append(f"| {entry['claim']} | {entry['at_equal']} | | | | | not run |")
            continue
        better, worse = (f"{100 * value:.1f}" for value in entry["accuracies"])
        mean, low, high = (f"{100 * entry[name]:+.1f}" for name in ("mean", "low", "high"))
        seeds = ", ".join(f"{100 * value:+.1f}" for value in entry["by_seed"])
        lines.append(
            f"| {entry['claim']} | {entry['at_equal']} | {better} | {worse} | {mean} ({low} to {high}) | {seeds} | "
            f"{entry['says']} |"
        )
    return "\n".join(lines)


def _of_seed(entry: dict[str, Any], seed: int) -> float:
    return next(run["accuracy"] for run in entry["runs"] if run["seed"] == seed)
