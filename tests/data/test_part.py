"""Some seconds of a video, as if they were a video of their own."""

from pathlib import Path

import pytest
import torch

from tests.media_helpers import encode, moving_picture
from videoswin.data.clips import Clip
from videoswin.data.decode import Video, open_video
from videoswin.data.part import Part, open_clip
from videoswin.data.preprocessing import Preprocessing, Views
from videoswin.data.transforms import center_crop
from videoswin.errors import VideoError


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("video") / "clip.mp4", moving_picture(30), rate=10)


def test_a_part_has_frames_and_times_of_its_own(path: Path) -> None:
    with open_video(path) as video:
        whole = video.read()
        part = Part(video, 0.95, 2.0)
        assert len(part) == part.info.num_frames == 10
        assert part.times.tolist() == pytest.approx([number / 10 for number in range(10)])
        assert part.info.duration_s == pytest.approx(1.0)
        frames = part.get_frames([9, 0, 0])
        assert torch.equal(frames.data, whole.data[[19, 10, 10]])
        assert frames.times.tolist() == pytest.approx([0.9, 0, 0])
        assert torch.equal(part.read().data, whole.data[10:20])
        for outside in ([-1], [10]):
            with pytest.raises(VideoError, match="the part has 10"):
                part.get_frames(outside)


def test_views_of_a_part(path: Path) -> None:
    preprocessing = Preprocessing(clip_len=4, frame_interval=1, size=(16, 16), short_side=16)
    with open_clip(Clip(path, "x", start=1.0, end=1.4)) as part, open_video(path) as video:
        assert isinstance(part, Part)
        clips = preprocessing.views(part, Views(1, 1)).clips
        expected = video.read(10, 14, each=preprocessing.view_resize).data
        assert torch.equal(clips[0], preprocessing.to_clip(center_crop(expected, (16, 16))))


def test_a_clip_that_is_a_whole_video_is_one(path: Path) -> None:
    with open_clip(Clip(path, "x")) as video:
        assert isinstance(video, Video)


def test_seconds_that_the_video_does_not_have(path: Path) -> None:
    with (
        pytest.raises(VideoError, match=r"no frame is shown from 3.5 s to 4 s; the video lasts 3.00 s"),
        open_clip(Clip(path, "x", start=3.5, end=4.0)),
    ):
        pass
