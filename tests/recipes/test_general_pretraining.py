"""The general pretraining, in the smallest size that learns something."""

import math

import torch
from generated.general_pretraining import Course, Figures, View, _varied, pretrain
from generated.scenes import ABSENT, MARKS, Scenes, draw_scenes

from tests.tiny import CONFIG
from videoswin.data.preprocessing import Preprocessing
from videoswin.model import create_model

PREPROCESSING = Preprocessing(clip_len=4, sampling="uniform", size=(24, 24), short_side=None)
VIEW = View(frames=4, interval=1, size=(24, 24), batch_size=4, share=1.0)


class Pool:
    def __init__(self):
        self.plain, self.cluttered = (
            draw_scenes(10, 4, (32, 32), torch.Generator().manual_seed(1), clutter) for clutter in (0.0, 1.0)
        )

    def pick(self, plain: int, cluttered: int) -> Scenes:
        some, others = torch.randint(10, (plain,)), torch.randint(10, (cluttered,))
        return Scenes(*(torch.cat([a[some], b[others]]) for a, b in zip(self.plain, self.cluttered, strict=True)))


def test_the_losses_fall():
    torch.manual_seed(0)
    model = create_model(CONFIG, num_classes=1, drop_path=0.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    course = Course(
        views=(VIEW, View(frames=2, interval=2, size=(12, 12), batch_size=2, share=0.1)),
        plain_until=0.8, fading=0.1, cooling=0.1, lr=3e-3, warmup_steps=3, average=0.9,
    )  # fmt: skip
    seen: list[Figures] = []
    pretrain(model, PREPROCESSING, course, Pool(), lambda step: step / 200, seen.append)
    assert [figures.step for figures in seen] == [50, 100, 150, 200]
    assert seen[-1].heat < seen[0].heat
    assert all(math.isfinite(f.heat + f.pose) for f in seen)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert torch.equal(after["head.fc.weight"], before["head.fc.weight"])
    assert not torch.equal(after["backbone.norm.weight"], before["backbone.norm.weight"])


def test_the_course():
    course = Course(views=(VIEW,), plain_until=0.1, fading=0.2, cooling=0.1, warmup_steps=10)
    assert [round(course.plain_share(s), 2) for s in (0, 0.1, 0.2, 0.3, 0.9)] == [0.65, 0.65, 0.39, 0.12, 0.12]
    assert [round(course.lr_factor(s, s / 1000), 2) for s in (0, 9, 500, 950, 999)] == [0.1, 1.0, 1.0, 0.5, 0.02]


def test_a_view_of_every_second_frame():
    source = draw_scenes(3, 9, (32, 32), torch.Generator().manual_seed(3), 1.0)
    seen = _varied(source, View(frames=4, interval=2, size=(16, 8), batch_size=3, share=1.0), PREPROCESSING)
    assert seen.frames.shape == (3, 3, 4, 16, 8)
    assert seen.points.shape[:2] == seen.marks.shape[:2] == (3, 4)


def test_windows_move_the_marks_along():
    """What is light in a plain clip stays under its mark, whatever the window."""
    source = draw_scenes(60, 4, (48, 48), torch.Generator().manual_seed(2), 0.0)
    torch.manual_seed(0)
    light = []
    for clip in (Scenes(*clip) for _ in range(3) for clip in zip(*_varied(source, VIEW, PREPROCESSING), strict=True)):
        x, y = clip.marks[2, MARKS.index("head"), 0].tolist()
        if x < ABSENT / 2 or not (0.1 < x < 0.9 and 0.1 < y < 0.9):
            continue
        picture = clip.frames[:, 2].mean(0)
        light.append(float(picture[int(y * 24), int(x * 24)] > picture.mean()))
    assert len(light) > 20
    assert sum(light) > 0.85 * len(light)
