"""The paper's claims, tried at the size of a laptop: which of them can be seen on a few hundred clips, and which are noise.

    python -m benchmarks.claims DATA... --out OUT [--hours 6] [--size 56] [--together 2] [--results FILE]

Every set of DATA (a folder of class folders, or a CSV with groups) is compared by ``videoswin compare``'s own code: models of
about equal parameters, and of about equal multiply-adds, from fresh weights, with the same clips, folds of whole groups, seeds and
recipe. With --start drawn they have learnt to follow a drawn finger first (lib/drawn_start.py), which is judged too: on clips
that are drawn anew, on a set of real gestures before any of them was seen, and on any set by a linear layer on its features.

The time of a training step is measured first, in seconds of this process, and the epochs are as many as fit the hours, unless
--epochs says how many. --together shares the runs out among processes, each with a folder of its own in OUT. After each run OUT
and the results are written; the same command goes on where it was stopped.

A claim is a pair of models. What is reported is the difference in held-out accuracy on the same clips, with the range in which it
would lie for other groups, 19 times in 20, and one of three words: holds, contradicted, or not seen.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.lib.claims import (
    SCALES,
    Claim,
    Scale,
    contenders,
    core_claims,
    more_claims,
    table,
    verdicts,
)
from benchmarks.lib.drawn_start import DrawnStarts

from videoswin.errors import Interrupted
from videoswin.storage.atomic import replace_file
from videoswin.storage.interrupt import Interruption
from videoswin.train.compare import Comparison, Terms, summarise
from videoswin.train.contenders import Contender
from videoswin.train.loop import Trainer
from videoswin.train.metrics import EpochRow, Tally
from videoswin.train.plan import Plan, make_plan
from videoswin.train.preferences import Preferences
from videoswin.zoo import count_macs

FOLDS = 3
FEW_STEPS = 1500
"""Optimiser steps below which fresh transformers of this size have hardly left their plateau (docs/log.md)."""


class Quiet:
    """Says nothing, and spares a run the judging of every epoch but the last: a claim looks at no other."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.held_out = trainer, trainer.val_clips

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        is_last = epoch == self.trainer.settings.epochs
        self.trainer.val_clips = self.held_out if is_last else None

    def epoch(self, row: EpochRow, best: bool) -> None:
        pass


class Runs(Comparison):
    """Some of a comparison's runs, and nothing but these: what a clip costs is told by ``compare``."""

    def run_these(self, jobs: list[tuple[Contender, int]], starts: DrawnStarts | None, trained: bool) -> None:
        """Models and seeds, from fresh weights or from starts of their own, which may be judged alone."""
        for one, seed in jobs:
            self._trying(one, lambda one=one, seed=seed: self._run(one, seed, starts, trained))
            self._save()

    def _run(self, one: Contender, seed: int, starts: DrawnStarts | None, trained: bool) -> None:
        begun = starts.of(one, seed) if starts else one
        plan = self._describe(begun)
        if starts:
            name = name_of(self.terms.data)
            starts.answer_real(one, seed, name, plan.train_clips.rows)
            starts.probe_real(one, seed, f"{name}, probed", plan)
        if trained:
            self._train(begun, seed)


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


