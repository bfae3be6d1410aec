"""The causal gesture model: fine-tuned from the shipped one, asked while the gesture goes on.

    python recipes/gestures.py DATA/labels.csv --start runs/motion --out runs/gestures --folds 5    # and --final
    python recipes/causal_gestures.py DATA/labels.csv --gestures runs/gestures --out runs/causal --final
    python recipes/causal_gestures.py DATA/labels.csv --gestures runs/gestures --out runs/causal --folds 5 \\
        --motion runs/motion

The start is what recipes/gestures.py left in ``--gestures``: its checkpoint with --final, the model of the same fold with
--folds, so no model has seen a clip that it is asked about. Frames come at a fixed rate, as they do live. ``early.csv`` in
``--out`` says how often each model is right after each tenth of the clips:

    bidirectional    the start, run anew on 16 frames spread over what was seen
    untouched        the start's weights in a causal model, streamed
    causal           after fine-tuning, streamed, two frames a push
    causal, never reset    the same in one stream for all clips, one gesture right after the other, in mixed order

Time: 8 minutes of one core for --final (2026-11-23). Figures on the 50 test clips: after half of the clip bidirectional .380,
untouched .200, causal .760; at its end .960, .360 and .960, and .720 where the stream is never reset. --folds was not run.
"""

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import videoswin
from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.data.annotations import Clip as ListedClip
from videoswin.data.annotations import read_index
from videoswin.data.dataset import ClipDataset, FrameCache
from videoswin.data.decode import open_video
from videoswin.data.sampling import uniform_clips
from videoswin.train.augments import AUGMENTS
from videoswin.train.average import move_towards
from videoswin.train.loop import Trainer
from videoswin.train.metrics import EpochRow, Tally
from videoswin.train.settings import TrainSettings
from videoswin.train.split import k_folds
from videoswin.train.start import adopt

FPS = 5.0
"""Sampled frames a second: what 16 frames of a middling clip (3.4 s) came to while the start was trained."""
CLIP_LEN = 24
"""Frames of a training clip, 4.8 s: four of five gestures fit in, shorter ones are repeated."""
SETTINGS = TrainSettings(
    epochs=24, batch_size=16, lr=7e-4, backbone_lr_ratio=1.0, precision="bf16", label_smoothing=0.1, keep_epochs=0
)
SHARES = torch.arange(1, 11) / 10
BACK_TO_START = 0.5
NOTES = "swin3d_micro_gestures, made causal and fine-tuned on the same 167 clips at 5 frames a second (recipes/causal_gestures.py)."
LIVE_POOL = 8
"""Time steps averaged where a stream goes on and on: 3.2 s, the length of a middling gesture."""
MODELS = ("bidirectional", "untouched", "causal", "causal, never reset")


class Lines:
    """One line every other epoch."""

    def step(self, epoch: int, step: int, steps: int, tally: Tally, lr: float) -> None:
        pass

    def epoch(self, row: EpochRow, best: bool) -> None:
        if row.epoch % 2 == 0:
            figures = f"loss {row.train_loss:.3f}, train {row.train_top1:.1%}, {row.seconds:.0f} s"
            print(f"  epoch {row.epoch}: {figures}", flush=True)


def fine_tune(rows: Sequence[ListedClip], start: Classifier, out: Path, cache: FrameCache) -> Classifier:
    """A causal model on ``rows``, from the weights of ``start``."""
    torch.manual_seed(SETTINGS.seed)
    model, _ = adopt(start, start.labels, causal=True, drop_path=0.1, head_dropout=0.2)
    preprocessing = replace(start.preprocessing, sampling="time", fps=FPS, clip_len=CLIP_LEN)
    classifier = Classifier(model, preprocessing, start.labels, name="swin3d_micro_gestures_causal")
    clips = ClipDataset(rows, start.labels, preprocessing, AUGMENTS["strong"], cache, SETTINGS.seed)
    clips.prepare()
    Trainer(classifier, clips, None, SETTINGS, out).run(Lines())
    classifier.model.eval()
    return classifier


