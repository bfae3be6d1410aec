"""How good timelines and live labels are on a spliced video with known boundaries (recipes/splice.py), with and without cuts.

    python -m benchmarks.live_quality spliced.mp4 --weights swin3d_micro_gestures --clip-seconds 8

``timeline``: per-second accuracy and segment F1 at IoU 0.5. ``live``: for each labelled clip, was its label the best one at any
answer within it ("reached"), the median seconds from the clip's start to the first right answer that stays right until the
clip's end, and the share of answers that name the label of the clip *before* ("leaked"); all from the same raw scores.
"""

import argparse
import json
import statistics
from pathlib import Path

import torch
from benchmarks.segment_quality import score_segments
from recipes.splice import read_parts

from videoswin.classifier.classifier import Classifier
from videoswin.classifier.loading import load
from videoswin.data.decode import open_video
from videoswin.live.decisions import DecisionSettings, Segment
from videoswin.live.frame_selector import FrameSelector
from videoswin.live.pace import Pace, make_tracker
from videoswin.live.sources import Picture
from videoswin.live.timeline import TimelineSettings, make_timeline


def timeline_quality(classifier: Classifier, video: Path, settings: TimelineSettings) -> dict[str, float]:
    """Against the truth beside the video."""
    parts = read_parts(video.with_suffix(".csv"))
    truth = [Segment(p.start_s, p.end_s, p.label) for p in parts if p.label]
    found = make_timeline(classifier, video, settings)
    score = score_segments(truth, found.segments, found.duration_s)
    facts = {"segments": len(found.segments), "cuts": found.cuts, "skipped": found.skipped / max(1, found.samples)}
    return {**{k: round(v, 3) for k, v in score._asdict().items()}, **facts}


def live_quality(classifier: Classifier, video: Path, pace: Pace, cuts: bool) -> dict[str, float | None]:
    """From the raw best label of every answer."""
    answers: list[tuple[float, str]] = []
    with open_video(video) as opened:
        fps = pace.fps(classifier.preprocessing, opened.info.fps)
        selector = FrameSelector(classifier.preprocessing, fps, cuts)
        tracker = make_tracker(classifier, pace, fps, DecisionSettings(smoothing_s=0))
        for time_s, rgb in opened:
            for sample in selector.feed(Picture(time_s, rgb)):
                for update in tracker.feed([sample]):
                    if update.scores:
                        best = max(range(len(update.scores)), key=update.scores.__getitem__)
                        answers.append((update.time_s, classifier.labels[best]))
    delays, leaks, inside_all, reached, clips = [], 0, 0, 0, 0
    before = ""
    for part in read_parts(video.with_suffix(".csv")):
        inside = [(t, label) for t, label in answers if part.start_s <= t < part.end_s]
        if part.label and inside:
            clips += 1
            wrong = [t for t, label in inside if label != part.label]
            settled = next((t for t, _ in inside if not wrong or t > wrong[-1]), None)
            reached += any(label == part.label for _, label in inside)
            if settled is not None:
                delays.append(settled - part.start_s)
            leaks += sum(label == before != part.label for _, label in inside)
            inside_all += len(inside)
        before = part.label
    return {
        "clips": clips,
        "reached": round(reached / clips, 3),
        "settled": round(len(delays) / clips, 3),
        "median_delay_s": round(statistics.median(delays), 2) if delays else None,
        "leaked": round(leaks / max(1, inside_all), 3),
        "answers": inside_all,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--weights", default="swin3d_micro_gestures")
    parser.add_argument("--clip-seconds", type=float)
    parser.add_argument("--hop-seconds", type=float)
    parser.add_argument("--enter", type=float, default=0.7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    classifier = load(arguments.weights)
    pace = Pace(arguments.clip_seconds, arguments.hop_seconds)
    decisions = DecisionSettings(0, arguments.enter, 0.3, 0.5)
    for cuts in (True, False):
        settings = TimelineSettings(pace, decisions, cuts=cuts, gate=False)
        print(
            json.dumps({"cuts": cuts, "timeline": timeline_quality(classifier, arguments.video, settings)}), flush=True
        )
    for cuts in (True, False):
        print(json.dumps({"cuts": cuts, "live": live_quality(classifier, arguments.video, pace, cuts)}), flush=True)


if __name__ == "__main__":
    main()
