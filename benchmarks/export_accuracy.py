"""Size, accuracy and agreement of a checkpoint in every form it can be exported to, on labelled videos.

python -m benchmarks.export_accuracy DATA [--split test] [--weights swin3d_micro_gestures] [--forms onnx-fp32 ...]
"""

import argparse
import json
import tempfile
from pathlib import Path

from videoswin.classifier.loading import load
from videoswin.data.annotations import read_index
from videoswin.export import FORMATS, default_path, export
from videoswin.export.runtime import load_exported
from videoswin.predict.evaluation import evaluate

FORMS = {f"{to}-{precision}": (to, precision) for to, row in FORMATS.items() for precision in row.precisions}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--weights", default="swin3d_micro_gestures")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    arguments = parser.parse_args()
    classifier = load(arguments.weights)
    rows = read_index(arguments.data, split=arguments.split, labels=classifier.labels).rows
    own = evaluate(classifier, rows)
    results = {"torch": {"top1": own.top1, "mean_class": own.mean_class}}
    with tempfile.TemporaryDirectory() as folder:
        for form in arguments.forms:
            to, precision = FORMS[form]
            made = export(classifier, Path(folder) / default_path(form, to), to, precision)
            evaluation = evaluate(load_exported(made.path, trust_code=True), rows)
            pairs = list(zip(own.rows, evaluation.rows, strict=True))
            results[form] = {
                "megabytes": round(made.bytes / 1e6, 1),
                "max_difference": made.max_difference,
                "top1": evaluation.top1,
                "mean_class": evaluation.mean_class,
                "same_label": sum(a.predicted == b.predicted for a, b in pairs) / len(pairs),
                "largest_score_change": max(
                    abs(dict(a.predictions)[label] - score)
                    for a, b in pairs
                    for label, score in b.predictions
                    if label in dict(a.predictions)
                ),
            }
            print(form, json.dumps(results[form]), flush=True)
    print(json.dumps({"weights": arguments.weights, "clips": len(rows), "forms": results}, indent=2))


if __name__ == "__main__":
    main()
