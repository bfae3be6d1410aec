"""Models compared: the same clips, the same folds, the same seeds, one machine.

    OUT/compare.json             everything, written after each run; a stopped comparison goes on from it
    OUT/compare.html             the same for people, with the pictures
    OUT/accuracy_gmacs.svg, accuracy_seconds.svg
    OUT/runs/MODEL/seed-N/       curves and scores of each run; weights are removed once they have answered

Every held-out clip is answered by the last epoch of a run that never saw its group. What fails is listed with its reason; the
others go on.
"""

import json
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from videoswin.data.annotations import Clip
from videoswin.data.containers import Limits
from videoswin.data.part import open_clip
from videoswin.errors import ConfigError, Interrupted, OutOfMemoryError, VideoError, WeightsError
from videoswin.predict.calibration import accuracy_interval, few_groups
from videoswin.storage.atomic import replace_file
from videoswin.train.compare_costs import COSTS, MISHAPS, machine, measure_costs, one_line
from videoswin.train.contenders import Contender
from videoswin.train.folds import measure
from videoswin.train.loop import Trainer
from videoswin.train.plan import Plan, list_of, make_plan
from videoswin.train.preferences import Preferences
from videoswin.train.watching import Watch
from videoswin.zoo import config_to_dict, count_macs

__all__ = ["Comparison", "Terms", "answers_by_clip", "begun_with", "difference_of", "summarise"]

RESULTS = "compare.json"
_RESAMPLES = 2000
_NAMED = 20  # clips that cannot be read


@dataclass(frozen=True)
class Terms:
    """What is the same for all."""

    data: Path
    wanted: Preferences
    seeds: int = 3
    settings: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        if self.wanted.folds < 2 or self.seeds < 1:
            raise ConfigError(f"folds={self.wanted.folds} must be at least 2 and seeds={self.seeds} at least 1.")