class Clip:
    """One gesture, decoded once: normalised frames (3, N, H, W) and when each was shown."""

    def __init__(self, row: ListedClip, classifier: Classifier) -> None:
        with open_video(row.path) as video:
            self.frames = classifier.preprocessing.to_clip(video.read(each=classifier.preprocessing.view_resize).data)
            self.times = video.times - video.times[0]
        self.label = classifier.labels.index(row.label)

    def live(self) -> Tensor:
        """(1, 3, T, H, W): what a camera read FPS times a second would have given, in whole pairs of frames."""
        instants = torch.arange(0, float(self.times[-1]) + 1 / FPS, 1 / FPS, dtype=torch.float64)
        frames = torch.searchsorted((self.times[1:] + self.times[:-1]) / 2, instants)
        return self.frames[None, :, frames[: max(2, len(frames) // 2 * 2)]]


def streamed(stream: videoswin.Stream, clip: Clip) -> Tensor:
    """(10,) whether the answer is right after each tenth of the clip."""
    pairs = clip.live().split(2, dim=2)
    right = torch.cat([stream.push(pair) for pair in pairs]).argmax(dim=1) == clip.label
    return right[(SHARES * len(pairs)).ceil().long() - 1]


@torch.inference_mode()
def rerun(classifier: Classifier, clip: Clip) -> Tensor:
    """(10,) the same for a model that has to see all frames at once."""
    right = []
    for share in SHARES.tolist():
        seen = max(1, round(share * clip.frames.shape[1]))
        indices = uniform_clips(seen, classifier.preprocessing.clip_len, 1)[0]
        right.append(classifier.model(clip.frames[None, :, indices]).argmax(dim=1) == clip.label)
    return torch.cat(right)


def ask(rows: Sequence[ListedClip], start: Classifier, causal: Classifier) -> dict[str, Tensor]:
    """(clips, 10) for each model, whether it is right about the clips it did not see."""
    answers: dict[str, list[Tensor]] = {name: [] for name in MODELS}
    untouched = start.model.as_causal()
    endless = videoswin.Stream(causal.model, LIVE_POOL)
    # Shuffled: in the list, a gesture follows others of its class, and the endless stream would only have to stay where it is.
    for place in torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist():
        clip = Clip(rows[place], start)
        answers["bidirectional"].append(rerun(start, clip))
        answers["untouched"].append(streamed(videoswin.Stream(untouched, "all"), clip))
        answers["causal"].append(streamed(videoswin.Stream(causal.model, "all"), clip))
        answers["causal, never reset"].append(streamed(endless, clip))
    return {name: torch.stack(each) for name, each in answers.items()}


def report(answers: dict[str, Tensor], out: Path) -> None:
    """The table, printed and as early.csv."""
    shares = [f"{share:.0%}" for share in SHARES.tolist()]
    print(" ".join(f"{text:>6}" for text in ["seen", *shares]))
    with (out / "early.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "clips", *shares])
        for name, right in answers.items():
            figures = [f"{value:.3f}" for value in right.float().mean(dim=0).tolist()]
            writer.writerow([name, len(right), *figures])
            print(f"{name}, {len(right)} clips\n" + " ".join(f"{text:>6}" for text in ["", *figures]))


def of_fold(gestures: Path, number: int, motion: Classifier) -> Classifier:
    """The bidirectional model of a fold, as recipes/gestures.py judged it: halfway back to its own start."""
    classifier = load(gestures / f"fold-{number}" / "best")
    move_towards(classifier.model, classifier.labels, motion, BACK_TO_START)
    return classifier


def cross_validate(arguments: argparse.Namespace, cache: FrameCache) -> dict[str, Tensor]:
    """What the models of all folds say about the clips that they did not see."""
    parts = k_folds(read_index(arguments.data).rows, arguments.folds, seed=0)  # the folds of recipes/gestures.py
    motion = load(arguments.motion)
    answers: list[dict[str, Tensor]] = []
    for number, held_out in enumerate(parts, 1):
        began = time.perf_counter()
        start = of_fold(arguments.gestures, number, motion)
        kept = [row for part in parts if part is not held_out for row in part]
        causal = fine_tune(kept, start, arguments.out / f"fold-{number}", cache)
        answers.append(ask(held_out, start, causal))
        figures = ", ".join(f"{name} {right[:, -1].float().mean():.3f}" for name, right in answers[-1].items())
        print(f"fold {number}: {figures} ({(time.perf_counter() - began) / 60:.1f} min)", flush=True)
    return {name: torch.cat([each[name] for each in answers]) for name in MODELS}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--gestures", type=Path, required=True, help="output folder of recipes/gestures.py")
    parser.add_argument("--motion", type=Path, help="with --folds: output folder of recipes/pretrain_motion.py")
    parser.add_argument("--out", type=Path, required=True)
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--folds", type=int, metavar="K", help="K folds over all clips")
    group.add_argument("--final", action="store_true", help="train on the training split, test once")
    arguments = parser.parse_args()
    if arguments.folds and not arguments.motion:
        parser.error("--folds needs --motion")

    cache, out = FrameCache(), arguments.out
    out.mkdir(parents=True, exist_ok=True)
    if arguments.final:
        rows = {name: read_index(arguments.data, split=name).rows for name in ("train", "test")}
        start = load(arguments.gestures / "checkpoint")
        causal = fine_tune(rows["train"], start, out / "final", cache)
        causal.notes = NOTES
        causal.model.half()
        causal.save(out / "checkpoint")
        causal = load(out / "checkpoint")  # what is asked is what is shipped: numbers rounded to float16
        answers = ask(rows["test"], start, causal)
        top1 = float(answers["causal"][:, -1].float().mean())
        causal.metrics = {"test_top1": round(top1, 4), "test_clips": len(rows["test"])}
        causal.model.half()
        causal.save(out / "checkpoint")
    else:
        answers = cross_validate(arguments, cache)
    report(answers, out)


if __name__ == "__main__":
    main()
