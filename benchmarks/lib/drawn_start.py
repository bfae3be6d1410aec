"""One start for all that is compared: every model first learns, from nothing and equally long, to follow a drawn finger.

Fresh transformers of this size do not leave their plateau on a few hundred real clips (docs/log.md); on drawn ones, which are
as many as wanted, they do. All are asked the same: which way it was, and where the finger is in every frame, on a map of places of
8x8 pixels and from what the last map says of each time step.

    OUT/drawn/MODEL/seed-N/            the checkpoint
    OUT/drawn/MODEL/seed-N/drawn.json  what it says to clips that are drawn anew, and to real ones that it has never seen
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.data.clips import Clip
from videoswin.data.dataset import ClipDataset
from videoswin.data.preprocessing import Preprocessing
from videoswin.storage.atomic import replace_file
from videoswin.train.contenders import Contender
from videoswin.train.folds import logits_of, of_clips
from videoswin.train.frozen_heads import linear
from videoswin.train.plan import Plan
from videoswin.zoo import create_model, get_config

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "recipes"))
from generated.gesture_pretraining import MotionFigures, Phase, draw_clips, learn, normalised
from generated.hand import GESTURES, MotionBatch

__all__ = ["DrawnStarts"]

_LABELS = (*GESTURES, "none")
_UNSEEN_SEED = 99
_SWIN_LR, _LR = 7e-4, 2e-3
"""Of Video Swins, and of other systems: on 300 steps of the plain clips that they learn from, I3D came to .96 at 2e-3 and .88 at
7e-4, ViViT to .60 and .42. So pairs of one kind share a rate, and across kinds it is the others that have the better one: a Swin, too, came to
.97 instead of .91."""
_DECAY = 0.01  # of a probe's weights; fixed before anything was probed


@dataclass(frozen=True)
class DrawnStarts:
    """Those in ``out``, which are made when they are asked for."""

    out: Path
    clip_len: int
    size: int
    steps: tuple[int, int] = (300, 600)
    """With plain clips, and with cluttered ones."""
    clips: tuple[int, int, int] = (1600, 4800, 1000)
    """Plain and cluttered ones to learn from, and cluttered ones that judge."""

    def phases(self, lr: float = _LR) -> tuple[Phase, Phase]:
        """Easy clips first: on cluttered ones alone nothing is learnt for long."""
        return (
            Phase(clips=self.clips[0], steps=self.steps[0], clutter=0.0, lr=lr, table_lr_ratio=10.0),
            Phase(clips=self.clips[1], steps=self.steps[1], clutter=1.0, lr=lr),
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """The whole clip and the whole frame: a finger may draw near the edge."""
        return Preprocessing(clip_len=self.clip_len, sampling="uniform", size=(self.size, self.size), short_side=None)

    def draw(self, seeds: int, processes: int) -> None:
        """All clips, before the models: they are the same for all models of a seed."""
        self.out.mkdir(parents=True, exist_ok=True)
        unseen = (Phase(clips=self.clips[2], steps=0, clutter=1.0),)
        for seed, phases in [*((seed, self.phases()) for seed in range(seeds)), (_UNSEEN_SEED, unseen)]:
            path = self._clips(seed)
            if not path.exists():
                drawn = [draw_clips(p, self.preprocessing, seed, n, processes) for n, p in enumerate(phases)]
                with replace_file(path) as new:
                    torch.save([tuple(clips) for clips in drawn], new)

    def of(self, one: Contender, seed: int) -> Contender:
        """The contender from its start, which is made if it is not there."""
        folder = self._folder(one, seed)
        if not (folder / "drawn.json").exists():
            self._make(one, seed, folder)
        return replace(one, model=None, changes={}, weights=str(folder))

    def answer_real(self, one: Contender, seed: int, name: str, rows: Sequence[Clip]) -> None:
        """Notes how many of a set's clips it names right before it has seen one; nothing if it knows other classes."""
        folder = self._folder(one, seed)
        found = json.loads((folder / "drawn.json").read_text(encoding="utf-8"))
        if name in found or not {row.label for row in rows} <= set(_LABELS):
            return
        classifier = load(folder)
        clips = ClipDataset(list(rows), _LABELS, classifier.preprocessing, None)
        logits = logits_of(classifier, clips)[:, :-1]  # a real clip is never "none"
        right = [_LABELS[best] == row.label for best, row in zip(logits.argmax(1).tolist(), rows, strict=True)]
        found[name] = {"correct": _bits(right), "groups": [row.unit for row in rows]}
        _write(folder / "drawn.json", found)

    def probe_real(self, one: Contender, seed: int, name: str, plan: Plan) -> None:
        """Notes how many of a set's clips are told by a linear layer on the start's features, that has learnt from other groups."""
        folder = self._folder(one, seed)
        found = json.loads((folder / "drawn.json").read_text(encoding="utf-8"))
        if name in found:
            return
        classifier = load(folder)
        rows, labels = list(plan.train_clips.rows), plan.train_clips.labels
        clips = ClipDataset(rows, labels, classifier.preprocessing, None)
        with torch.inference_mode():
            features = of_clips(classifier.model.features, clips)
        targets = torch.tensor([labels.index(row.label) for row in rows])
        right = [False] * len(rows)
        for part in plan.parts:
            held = set(part.held)
            learn = torch.tensor([row not in held for row in rows])
            best = linear(features, targets, len(labels), learn, [_DECAY])[0].argmax(1)
            for i in (~learn).nonzero().flatten().tolist():
                right[i] = bool(best[i] == targets[i])
        found[name] = {"correct": _bits(right), "groups": [row.unit for row in rows]}
        _write(folder / "drawn.json", found)

    def gathered(self, models: Sequence[Contender], name: str) -> dict[str, Any]:
        """As results of a comparison, the answers of all starts so far to ``drawn`` clips, or to a set of real ones."""
        results: dict[str, Any] = {"models": {}}
        for one in models:
            for path in sorted((self.out / one.folder).glob("seed-*/drawn.json")):
                found = json.loads(path.read_text(encoding="utf-8"))
                if name not in found:
                    continue
                results["groups"] = found[name]["groups"]
                correct = found[name]["correct"]
                run = {"seed": int(path.parent.name.removeprefix("seed-")), "correct": correct}
                run |= {"accuracy": correct.count("1") / len(correct), "seconds": found["seconds"]}
                results["models"].setdefault(one.text, {"runs": []})["runs"].append(run)
        return results

    def _folder(self, one: Contender, seed: int) -> Path:
        return self.out / one.folder / f"seed-{seed}"

    def _clips(self, seed: int) -> Path:
        return self.out / f"clips-{seed}.pt"

    def _load(self, seed: int) -> list[MotionBatch]:
        return [MotionBatch(*clips) for clips in torch.load(self._clips(seed), weights_only=True)]

    def _make(self, one: Contender, seed: int, folder: Path) -> None:
        assert one.model is not None
        config = get_config(one.model).replace(num_classes=len(_LABELS), **one.changes)
        still = {name: 0.0 for name in ("drop_path", "head_dropout", "dropout") if hasattr(config, name)}
        torch.manual_seed(seed)
        model = create_model(config.replace(**still))
        began = time.perf_counter()
        phases = self.phases(_SWIN_LR if one.model.startswith("swin") else _LR)
        learn(model, self.preprocessing, zip(phases, self._load(seed), strict=True), seed, _silent)
        seconds = time.perf_counter() - began
        kept = create_model(config)
        kept.load_state_dict(model.state_dict())
        classifier = Classifier(kept.eval(), self.preprocessing, _LABELS, name=one.folder, notes="Drawn motion only.")
        classifier.save(folder)
        right = self._unseen(classifier)
        drawn = {"correct": _bits(right), "groups": [str(i) for i in range(len(right))]}
        _write(folder / "drawn.json", {"seconds": seconds, "drawn": drawn})

    def _unseen(self, classifier: Classifier) -> list[bool]:
        """Whether the middle of each clip that was drawn for this is named right."""
        (clips,) = self._load(_UNSEEN_SEED)
        height, width = clips.frames.shape[2:4]
        top, left = (height - self.size) // 2, (width - self.size) // 2
        middle = clips.frames[:, :, top : top + self.size, left : left + self.size]
        right: list[bool] = []
        for frames, labels in zip(middle.split(50), clips.labels.split(50), strict=True):
            right += (classifier.logits(normalised(frames.float(), self.preprocessing)).argmax(1) == labels).tolist()
        return right


def _silent(phase: Phase, figures: MotionFigures) -> None:
    pass


def _bits(right: Sequence[bool]) -> str:
    return "".join(str(int(one)) for one in right)


def _write(path: Path, values: dict[str, Any]) -> None:
    with replace_file(path) as new:
        new.write_text(json.dumps(values) + "\n", encoding="utf-8")
