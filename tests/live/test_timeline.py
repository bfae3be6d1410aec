"""One pass over a video: what comes out, and that a stopped pass ends with the same bits."""

import dataclasses
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
from videoswin.errors import ConfigError, Interrupted
from videoswin.live.decisions import DecisionSettings
from videoswin.live.pace import Pace
from videoswin.live.progress import fingerprint
from videoswin.live.timeline import Timeline, TimelineSettings, make_timeline
from videoswin.model import VideoSwin
from videoswin.predict.provenance import Training

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


def stopped_at(frames: int, video: Path, progress: Path, classifier: Classifier | None = None) -> None:
    with pytest.raises(Interrupted):
        make_timeline(classifier or uniform(), video, SETTINGS, progress=progress, each=lambda done, _: done < frames)


def with_settings(**config: object) -> Classifier:
    """The same weights, computed another way."""
    classifier = uniform()
    model = VideoSwin(dataclasses.replace(classifier.model.config, **config))  # type: ignore[arg-type]
    model.load_state_dict(classifier.model.state_dict())
    classifier.model = model.eval()
    return classifier


def reversed_head() -> Classifier:
    """The sums of its tensors are those of the other."""
    classifier = uniform()
    with torch.no_grad():
        classifier.model.head.fc.weight.copy_(classifier.model.head.fc.weight.flip(0))  # type: ignore[union-attr]
    return classifier


def other_preprocessing(**fields: object) -> Classifier:
    classifier = uniform()
    classifier.preprocessing = dataclasses.replace(classifier.preprocessing, **fields)  # type: ignore[arg-type]
    return classifier


def other_labels() -> Classifier:
    classifier = uniform()
    classifier.labels = classifier.labels[::-1]
    return classifier


@pytest.mark.parametrize(
    "make",
    [
        reversed_head,
        other_labels,
        causal,
        lambda: with_settings(padding="masked"),
        lambda: with_settings(relative_bias="official"),
        lambda: other_preprocessing(mean=(1.0, 2.0, 3.0)),
    ],
)
def test_a_place_of_another_checkpoint_is_refused(video: Path, tmp_path: Path, make: Callable[[], Classifier]) -> None:
    stopped_at(40, video, tmp_path / "p")
    other = make()
    if other.preprocessing.sampling != "uniform":
        other.preprocessing = uniform().preprocessing
    with pytest.raises(ConfigError, match="belongs to another"):
        make_timeline(other, video, SETTINGS, progress=tmp_path / "p")


@pytest.mark.parametrize(
    "settings",
    [
        dataclasses.replace(SETTINGS, pace=Pace(clip_seconds=2.0, hop_seconds=0.2)),
        dataclasses.replace(SETTINGS, decisions=DecisionSettings(0.2, 0.5, 0.3, 0.1)),
        dataclasses.replace(SETTINGS, cuts=False),
        dataclasses.replace(SETTINGS, gate=False),
        dataclasses.replace(SETTINGS, anchor=0.3),
    ],
)
def test_a_place_of_other_settings_is_refused(video: Path, tmp_path: Path, settings: TimelineSettings) -> None:
    stopped_at(40, video, tmp_path / "p")
    with pytest.raises(ConfigError, match="belongs to another"):
        make_timeline(uniform(), video, settings, progress=tmp_path / "p")


def test_a_place_belongs_to_the_contents_of_a_video_and_not_to_its_name(video: Path, tmp_path: Path) -> None:
    copy = tmp_path / "v.mp4"
    copy.write_bytes(video.read_bytes())
    stopped_at(40, copy, tmp_path / "p")
    encode(copy, np.concatenate([scene(36, seed) for seed in (7, 8, 9)] + [scene(40, 3)]), rate=12)
    with pytest.raises(ConfigError, match="belongs to another"):
        make_timeline(uniform(), copy, SETTINGS, progress=tmp_path / "p")
    seen: list[int] = []
    make_timeline(uniform(), video, SETTINGS, progress=tmp_path / "p", each=lambda done, _: not seen.append(done))
    assert seen[0] == 41


