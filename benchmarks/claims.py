"""The paper's claims, tried at the size of a laptop: which of them can be seen on a few hundred clips, and which are noise.

    python benchmarks/claims.py DATA... --out OUT [--hours 6] [--size 56] [--results FILE]

Every set of DATA (a folder of class folders, or a CSV with groups) is compared by ``videoswin compare``'s own code: models of
about equal parameters, and of about equal multiply-adds, from fresh weights, with the same clips, folds of whole groups, seeds and
recipe. The time of a training step is measured first, in seconds of this process, and the epochs are as many as fit the hours.
After each run OUT and the results are written; the same command goes on where it was stopped.

A claim is a pair of models. What is reported is the difference in held-out accuracy on the same clips, with the range in which it
would lie for other groups, 19 times in 20, and one of three words: holds, contradicted, or not seen.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videoswin.errors import Interrupted
from videoswin.storage.atomic import replace_file
from videoswin.train.compare import Comparison, Terms, answers_by_clip, difference_of
from videoswin.train.contenders import Contender, parse_contenders
from videoswin.train.loop import Trainer
from videoswin.train.metrics import EpochRow, Tally
from videoswin.train.plan import Plan, make_plan
from videoswin.train.preferences import Preferences
from videoswin.zoo import count_macs

BASE = "swin3d_micro"
CLIP_LEN = 16
BATCH, FOLDS, SEEDS = 8, 3, 3
FEW_STEPS = 1500
"""Optimiser steps below which fresh transformers of this size have hardly left their plateau (docs/log.md)."""


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
        Claim(
            "seeing time beats frames alone",
            at.swin(),
            at.other("timesformer_micro_space", at.space_width),
            "multiply-adds",
        ),
        Claim("R(2+1)D beats R3D", "r2plus1d_micro", "r3d_micro:11", "multiply-adds"),
        Claim("non-local blocks help I3D", "i3d_r50_nl_micro", "i3d_r50_micro", "the trunk"),
    )


def more_claims(at: Scale) -> tuple[Claim, ...]:
    """The others."""
    split = at.swin("_split", more=f":{at.split_width}")
    vivit = at.other("vivit_micro_model1", at.vivit_width)
    return (
        Claim(
            "joint attention beats factorised", at.swin(), at.swin("_factorised", more=":mlp_ratio=4"), "multiply-adds"
        ),
        Claim("joint attention beats split", at.swin(), split, "multiply-adds"),
        Claim("windows of 8 time steps beat 2", at.swin(), at.swin(steps=2), "parameters"),
        Claim("windows beat attention to all", at.swin(), at.swin(side=2), "all but the tables"),
        Claim("windows beat attention to all (ViViT 1)", at.swin(), vivit, "multiply-adds"),
        Claim("windows beat attention to all (ViViT 1)", at.swin(), at.other("vivit_micro_model1", 192), "parameters"),
        Claim("R(2+1)D beats R3D", "r2plus1d_micro", "r3d_micro", "parameters"),
        Claim("global context helps I3D", "i3d_r50_gc_micro", "i3d_r50_micro", "the trunk"),
        Claim("disentangled beats non-local", "i3d_r50_dnl_micro", "i3d_r50_nl_micro", "both"),
    )


# The shift along time is tried with windows of 4 steps: 16 frames are 8 time steps, and windows of 8 are not shifted there.


class Quiet:
    """Looks on and says nothing."""

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        pass

    def epoch(self, row: EpochRow, best: bool) -> None:
        pass


def contenders(claims: tuple[Claim, ...]) -> list[Contender]:
    """Every model that a claim names, once."""
    names = dict.fromkeys(name for claim in claims for name in (claim.better, claim.worse))
    return parse_contenders(",".join(names))


def seconds_a_clip(plan: Plan, batch: int = 4) -> float:
    """Processor seconds of one clip in a training step: of two steps the second."""
    model = plan.build().model.train()
    p = plan.classifier.preprocessing
    video, labels = torch.randn(batch, 3, p.clip_len, *p.size), torch.zeros(batch, dtype=torch.long)
    taken = 0.0
    for _ in range(2):
        began = time.process_time()
        torch.nn.functional.cross_entropy(model(video), labels).backward()
        taken = time.process_time() - began
    return taken / batch


def sized(data: Path, out: Path, models: list[Contender], clip: dict[str, Any], hours: float) -> dict[str, Any]:
    """Seconds, parameters and multiply-adds of each model, and the epochs that fit."""
    rows: dict[str, Any] = {}
    clips = 0
    for one in models:
        wanted = Preferences(**clip, folds=FOLDS, recipe="scratch")
        plan = make_plan(data, out / "sizing" / one.folder, one.model, None, wanted, 0, False, told=one.changes)
        p, clips = plan.classifier.preprocessing, len(plan.train_clips.rows)
        rows[one.text] = {
            "parameters": plan.classifier.num_parameters,
            "gmacs": count_macs(plan.classifier.model.config, (p.clip_len, *p.size)) / 1e9,
            "seconds_a_clip": seconds_a_clip(plan),
        }
    an_epoch = sum(row["seconds_a_clip"] for row in rows.values()) * clips * (FOLDS - 1) * SEEDS
    epochs = max(1, int(hours * 3600 / an_epoch))
    steps = epochs * -(-clips * (FOLDS - 1) // FOLDS // BATCH)
    return {"clips": clips, "epochs": epochs, "steps": steps, "hours": hours, "models": rows}


def verdicts(results: dict[str, Any], claims: tuple[Claim, ...]) -> list[dict[str, Any]]:
    """What the runs so far say to each claim."""
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
            entry["says"] = "holds" if entry["low"] > 0 else "contradicted" if entry["high"] < 0 else "not seen"
        said.append(entry)
    return said


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, nargs="+", help="folders of class folders, or CSV files with groups")
    parser.add_argument("--out", type=Path, required=True, help="where the runs stand")
    parser.add_argument("--hours", type=float, default=6.0, help="processor hours for each set")
    parser.add_argument("--size", type=int, choices=list(SCALES), default=56, help="pixels of a frame")
    parser.add_argument("--results", type=Path, help="a file for all figures, written after each run")
    parser.add_argument("--all", action="store_true", help="all claims; else those that cost least")
    parser.add_argument("--plan", action="store_true", help="measure and print the plan, and train nothing")
    options = parser.parse_args(arguments)
    results_file = options.results or options.out / "claims.json"
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    at = SCALES[options.size]
    claims = core_claims(at) + (more_claims(at) if options.all else ())
    models = contenders(claims)
    everything: dict[str, Any] = {"recipe": "scratch", "folds": FOLDS, "batch_size": BATCH, **at.clip, "sets": {}}
    for data in options.data:
        name = data.parent.name if data.is_file() else data.name
        out = options.out / name
        out.mkdir(parents=True, exist_ok=True)
        plan_file = out / "plan.json"
        if plan_file.exists():  # the terms of a comparison stay
            plan = json.loads(plan_file.read_text(encoding="utf-8"))
        else:
            plan = sized(data, out, models, at.clip, options.hours)
            with replace_file(plan_file) as new:
                new.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {plan['clips']} clips, {plan['epochs']} epochs, {plan['steps']} steps a run", flush=True)
        if plan["steps"] < FEW_STEPS:
            print(
                f"beware: {plan['steps']} steps are few for fresh weights; differences may be of speed of learning",
                flush=True,
            )
        everything["sets"][name] = {"plan": plan}
        if options.plan:
            continue

        def write(text: str, name: str = name, out: Path = out) -> None:
            """After each run; Comparison has written its own file by then, but for the one just ended."""
            print(text, flush=True)
            if (out / "compare.json").exists():
                found = json.loads((out / "compare.json").read_text(encoding="utf-8"))
                everything["sets"][name] |= {"models": _figures(found), "claims": verdicts(found, claims)}
                with replace_file(results_file) as new:
                    new.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")

        terms = Terms(data, Preferences(**at.clip, folds=FOLDS), SEEDS, {"epochs": plan["epochs"], "batch_size": BATCH})
        recipes: dict[str, str | None] = {one.text: "scratch" for one in models}
        watch = lambda what, trainer: _watch(what, trainer)  # noqa: E731
        comparison = Comparison(
            models, recipes, terms, out, resume=(out / "compare.json").exists(), say=write, watch=watch
        )
        try:
            comparison.run()
        except Interrupted:
            print("stopped; the same command goes on", flush=True)
            return 130
        write(f"{name}: done")
    return 0


def _watch(what: str, trainer: Trainer) -> Quiet:
    print(f"{what}: {trainer.settings.epochs} epochs", flush=True)
    return Quiet()


def _figures(found: dict[str, Any]) -> dict[str, Any]:
    """Of each model what a table needs, without every clip's answers."""
    names = (
        "parameters",
        "macs",
        "accuracy",
        "over_seeds",
        "over_folds",
        "interval",
        "train_seconds",
        "memory_bytes",
        "error",
    )
    return {
        model: {name: entry[name] for name in names if name in entry}
        | {
            "seeds": [run["accuracy"] for run in entry["runs"]],
            "train_top1": [run["train_top1"] for run in entry["runs"]],
        }
        for model, entry in found["models"].items()
    }


if __name__ == "__main__":
    sys.exit(main())
