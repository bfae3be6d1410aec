"""Our cut detector beside PySceneDetect's on a spliced video with known boundaries (recipes/splice.py).

    python -m benchmarks.cuts spliced.mp4

PySceneDetect is no dependency: `pip install scenedetect-headless` to have it in the comparison. All detectors see the same decoded
frames, so the times are those of detection alone. A cut counts as found within 0.1 s of a boundary.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from recipes.splice import read_parts

from videoswin.data.decode import open_video
from videoswin.live.scenes import CutDetector, thumbnail

TOLERANCE_S = 0.1
Detector = Callable[[int, float, np.ndarray], list[int]]


def ours() -> Detector:
    detector = CutDetector()
    return lambda number, time_s, frame: [number] if detector.feed(time_s, thumbnail(frame)) else []


def peers(fps: float) -> dict[str, Detector]:
    """PySceneDetect's detectors with their own defaults, or nothing if it is not installed."""
    try:
        from scenedetect import AdaptiveDetector, ContentDetector, FrameTimecode  # type: ignore[import-not-found]
    except ImportError:
        return {}

    def adapt(detector) -> Detector:
        def feed(number: int, time_s: float, frame: np.ndarray) -> list[int]:
            bgr = np.ascontiguousarray(frame[:, :, ::-1])
            return [cut.frame_num for cut in detector.process_frame(FrameTimecode(number, fps), bgr)]

        return feed

    return {
        "PySceneDetect content": adapt(ContentDetector(min_scene_len=8)),
        "PySceneDetect adaptive": adapt(AdaptiveDetector(min_scene_len=8)),
    }


def score(truth: list[float], found: list[float]) -> dict[str, float]:
    left, hits = list(truth), 0
    for cut in found:
        near = [t for t in left if abs(t - cut) <= TOLERANCE_S]
        if near:
            left.remove(near[0])
            hits += 1
    precision, recall = hits / max(1, len(found)), hits / len(truth)
    return {"found": len(found), "precision": round(precision, 3), "recall": round(recall, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("video", type=Path)
    video = parser.parse_args().video
    truth = [part.start_s for part in read_parts(video.with_suffix(".csv"))][1:]
    with open_video(video) as opened:
        detectors = {"ours": ours(), **peers(opened.info.fps)}
        cuts: dict[str, set[int]] = {name: set() for name in detectors}
        seconds = dict.fromkeys(detectors, 0.0)
        for number, (time_s, rgb) in enumerate(opened):
            frame = rgb.numpy()
            for name, detector in detectors.items():
                start = time.perf_counter()
                cuts[name].update(detector(number, time_s, frame))
                seconds[name] += time.perf_counter() - start
        times = opened.times.tolist()
    for name in detectors:
        figures = score(truth, [times[n] for n in sorted(cuts[name])])
        ratio = seconds[name] / seconds["ours"]
        print(json.dumps({"detector": name, "boundaries": len(truth), **figures, "time_to_ours": round(ratio, 2)}))


if __name__ == "__main__":
    main()