class Comparison:
    """Contenders under the same terms, in ``out``.

    Args:
        recipes: of each contender by its text; None is what suits its start.
        asked: in words, for :func:`begun_with`.
        resume: go on with what ``out`` holds.
        say: told what is being done, for people.
        watch: looks on at a run, given its name and its trainer.

    Raises:
        ConfigError: ``out`` holds a comparison already, and it is not to be resumed.
        WeightsError: the one to be resumed is damaged, or had other terms.
    """

    def __init__(
        self,
        contenders: Sequence[Contender],
        recipes: Mapping[str, str | None],
        terms: Terms,
        out: Path,
        *,
        asked: Mapping[str, Any] | None = None,
        resume: bool = False,
        say: Callable[[str], None] = lambda _: None,
        watch: Callable[[str, Trainer], Watch],
    ) -> None:
        self.contenders, self.recipes, self.terms, self.out = contenders, recipes, terms, out
        self.say, self.watch = say, watch
        wanted = {k: v for k, v in vars(terms.wanted).items() if v not in (None, False)}
        self.results: dict[str, Any] = {
            "asked": dict(asked or {}),
            "terms": json.loads(json.dumps({**wanted, "seeds": terms.seeds, **terms.settings})),
            "machine": machine(terms.device),
            "models": {},
        }
        if (out / RESULTS).exists():
            if not resume:
                raise ConfigError(
                    f"{out} holds a comparison already. Go on with it by --resume, or give another --out."
                )
            self._continue(_read(out / RESULTS))

    def _continue(self, before: dict[str, Any]) -> None:
        now = self.results["terms"]
        then: dict[str, Any] = before["terms"]
        if changed := sorted(name for name in {**now, **then} if now.get(name) != then.get(name)):
            pairs = (f"{name} {_named(then.get(name))}, not {_named(now.get(name))}" for name in changed)
            raise WeightsError(
                self.out / RESULTS,
                f"the comparison was begun with {'; '.join(pairs)}",
                f"Go on as it was begun: videoswin compare --resume --out {self.out}; or give another --out",
            )
        for name in ("models", "groups", "classes", "clips"):
            if name in before:
                self.results[name] = before[name]
        models: dict[str, Any] = self.results["models"]
        for one in self.contenders:  # what failed is tried again
            models.get(one.text, {}).pop("error", None)
        here: dict[str, Any] = self.results["machine"]
        there: dict[str, Any] = before.get("machine", {})
        if moved := [name for name in here if there.get(name, here[name]) != here[name]]:
            pairs = "; ".join(f"{name} {here[name]}, not {there[name]}" for name in moved)
            self.say(
                f"this is another machine ({pairs}): time and memory of one clip are measured anew, and the seconds of training are "
                "of both."
            )
            for entry in models.values():
                for name in COSTS:
                    entry.pop(name, None)
        if left := [name for name in models if name not in {one.text for one in self.contenders}]:
            self.say(f"not in the table, as --models leaves it out: {', '.join(left)}. {RESULTS} keeps the figures.")

    def run(self) -> dict[str, Any]:
        """All runs, then the results as plain values, contenders in their order.

        Raises:
            Interrupted: by Ctrl-C or SIGTERM; everything is saved.
            VideoSwinError: the list of clips is wrong, has too few groups, or names clips that cannot be read; no model is to blame,
                and nothing is written.
        """
        self._check_clips()
        self.out.mkdir(parents=True, exist_ok=True)
        plans: dict[str, Plan] = {}
        for one in self.contenders:
            self._trying(one, lambda one=one: plans.setdefault(one.text, self._describe(one)))
        self._save()
        measure_costs(self.results["models"], plans, self.terms.device, self.say)
        plans.clear()  # and with them all models but the one that learns
        self._save()
        for seed in range(self.terms.seeds):  # seed by seed: a comparison that is stopped early is still one
            for one in self.contenders:
                self._trying(one, lambda one=one, seed=seed: self._train(one, seed))
                self._save()
        return self.results

    def _trying(self, one: Contender, work: Callable[[], object]) -> None:
        """What goes wrong with one model is written down, and stops no other."""
        entry = self.results["models"].setdefault(one.text, {"runs": []})
        if "error" in entry:
            return
        try:
            work()
        except Interrupted as stopped:
            self._save()
            raise Interrupted(
                f"Stopped at {one.text}; everything is saved in {self.out}. Go on: videoswin compare --resume --out {self.out}"
            ) from stopped
        except MISHAPS as error:
            entry["error"] = one_line(error)
            self.say(f"{one.text} failed: {entry['error']}")

    def _plan(self, one: Contender, seed: int, folder: Path) -> Plan:
        wanted = replace(self.terms.wanted, recipe=self.recipes[one.text], name=one.folder, **one.look)
        resume = (folder / "folds").exists()
        limits, settings = self.terms.limits, self.terms.settings
        return make_plan(
            self.terms.data, folder, one.model, one.weights, wanted, seed, resume, limits, settings, told=one.changes
        )

    def _folder(self, one: Contender, seed: int) -> Path:
        return self.out / "runs" / one.folder / f"seed-{seed}"

    def _check_clips(self) -> None:
        """What is wrong with the clips, before a model is built: else every model would fail for it, one after the other."""
        for seed in range(self.terms.seeds):
            index, (rows, *_) = list_of(self.terms.data, self.terms.wanted, seed)
            if seed == 0:
                self._require_same(rows)
                for note in index.notes:
                    self.say(note)
        bad: list[str] = []
        for row in rows:
            try:
                with open_clip(row, limits=self.terms.limits):
                    pass
            except OutOfMemoryError:
                raise
            except VideoError as error:
                bad.append(f"{row.path}: {error.reason}")
        if bad:
            more = [f"and {len(bad) - _NAMED} more"] if len(bad) > _NAMED else []
            raise ConfigError(
                f"{self.terms.data}: {len(bad)} of {len(rows)} clips cannot be read. Replace them, or take them out of the list:\n  "
                + "\n  ".join([*bad[:_NAMED], *more])
            )

    def _require_same(self, rows: Sequence[Clip]) -> None:
        listed = [(row.path.name, row.label, row.group, row.start, row.end) for row in rows]
        clips = f"{len(listed)} clips, list {blake2b(repr(listed).encode(), digest_size=4).hexdigest()}"
        if self.results.setdefault("clips", clips) != clips:
            reason = f"the comparison was of {self.results['clips']}, and now there are {clips}"
            raise WeightsError(self.out / RESULTS, reason, "Use the same data, or another --out")

    def _describe(self, one: Contender) -> Plan:
        """What the model is and what it costs by count."""
        plan = self._plan(one, 0, self._folder(one, 0))
        self._require_same(plan.train_clips.rows)
        entry = self.results["models"][one.text]
        if entry["runs"] and entry.get("recipe", plan.resolved["recipe"]) != plan.resolved["recipe"]:
            raise ConfigError(
                f"its runs so far had the recipe {entry['recipe']}, not {plan.resolved['recipe']}. Give that, or another --out."
            )
        model, p = plan.classifier.model, plan.classifier.preprocessing
        clip = (p.clip_len, *p.size)
        self.results["models"][one.text] |= {
            "system": getattr(model.config, "system", "swin"),
            "start": one.model or one.weights,
            "parameters": plan.classifier.num_parameters,
            "clip": list(clip),
            "macs": count_macs(model.config, clip),
            "config": config_to_dict(model.config),
            "epochs": plan.settings.epochs,
            "recipe": plan.resolved["recipe"],
            "recipe_is_own": self.recipes[one.text] is None,
        }
        return plan

    def _train(self, one: Contender, seed: int) -> None:
        """All folds of one seed; nothing if they were done before."""
        entry = self.results["models"][one.text]
        if any(run["seed"] == seed for run in entry["runs"]):
            return
        folder = self._folder(one, seed)
        plan = self._plan(one, seed, folder)
        plan.classifier.model.to(self.terms.device)
        plan.train_clips.prepare("error", lambda *_: None)
        began = time.perf_counter()
        number = lambda n: f"{one.text}, seed {seed}, fold {n}/{len(plan.parts)}"  # noqa: E731
        resume = (folder / "folds").exists()
        measured = measure(plan, folder, resume, lambda n, trainer: self.watch(number(n), trainer), lambda *_: None)
        right = dict(zip(measured.rows, measured.correct, strict=True))
        rows = plan.train_clips.rows
        entry["runs"].append(
            {
                "seed": seed,
                "accuracy": measured.figure,
                "folds": [sum(c) / len(c) for fold in measured.folds for c in [fold.correct(measured.labels)]],
                "train_seconds": [sum(row.seconds for row in fold.epochs) for fold in measured.folds],
                "train_top1": statistics.mean(fold.epochs[-1].train_top1 for fold in measured.folds),
                "correct": "".join(str(int(right[row])) for row in rows),
            }
        )
        self.results.setdefault("groups", [row.unit for row in rows])
        self.results["classes"] = len(measured.labels)
        self.say(
            f"{one.text}, seed {seed}: {100 * (measured.figure or 0.0):.1f} % of {len(rows)} held-out clips, "
            f"{time.perf_counter() - began:.0f} s"
        )
        for kept in (folder / "folds").glob("fold-*"):
            for name in ("best", "last"):
                shutil.rmtree(kept / name, ignore_errors=True)

    def _save(self) -> None:
        models = self.results["models"]
        order = [one.text for one in self.contenders]
        self.results["models"] = {
            name: models[name] for name in [*order, *(n for n in models if n not in order)] if name in models
        }
        summarise(self.results, order)
        with replace_file(self.out / RESULTS) as new:
            new.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")


