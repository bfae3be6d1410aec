"""benchmarks/lib/drawn_start.py, with starts that have seen two batches."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from benchmarks.lib import drawn_start
from benchmarks.lib.claims import Claim, contenders, verdicts
from benchmarks.lib.drawn_start import DrawnStarts
from generated.gesture_pretraining import Phase
from generated.hand import draw_motion

from tests.media_helpers import MEDIA
from videoswin.classifier.loading import load
from videoswin.data.clips import Clip
from videoswin.data.preprocessing import Preprocessing
from videoswin.train.plan import Part

CLAIM = Claim("windows of 8 time steps beat 1", "swin3d_micro:window_size=8x4x4:8", "r3d_micro:4", "nothing")
CLIP = MEDIA / "hevc.mp4"


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DrawnStarts:
    def here(phase: Phase, preprocessing: Preprocessing, seed: int, number: int, processes: int):
        generator = torch.Generator().manual_seed(100 * seed + number)
        return draw_motion(phase.clips, preprocessing.clip_len, (40, 40), generator, phase.clutter)

    monkeypatch.setattr(drawn_start, "draw_clips", here)
    made = DrawnStarts(tmp_path, clip_len=16, size=32, steps=(1, 1), clips=(16, 16, 50))
    made.draw(seeds=2, processes=1)
    return made


def test_starts_are_made_once_and_judged(starts: DrawnStarts, monkeypatch: pytest.MonkeyPatch):
    models = contenders((CLAIM,))
    for one in models:
        for seed in range(2):
            begun = starts.of(one, seed)
            assert begun.text == one.text
            assert begun.model is None
            assert begun.weights is not None
            assert load(begun.weights).labels[-1] == "none"
    monkeypatch.setattr(drawn_start, "learn", None)
    starts.of(models[0], 0)  # is there
    found = starts.gathered(models, "drawn")
    assert [len(found["models"][one.text]["runs"]) for one in models] == [2, 2]
    assert all(len(run["correct"]) == 50 for run in found["models"][models[0].text]["runs"])
    (said,) = verdicts(found, (CLAIM,))
    assert said["seeds"] == len(said["by_seed"]) == 2

    rows = [Clip(CLIP, "square", group="a"), Clip(CLIP, "left", group="b")]
    for one in models:
        starts.answer_real(one, 0, "real", rows)
        starts.answer_real(one, 0, "others", [Clip(CLIP, "walks", group="a")])  # knows no such class
    found = starts.gathered(models, "real")
    assert found["groups"] == [row.unit for row in rows]
    assert all(one["runs"][0]["correct"] in ("10", "01", "00") for one in found["models"].values())
    assert starts.gathered(models, "others")["models"] == {}

    kept, held = tuple(rows), (rows[1],)
    plan: Any = SimpleNamespace(
        train_clips=SimpleNamespace(rows=rows, labels=("left", "square")), parts=[Part(kept[:1], held)]
    )
    for one in models:
        starts.probe_real(one, 0, "real, probed", plan)
    found = starts.gathered(models, "real, probed")
    # A layer that has learnt from one class says that class: the held-out clip is wrong, and the other was never asked.
    assert [one["runs"][0]["correct"] for one in found["models"].values()] == ["00", "00"]
