"""A page of ``export --to web`` in Chromium, beside ``predict``: the same labels? how fast? how large?

    python -m benchmarks.web labels.csv --split test

Needs playwright and a Chromium. The clips are given to the page as a person gives them, one after the other. Printed are the
labels that agree with those of ``predict`` on the same files, and how many of both are right; milliseconds that the model takes for
a clip, as the page itself shows them, and seconds from the drop to the answer (decoding, seeking and resizing included); bytes of
the folder. Once from a plain static server, where WebAssembly has one thread, and once from one that isolates the page.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from videoswin.classifier.loading import load
from videoswin.data.annotations import Clip, read_index
from videoswin.export.to_web import export_web
from videoswin.predict.results import Prediction
from videoswin.predict.scoring import predict_each

_PATIENCE_MS = 300_000
_ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class _Plain(SimpleHTTPRequestHandler):
    headers_too: ClassVar[dict[str, str]] = {}
    extensions_map: ClassVar[dict[str, str]] = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        for name, value in self.headers_too.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Isolating(_Plain):
    headers_too: ClassVar[dict[str, str]] = _ISOLATED


@contextmanager
def served(folder: Path, isolated: bool) -> Iterator[str]:
    """The address of a static file server."""
    handler = partial(_Isolating if isolated else _Plain, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def in_the_browser(address: str, rows: Sequence[Clip]) -> dict[str, Any]:
    """Of each clip the label, the page's words, milliseconds of the model and seconds in all; and what the page complained of."""
    from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]  # no part of the test extra

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    found: dict[str, Any] = {"labels": [], "words": [], "model_ms": [], "seconds": []}
    complaints: list[str] = []
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=program, args=["--no-sandbox"])
        found["browser"] = f"Chromium {browser.version}"
        page = browser.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        began = time.perf_counter()
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        found["seconds_to_ready"] = round(time.perf_counter() - began, 2)
        found["threads"] = page.evaluate(
            "crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1"  # as the page itself says
        )
        page.set_input_files("#file", rows[0].path)  # the first pass compiles
        page.wait_for_selector("body[data-best]")
        for row in rows:
            page.evaluate("delete document.body.dataset.best")
            began = time.perf_counter()
            page.set_input_files("#file", row.path)
            page.wait_for_selector("body[data-best], #error:not([hidden])")
            found["seconds"].append(time.perf_counter() - began)
            found["labels"].append(page.get_attribute("body", "data-best"))
            found["words"].append(page.inner_text("#answer"))
            found["model_ms"].append(float(page.inner_text("#latency").split()[0]))
        browser.close()
    found["complaints"] = complaints
    return found


def compared(found: dict[str, Any], predictions: Sequence[Prediction], rows: Sequence[Clip]) -> dict[str, Any]:
    """The figures of one server."""
    best = [p.predictions[0].label for p in predictions]
    refused = [words.startswith("None of these") for words in found["words"]]
    milliseconds, seconds = sorted(found["model_ms"]), sorted(found["seconds"])
    last = round(0.95 * (len(rows) - 1))
    return {
        "threads": found["threads"],
        "browser": found["browser"],
        "same_label": sum(a == b for a, b in zip(found["labels"], best, strict=True)),
        "same_refusal": sum(a == (p.label is None) for a, p in zip(refused, predictions, strict=True)),
        "right_in_browser": sum(a == row.label for a, row in zip(found["labels"], rows, strict=True)),
        "model_ms": {
            "median": statistics.median(milliseconds),
            "p95": milliseconds[last],
            "least": milliseconds[0],
            "most": milliseconds[-1],
        },
        "drop_to_answer_s": {"median": round(statistics.median(seconds), 2), "p95": round(seconds[last], 2)},
        "seconds_to_ready": found["seconds_to_ready"],
        "differ": [
            [row.path.name, told, label]
            for row, told, label in zip(rows, found["words"], best, strict=True)
            if not told.removeprefix("None of these; the nearest is ").startswith(f"{label},")
        ],
        "complaints": found["complaints"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--weights", default="swin3d_micro_gestures")
    parser.add_argument(
        "--onnxruntime-web", type=Path, help="the npm package, as for export; by default npm fetches it"
    )
    options = parser.parse_args()
    classifier = load(options.weights)
    rows = list(read_index(options.data, split=options.split, labels=classifier.labels).rows)
    predictions = []
    for prediction in predict_each(classifier, rows, "1x1", 5):
        if not isinstance(prediction, Prediction):
            raise SystemExit(str(prediction.error))
        predictions.append(prediction)
    right = sum(p.predictions[0].label == row.label for p, row in zip(predictions, rows, strict=True))
    found: dict[str, Any] = {"weights": options.weights, "clips": len(rows), "right_by_predict": right}
    with tempfile.TemporaryDirectory(prefix="videoswin-web-benchmark-") as place:
        folder = Path(place) / "page"
        found["bytes"] = export_web(classifier, folder, options.onnxruntime_web).bytes
        found["bytes_of_files"] = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        found["runs"] = []
        for isolated in (False, True):
            load_before = os.getloadavg()
            with served(folder, isolated) as address:
                run = compared(in_the_browser(address, rows), predictions, rows)
            loads = [[round(value, 2) for value in when] for when in (load_before, os.getloadavg())]
            found["runs"].append({"isolated": isolated, "load_before_and_after": loads, **run})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