def summarise(results: dict[str, Any], order: Sequence[str]) -> None:
    """Mean, spread and differences of what has run so far, into each entry."""
    groups = results.get("groups", [])
    models = results["models"]
    base = models.get(order[0], {}) if order else {}
    for entry in models.values():
        entry.pop("difference", None)  # the first may be another one than before
        runs = entry.get("runs", [])
        if not runs:
            continue
        shares = [run["accuracy"] for run in runs]
        clips = answers_by_clip(runs)
        entry["accuracy"] = statistics.mean(shares)
        entry["over_seeds"] = statistics.stdev(shares) if len(shares) > 1 else None
        folds = [share for run in runs for share in run["folds"]]
        entry["over_folds"] = statistics.stdev(folds)
        entry["interval"] = list(accuracy_interval(clips, groups)) if len(groups) == len(clips) else None  # type: ignore[arg-type]
        entry["train_seconds"] = statistics.mean(s for run in runs for s in run["train_seconds"])
        seeds = {run["seed"] for run in runs}
        shared = [run for run in base.get("runs", []) if run["seed"] in seeds]
        if entry is base or not shared:
            continue
        mine = answers_by_clip([run for run in runs if run["seed"] in {other["seed"] for other in shared}])
        theirs = answers_by_clip(shared)
        if len(mine) == len(theirs) == len(groups):
            entry["difference"] = difference_of(mine, theirs, groups)


def answers_by_clip(runs: Sequence[Mapping[str, Any]]) -> list[float]:
    """For each clip the share of the runs that had it right."""
    return [statistics.mean(int(c) for c in column) for column in zip(*(run["correct"] for run in runs), strict=True)]


def difference_of(mine: Sequence[float], theirs: Sequence[float], groups: Sequence[str]) -> dict[str, float]:
    """Of accuracies on the same clips, with the range in which it would be for other groups of this kind, 19 times in 20: groups
    are drawn anew, each with all its clips and both models' answers to them. Of fewer than four groups clips are drawn, one by one."""
    if few_groups(groups):
        groups = [str(number) for number in range(len(groups))]
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    place = torch.tensor([names[group] for group in groups])
    gain = torch.tensor(mine, dtype=torch.float64) - torch.tensor(theirs, dtype=torch.float64)
    gains = torch.zeros(len(names), dtype=torch.float64).index_add_(0, place, gain)
    sizes = torch.bincount(place, minlength=len(names)).double()
    drawn = torch.randint(len(names), (_RESAMPLES, len(names)), generator=torch.Generator().manual_seed(0))
    means = gains[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = float(means.quantile(0.025)), float(means.quantile(0.975))
    return {"mean": float(gain.mean()), "low": low, "high": high}


def begun_with(out: Path) -> dict[str, Any]:
    """What the comparison in ``out`` was asked for in words, by the names of the command's options; nothing where there is none, or
    one of before 2026-11-26.

    Raises:
        WeightsError: it is damaged.
    """
    return dict(_read(out / RESULTS).get("asked", {})) if (out / RESULTS).exists() else {}


def _named(value: Any) -> str:
    return "the default" if value is None else str(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values["terms"], dict) or not all(
            isinstance(m["runs"], list) for m in values["models"].values()
        ):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise WeightsError(path, "the file is damaged, so the comparison cannot go on", "Use another --out") from None
    return values