def sized(
    data: Path, out: Path, models: list[Contender], clip: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Parameters and multiply-adds of each model, and the epochs: as many as were asked for, or as fit the hours."""
    rows: dict[str, Any] = {}
    clips = 0
    for one in models:
        wanted = Preferences(**clip, folds=FOLDS, recipe="scratch")
        plan = make_plan(data, out / "sizing" / one.folder, one.model, None, wanted, 0, False, told=one.changes)
        p, clips = plan.classifier.preprocessing, len(plan.train_clips.rows)
        rows[one.text] = {
            "parameters": plan.classifier.num_parameters,
            "gmacs": count_macs(plan.classifier.model.config, (p.clip_len, *p.size)) / 1e9,
        }
        if options.epochs is None:
            rows[one.text]["seconds_a_clip"] = seconds_a_clip(plan)
    epochs = options.epochs
    if epochs is None:
        a_clip = sum(row["seconds_a_clip"] for row in rows.values())
        epochs = max(1, int(options.hours * 3600 / (a_clip * clips * (FOLDS - 1) * options.seeds)))
    steps = epochs * -(-clips * (FOLDS - 1) // FOLDS // options.batch_size)
    return {"clips": clips, "epochs": epochs, "steps": steps, "models": rows}


def gathered(out: Path) -> dict[str, Any]:
    """What the processes that share the work have found so far, as one comparison; nothing before the first run's end."""
    all_found: dict[str, Any] = {"models": {}}
    for path in sorted(out.glob("share-*/compare.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        all_found |= {name: found[name] for name in ("groups", "classes", "clips", "machine", "terms") if name in found}
        for name, entry in found["models"].items():
            before = all_found["models"].get(name, {"runs": []})
            # By seed: where the work was shared out anew, a run may be there twice.
            by_seed = {run["seed"]: run for run in [*before["runs"], *entry["runs"]]}
            all_found["models"][name] = before | entry | {"runs": [by_seed[seed] for seed in sorted(by_seed)]}
    summarise(all_found, list(all_found["models"]))
    return all_found


def name_of(data: Path) -> str:
    """Of a set: its folder's."""
    return data.parent.name if data.is_file() else data.name


@dataclass(frozen=True)
class Task:
    """What the runs on one set have in common."""

    data: Path
    out: Path
    at: Scale
    claims: tuple[Claim, ...]
    epochs: int
    batch_size: int
    seeds: int
    device: str
    starts: DrawnStarts | None

    def run_share(self, number: int, together: int) -> None:
        """Every so many runs of the list, in the order of the seeds: what is stopped early is still a comparison.

        Raises:
            Interrupted: it goes on where it was stopped.
        """
        models = contenders(self.claims)
        jobs = [(one, seed) for seed in range(self.seeds) for one in models][number::together]
        folder = self.out / f"share-{number}-of-{together}"
        terms = Terms(
            self.data,
            Preferences(**self.at.clip, folds=FOLDS),
            self.seeds,
            {"epochs": max(1, self.epochs), "batch_size": self.batch_size},
            device=torch.device(self.device),
        )
        recipes: dict[str, str | None] = {one.text: "motion" if self.starts else "scratch" for one in models}
        say = lambda text: print(text, flush=True)  # noqa: E731
        begun = (folder / "compare.json").exists()
        mine = [one for one in models if any(one is other for other, _ in jobs)]
        folder.mkdir(parents=True, exist_ok=True)
        runs = Runs(mine, recipes, terms, folder, resume=begun, say=say, watch=lambda _, trainer: Quiet(trainer))
        runs.run_these(jobs, self.starts, trained=self.epochs > 0)


def share(task: Task, number: int, together: int) -> None:
    """In a process of its own, with one thread."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        task.run_share(number, together)
    except Interrupted:
        sys.exit(130)


def run(task: Task, together: int, write: Callable[[], None]) -> bool:
    """All runs of a set, in so many processes. Whether they came to their end; ``write`` is called now and then."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=share, args=(task, number, together)) for number in range(together)]
    with Interruption() as interruption:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            time.sleep(1)
            write()
            if interruption.asked:
                for worker in workers:
                    worker.terminate()
                break
        for worker in workers:
            worker.join()
    write()
    return all(worker.exitcode == 0 for worker in workers)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, nargs="+", help="folders of class folders, or CSV files with groups")
    parser.add_argument("--out", type=Path, required=True, help="where the runs stand")
    parser.add_argument("--hours", type=float, default=6.0, help="processor hours for each set")
    parser.add_argument("--epochs", type=int, help="instead of what fits the hours; 0: drawn starts alone")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, choices=list(SCALES), default=56, help="pixels of a frame")
    parser.add_argument("--together", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--start", choices=("fresh", "drawn"), default="fresh", help="drawn: see lib/drawn_start.py")
    parser.add_argument("--results", type=Path, help="a file for all figures, written after each run")
    parser.add_argument("--all", action="store_true", help="all claims; else those that cost least")
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="WORD", help="claims that have one of these words"
    )
    parser.add_argument("--plan", action="store_true", help="measure and print the plan, and train nothing")
    options = parser.parse_args(arguments)
    results_file = options.results or options.out / "claims.json"
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    at = SCALES[options.size]
    claims = core_claims(at) + (more_claims(at) if options.all else ())
    starts = None
    if options.start == "drawn" and options.epochs is None:
        parser.error("--start drawn needs --epochs")
    if options.start == "fresh" and options.epochs == 0:
        parser.error("--epochs 0 trains nothing: it needs --start drawn")
    if options.start == "drawn":
        starts = DrawnStarts(options.out / "drawn", at.clip["clip_len"], at.size)
        starts.draw(options.seeds, options.together)
    claims = tuple(claim for claim in claims if not any(word in claim.text for word in options.leave_out))
    models = contenders(claims)
    common = {"start": options.start, "folds": FOLDS, "seeds": options.seeds, "batch_size": options.batch_size}
    everything: dict[str, Any] = {**common, **at.clip, "device": options.device, "sets": {}}
    for data in options.data:
        name = name_of(data)
        out = options.out / name
        plan = _plan(data, out, models, at, options)
        print(f"{name}: {plan['clips']} clips, {plan['epochs']} epochs, {plan['steps']} steps a run", flush=True)
        if plan["steps"] < FEW_STEPS and not starts:
            print(
                f"beware: {plan['steps']} steps are few for fresh weights; differences may be of speed of learning",
                flush=True,
            )
        everything["sets"][name] = {"plan": plan}
        if options.plan:
            continue

        seen: list[int] = []

        def write(name: str = name, out: Path = out, seen: list[int] = seen) -> None:
            files = [*out.glob("share-*/compare.json"), *(options.out / "drawn").glob("*/seed-*/drawn.json")]
            changed = [path.stat().st_mtime_ns for path in files]
            if changed == seen:
                return
            seen[:] = changed
            figures = {"trained": _said(gathered(out), claims)} if options.epochs != 0 else {}
            if starts:
                figures["drawn"] = _said(starts.gathered(models, "drawn"), claims)
                figures["before training"] = _said(starts.gathered(models, name), claims)
                figures["probed"] = _said(starts.gathered(models, f"{name}, probed"), claims)
            if any(said["models"] for said in figures.values()):
                everything["sets"][name] |= figures
                with replace_file(results_file) as new:
                    new.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")

        task = Task(data, out, at, claims, plan["epochs"], options.batch_size, options.seeds, options.device, starts)
        if not run(task, options.together, write):
            print("stopped; the same command goes on", flush=True)
            return 130
        for what, said in everything["sets"][name].items():
            if what != "plan":
                print(f"\n{name}, {what}\n\n{table(said['claims'])}", flush=True)
    return 0


def _plan(data: Path, out: Path, models: list[Contender], at: Scale, options: argparse.Namespace) -> dict[str, Any]:
    """As it was begun: the terms of a comparison stay."""
    plan_file = out / "plan.json"
    if plan_file.exists():
        return json.loads(plan_file.read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    plan = sized(data, out, models, at.clip, options)
    with replace_file(plan_file) as new:
        new.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")
    return plan


def _said(found: dict[str, Any], claims: tuple[Claim, ...]) -> dict[str, Any]:
    return {"models": _figures(found), "claims": verdicts(found, claims)}


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
            "train_top1": [run["train_top1"] for run in entry["runs"] if "train_top1" in run],
        }
        for model, entry in found["models"].items()
    }


if __name__ == "__main__":
    sys.exit(main())
