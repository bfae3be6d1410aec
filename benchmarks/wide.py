"""One wide crop against three crops: accuracy on labelled videos, processor time, and multiply-adds by formula.

    python -m benchmarks.wide labels.csv --split test --weights swin3d_micro_gestures

Every way of looking is scored on the same videos, one after the other; the time is the processor's, of all threads, because a
busy machine spoils the other kind. With ``padding="masked"`` a wide view attends to no padding, which the crops hardly have.
"""

import argparse
import json
import time

import videoswin
from videoswin.data.transforms import wide_crop
from videoswin.model import PRESETS, VideoSwin
from videoswin.predict.evaluation import evaluate
from videoswin.zoo.swin_macs import count_macs


def with_padding(classifier: videoswin.Classifier, padding: str) -> videoswin.Classifier:
    """The same weights; ``padding`` changes no shape."""
    model = VideoSwin(classifier.model.config.replace(padding=padding)).eval()
    model.load_state_dict(classifier.model.state_dict())
    return videoswin.Classifier(
        model, classifier.preprocessing, classifier.labels, classifier.name, classifier.none_threshold
    )


def gmacs(config: videoswin.SwinConfig, frames: int, height: int, width: int) -> float:
    return round(count_macs(config, frames, height, width).executed / 1e9, 2)


def cost_of_swin3d_t(source: tuple[int, int]) -> dict[str, object]:
    """GMACs for one clip of a video of this height and width: three crops of 224x224, and one wide crop."""
    import torch

    config, preprocessing = PRESETS["swin3d_t"], videoswin.Preprocessing()
    shape = preprocessing.resize_for(3).shape(*source)
    height, width = wide_crop(torch.empty((1, *shape, 3), dtype=torch.uint8), preprocessing.size).shape[1:3]
    crops, wide = 3 * gmacs(config, 32, 224, 224), gmacs(config, 32, height, width)
    masked = gmacs(config.replace(padding="masked"), 32, height, width)
    return {
        "frames": f"{shape[1]}x{shape[0]}",
        "wide": f"{width}x{height}",
        "gmacs_3_crops": round(crops, 2),
        "gmacs_wide": wide,
        "ratio": round(crops / wide, 2),
        "gmacs_wide_masked": masked,
        "ratio_masked": round(crops / masked, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("labels")
    parser.add_argument("--split")
    parser.add_argument("--weights", default="swin3d_micro_gestures")
    parser.add_argument("--views", nargs="+", default=["1x1", "1x3", "1xwide", "4x3", "4xwide"])
    arguments = parser.parse_args()
    classifier = videoswin.load(arguments.weights)
    rows = videoswin.read_index(arguments.labels, split=arguments.split, labels=classifier.labels).rows
    classifiers = {padding: with_padding(classifier, padding) for padding in ("attended", "masked")}
    results = []
    for views in arguments.views:
        for padding, one in classifiers.items():
            if padding == "masked" and "wide" not in views:
                continue  # crops are of the size that the model was trained for
            start = time.process_time()
            evaluation = evaluate(one, rows, views)
            cpu_s = time.process_time() - start
            right = [r.predictions[0].score for r in evaluation.rows if r.correct]
            refused = sum(bool(r.predictions) and one.decide(r.predictions[0]) is None for r in evaluation.rows)
            results.append(
                {
                    "views": views,
                    "padding": padding,
                    "videos": evaluation.n,
                    "top1": round(evaluation.top1, 4),
                    "mean_score_of_right_ones": round(sum(right) / max(1, len(right)), 4),
                    "called_none_of_these": refused,
                    "cpu_ms_per_video": round(1000 * cpu_s / evaluation.n, 1),
                }
            )
    sizes = {"4:3": (256, 342), "340x256": (256, 340), "16:9": (720, 1280)}
    costs = {name: cost_of_swin3d_t(size) for name, size in sizes.items()}
    print(json.dumps({"weights": arguments.weights, "results": results, "swin3d_t": costs}, indent=2))


if __name__ == "__main__":
    main()
