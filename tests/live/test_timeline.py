"""One pass over a video: what comes out, and that a stopped pass ends with the same bits."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.live.helpers import scene
from tests.media_helpers import encode
from tests.tiny import tiny_classifier
from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Preprocessing
from videoswin.errors import ConfigError, Interrupted, VideoSwinError
from videoswin.live.decisions import DecisionSettings
from videoswin.live.pace import Pace
from videoswin.live.timeline import Timeline, TimelineSettings, make_timeline

SETTINGS = TimelineSettings(
    pace=Pace(clip_seconds=1.0, hop_seconds=0.2), decisions=DecisionSettings(0.2, 0.4, 0.3, 0.1), gate=True
)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes and a still one, ten seconds."""
    scenes = [scene(36, seed) for seed in range(3)]
    still = np.repeat(scenes[0][:1], 40, axis=0)
    return encode(tmp_path_factory.mktemp("timeline") / "v.mp4", np.concatenate([*scenes, still]), rate=12)


def uniform() -> Classifier:
    return tiny_classifier(preprocessing=Preprocessing(8, "uniform", size=(32, 32), short_side=32))


def test_segments_are_ordered_and_inside(video: Path) -> None:
    timeline = make_timeline(uniform(), video, SETTINGS)
    assert timeline.frames == 148
    assert timeline.cuts >= 2
    assert timeline.skipped > 0
    assert timeline.segments
    for before, after in zip(timeline.segments, timeline.segments[1:], strict=False):
        assert before.end_s <= after.start_s
    assert timeline.segments[0].start_s >= 0
    assert timeline.segments[-1].end_s <= timeline.duration_s
    assert all(0 < s.score <= 1 for s in timeline.segments)
    assert json.loads(json.dumps(timeline.to_dict()))["segments"]


def sliding() -> Classifier:
    return tiny_classifier()


def causal() -> Classifier:
    classifier = tiny_classifier()
    classifier.model = classifier.model.as_causal()
    return classifier


@pytest.mark.parametrize("make", [uniform, sliding, causal])
@pytest.mark.parametrize("at", [1, 37, 75, 147])
def test_a_stopped_pass_ends_with_the_same_bits(
    video: Path, tmp_path: Path, at: int, make: Callable[[], Classifier]
) -> None:
    expected = make_timeline(make(), video, SETTINGS)
    progress = tmp_path / "p.safetensors"
    with pytest.raises(Interrupted, match="goes on from there"):
        make_timeline(make(), video, SETTINGS, progress=progress, each=lambda done, _: done < at)
    seen: list[int] = []
    found = make_timeline(make(), video, SETTINGS, progress=progress, each=lambda done, _: not seen.append(done))
    assert seen[0] == at + 1  # it did not begin again
    same(found, expected)
    assert not progress.exists()


def test_stopped_again_and_again(video: Path, tmp_path: Path) -> None:
    progress = tmp_path / "p.safetensors"
    stops = 0
    found = None
    while found is None and stops < 20:
        left = iter(range(22))
        try:
            found = make_timeline(
                uniform(),
                video,
                SETTINGS,
                progress=progress,
                each=lambda done, _, left=left: next(left, None) is not None,
            )
        except Interrupted:
            stops += 1
    assert found is not None
    assert stops >= 5
    same(found, make_timeline(uniform(), video, SETTINGS))


def same(found: Timeline, expected: Timeline) -> None:
    assert found.to_dict() == expected.to_dict()
    assert found.segments == expected.segments
    for name in ("times", "labels", "scores"):
        assert getattr(found.curve, name) == getattr(expected.curve, name)


def test_progress_of_another_pass_is_refused(video: Path, tmp_path: Path) -> None:
    progress = tmp_path / "p.safetensors"
    with pytest.raises(VideoSwinError):
        make_timeline(uniform(), video, SETTINGS, progress=progress, each=lambda done, _: done < 40)
    other = TimelineSettings(pace=Pace(clip_seconds=2.0))
    with pytest.raises(ConfigError, match="belongs to another"):
        make_timeline(uniform(), video, other, progress=progress)
    progress.write_bytes(progress.read_bytes()[:-10])
    with pytest.raises(VideoSwinError, match="safetensors"):
        make_timeline(uniform(), video, SETTINGS, progress=progress)


def test_whole_video_checkpoints_need_to_be_told_the_length_of_an_action(video: Path) -> None:
    with pytest.raises(ConfigError, match="--clip-seconds"):
        make_timeline(uniform(), video)


def test_an_elastic_answer_is_that_of_a_file_with_this_view(video: Path) -> None:
    from videoswin.streams.elastic import ElasticStream

    classifier = uniform()
    frames = torch.randint(0, 256, (21, 32, 32, 3), dtype=torch.uint8)
    indices = classifier.preprocessing.indices(torch.arange(20) / 10)[0]
    with torch.inference_mode():
        expected = classifier.model(classifier.preprocessing.to_clip(frames[:20][indices])[None])
        stream = ElasticStream(classifier.model, 8, longest=24, hop=2)
        clip = classifier.preprocessing.to_clip(frames[:20])[None]
        answers = [stream.push(clip[:, :, at : at + 2]) for at in range(0, 20, 2)]
    assert answers[0] is None
    assert torch.equal(answers[-1], expected)  # type: ignore[arg-type]