def test_a_place_does_not_depend_on_the_number_of_threads(video: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        found = set()
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(fingerprint(uniform(), video, dataclasses.asdict(SETTINGS)))
        assert len(found) == 1
    finally:
        torch.set_num_threads(before)


def test_a_damaged_place_is_said_and_the_pass_begins_anew(video: Path, tmp_path: Path) -> None:
    """Flipped bits, a cut, another version, other contents, nothing."""
    progress = tmp_path / "p"
    stopped_at(100, video, progress)
    whole = progress.read_bytes()
    generator = np.random.default_rng(0)
    damaged = [whole[:-10], whole[:30], b"", b"{}", whole.replace(b"progress 2", b"progress 1")]
    for place in generator.integers(0, len(whole), 12):
        damaged.append(whole[:place] + bytes([whole[place] ^ 1 << int(generator.integers(8))]) + whole[place + 1 :])
    for content in damaged:
        progress.write_bytes(content)
        notices: list[str] = []
        seen: list[int] = []
        with pytest.raises(Interrupted):
            make_timeline(
                uniform(),
                video,
                SETTINGS,
                progress=progress,
                notice=notices.append,
                each=lambda done, _, seen=seen: bool(seen.append(done)),
            )
        assert seen == [1]
        assert len(notices) == 1
        assert "begins anew" in notices[0]
        assert "\n" not in notices[0]


def test_the_place_stays_until_the_results_are_safe(video: Path, tmp_path: Path) -> None:
    progress = tmp_path / "p"

    def fails(timeline: Timeline) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make_timeline(uniform(), video, SETTINGS, progress=progress, keep=fails)
    assert progress.exists()
    kept: list[Timeline] = []
    seen: list[int] = []
    found = make_timeline(
        uniform(), video, SETTINGS, progress=progress, keep=kept.append, each=lambda done, _: not seen.append(done)
    )
    assert seen == []  # the pass itself was through
    assert kept == [found]
    assert not progress.exists()
    same(found, make_timeline(uniform(), video, SETTINGS))


def test_no_segments_come_with_the_best_score_and_thresholds_that_would_give_some(video: Path) -> None:
    strict = dataclasses.replace(SETTINGS, decisions=DecisionSettings(0.2, 1.0, 0.3, 0.1))
    nothing = make_timeline(uniform(), video, strict)
    assert nothing.segments == ()
    assert nothing.best is not None
    assert nothing.best.score == pytest.approx(max(nothing.curve.scores), abs=1e-6)
    assert nothing.segments_at
    for enter, count in list(nothing.segments_at.items())[::6]:
        decisions = DecisionSettings(0.2, enter, min(0.3, enter), 0.1)
        found = make_timeline(uniform(), video, dataclasses.replace(SETTINGS, decisions=decisions))
        assert len(found.segments) == count, enter
    stated = nothing.to_dict()
    assert stated["best"]["label"] == nothing.labels[nothing.best.label]
    assert stated["segments_at"][f"{max(nothing.segments_at):.2f}"] == nothing.segments_at[max(nothing.segments_at)]


def test_whole_video_checkpoints_need_to_be_told_the_length_of_an_action(video: Path) -> None:
    with pytest.raises(ConfigError, match="--clip-seconds"):
        make_timeline(uniform(), video)


def test_a_run_knows_how_long_its_clips_were(video: Path) -> None:
    classifier = uniform()
    classifier.training = Training("a start", "clips", 8, 2, clip_seconds=1.0)
    told = dataclasses.replace(SETTINGS, pace=Pace(clip_seconds=1.0))
    known = dataclasses.replace(SETTINGS, pace=Pace())
    found, wanted = make_timeline(classifier, video, known), make_timeline(uniform(), video, told)
    assert found.segments == wanted.segments
    assert list(found.curve.scores) == list(wanted.curve.scores)


def test_an_elastic_answer_is_that_of_a_file_with_this_view(video: Path) -> None:
    from videoswin.streams.elastic import ElasticStream

    classifier = uniform()
    frames = torch.randint(0, 256, (21, 32, 32, 3), dtype=torch.uint8)
    indices = classifier.preprocessing.indices(torch.arange(20) / 10)[0]
    with torch.inference_mode():
        expected = classifier.model(classifier.preprocessing.to_clip(frames[:20][indices])[None])
        normalise = lambda view: classifier.preprocessing.to_clip(view[0].permute(1, 2, 3, 0))[None]  # noqa: E731
        stream = ElasticStream(classifier.model, 8, longest=24, hop=2, normalise=normalise)
        clip = frames[:20].permute(3, 0, 1, 2)[None]
        answers = [stream.push(clip[:, :, at : at + 2]) for at in range(0, 20, 2)]
    assert answers[0] is None
    assert torch.equal(answers[-1], expected)  # type: ignore[arg-type]
