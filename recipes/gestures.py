"""The shipped gesture model: fine-tune from generated motion, cross-validate by scene, test once.

    python recipes/pretrain_motion.py --out runs/motion
    python recipes/gestures.py DATA/labels.csv --start runs/motion --out runs/gestures --folds 5
    python recipes/gestures.py DATA/labels.csv --start runs/motion --out runs/gestures --final

Time: 10 minutes for five folds, 2 for the final model (2026-11-23, one busy core). Figures: pooled folds .977 (one view .963),
test .960; with the threshold from the folds, 15 of 20 unclassified clips refused and 48 of 50 test clips kept.

DATA is a CSV with path,label,split,group. ``--folds`` trains one model per fold of groups (all clips with a split) and
pools what they say about the clips they did not see; nothing is chosen on the held-out part: every fold runs the same
number of epochs. ``--validate`` does the same inside the training split only, which is where the settings below were chosen.
``--final`` comes after ``--folds``: it trains on the training split, takes the threshold for "none of these" from the folds,
and tests once.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.data.annotations import Clip, ClipList, read_index
from videoswin.data.dataset import ClipDataset, FrameCache
from videoswin.data.preprocessing import Views
from videoswin.predict.evaluation import Evaluation, RowResult, evaluate, evaluate_rows
from videoswin.predict.scoring import predict
from videoswin.train.augments import AUGMENTS
from videoswin.train.average import move_towards
from videoswin.train.loop import Trainer
from videoswin.train.metrics import EpochRow, Tally
from videoswin.train.settings import TrainSettings
from videoswin.train.split import k_folds
from videoswin.train.start import adopt

SETTINGS = TrainSettings(
    epochs=12, batch_size=16, lr=5e-4, backbone_lr_ratio=0.6, precision="bf16", label_smoothing=0.1, keep_epochs=0
)
BACK_TO_START = 0.5
"""How far the fine-tuned weights go back towards the start's: see docs/log.md, 2026-11-23."""
AUGMENT = "strong"
KEPT_OUT = 0.05
NOTES = (
    "Generated pointing motion, then 167 clips of varunj/EgoGestAR (recipes/pretrain_motion.py, recipes/gestures.py)."
)
DROP_PATH = 0.1
VIEWS = Views(num_clips=1, num_crops=3)
"""The reported figures; those of one view stand beside them."""
ONE_VIEW = Views(num_clips=1, num_crops=1)


class Quiet:
    """One line every four epochs."""

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        pass

    def epoch(self, row: EpochRow, best: bool) -> None:
        if row.epoch % 4 == 0:
            print(
                f"  epoch {row.epoch}: loss {row.train_loss:.3f}, train {row.train_top1:.1%}, {row.seconds:.0f} s",
                flush=True,
            )


def fine_tune(
    rows: Sequence[Clip],
    labels: tuple[str, ...],
    start: Classifier,
    out: Path,
    cache: FrameCache,
    settings: TrainSettings,
) -> Classifier:
    """One model on ``rows``: halfway between the start and the last epoch."""
    torch.manual_seed(settings.seed)
    model, fresh = adopt(start, labels, drop_path=DROP_PATH, head_dropout=0.2)
    if fresh:
        print(f"  labels that start afresh: {', '.join(fresh)}")
    classifier = Classifier(model, start.preprocessing, labels, name="swin3d_micro_gestures")
    clips = ClipDataset(rows, labels, start.preprocessing, AUGMENTS[AUGMENT], cache, settings.seed)
    clips.prepare()
    Trainer(classifier, clips, None, settings, out).run(Quiet())
    move_towards(classifier.model, labels, start, BACK_TO_START)
    return classifier


def cross_validate(
    rows: Sequence[Clip], folds: int, labels: tuple[str, ...], start: Classifier, out: Path, seed: int
) -> None:
    """Trains ``folds`` models and pools what they say about the clips they did not see."""
    parts = k_folds(rows, folds, seed)
    cache = FrameCache()
    pooled: dict[Views, list[RowResult]] = {VIEWS: [], ONE_VIEW: []}
    figures = []
    for number, held_out in enumerate(parts):
        began = time.perf_counter()
        kept = [row for part in parts if part is not held_out for row in part]
        classifier = fine_tune(kept, labels, start, out / f"fold-{number + 1}", cache, SETTINGS)
        for views, results in pooled.items():
            results.extend(evaluate_rows(classifier, held_out, views))
        figures.append(Evaluation(labels, VIEWS, tuple(pooled[VIEWS][-len(held_out) :])).top1)
        minutes = (time.perf_counter() - began) / 60
        print(f"fold {number + 1}: {figures[-1]:.3f} of {len(held_out)} clips ({minutes:.1f} min)", flush=True)
    whole = Evaluation(labels, VIEWS, tuple(pooled[VIEWS]))
    whole.write_confusion(out / "confusion.png", title=f"{folds} folds by scene")
    whole.write_csv(out / "predictions.csv")
    one_view = Evaluation(labels, ONE_VIEW, tuple(pooled[ONE_VIEW])).top1
    result = {
        "folds": figures,
        "views": str(VIEWS),
        "top1_one_view": one_view,
        "none_threshold": none_threshold(pooled[VIEWS]),
        **whole.to_dict(),
    }
    (out / "cross_validation.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"pooled over {whole.n} clips, {VIEWS} views: top-1 {whole.top1:.3f}, mean class {whole.mean_class:.3f}")
    print(f"one view: top-1 {one_view:.3f}")


def none_threshold(results: Sequence[RowResult]) -> float:
    """The best score that all but a twentieth of the held-out clips of the training split reach. No clip of the test split
    and no "unclassified" one has a say in it."""
    scores = torch.tensor([r.predictions[0].score for r in results if r.row.split == "train"])
    return round(float(scores.quantile(KEPT_OUT)), 3)


def test_once(classifier: Classifier, index: ClipList, unclassified: Sequence[Clip], out: Path) -> None:
    """The held-out figures of the shipped model; "unclassified" clips should fall below the threshold."""
    test = [row for row in index.rows if row.split == "test"]
    evaluation = evaluate(classifier, test, VIEWS)
    one_view = evaluate(classifier, test, ONE_VIEW)
    evaluation.write_confusion(out / "test_confusion.png", title="held-out scenes")
    evaluation.write_csv(out / "test_predictions.csv")
    kept = sum(r.predictions[0].score >= (classifier.none_threshold or 0) for r in evaluation.rows)
    refused = sum(predict(classifier, row.path, VIEWS).label is None for row in unclassified)
    print(
        f"test, {len(test)} clips, {VIEWS} views: top-1 {evaluation.top1:.3f}, mean class {evaluation.mean_class:.3f}"
    )
    print(f"one view: top-1 {one_view.top1:.3f}")
    print(f"threshold {classifier.none_threshold}: {kept} of {len(test)} test clips kept, ", end="")
    print(f"{refused} of {len(unclassified)} unclassified clips refused")
    classifier.metrics = {"test_top1": round(evaluation.top1, 4), "test_clips": len(test)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--start", type=Path, required=True, help="checkpoint to start from")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--validate", type=int, metavar="K", help="K folds inside the training split")
    group.add_argument("--folds", type=int, metavar="K", help="K folds over all clips")
    group.add_argument("--final", action="store_true", help="train on the training split, test once")
    arguments = parser.parse_args()

    start = load(arguments.start)
    index = read_index(arguments.data)
    train = [row for row in index.rows if row.split == "train"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.final:
        classifier = fine_tune(train, index.labels, start, arguments.out / "final", FrameCache(), SETTINGS)
        folds = json.loads((arguments.out / "cross_validation.json").read_text(encoding="utf-8"))
        classifier.none_threshold = folds["none_threshold"]
        test_once(classifier, index, read_index(arguments.data, split="").rows, arguments.out)
        classifier.metrics["cross_validation_top1"] = folds["top1"]
        classifier.notes = NOTES
        classifier.save(arguments.out / "checkpoint")
        print(f"the checkpoint: {arguments.out / 'checkpoint'}")
    elif arguments.validate:
        cross_validate(train, arguments.validate, index.labels, start, arguments.out, arguments.seed)
    else:
        cross_validate(index.rows, arguments.folds, index.labels, start, arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
