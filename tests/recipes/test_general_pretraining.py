"""The general pretraining, in the smallest size that learns something."""

import math

import torch
from generated.general_pretraining import Course, Figures, _clips, pretrain
from generated.scenes import ABSENT, MARKS, draw_scenes

from tests.tiny import CONFIG
from videoswin.data.preprocessing import Preprocessing
from videoswin.model import create_model

PREPROCESSING = Preprocessing(clip_len=4, sampling="uniform", size=(24, 24), short_side=None)


def scenes(clutter: float):
    return draw_scenes(10, 4, (32, 32), torch.Generator().manual_seed(1), clutter)


def test_the_losses_fall():
    torch.manual_seed(0)
    model = create_model(CONFIG, num_classes=1, drop_path=0.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    course = Course(steps=120, plain_until=100, fading=20, cooling=10, batch_size=4, lr=3e-3, warmup=3, average=0.9)
    seen: list[Figures] = []
    pretrain(model, PREPROCESSING, course, scenes(0.0), scenes(1.0), seen.append)
    assert [figures.step for figures in seen] == list(range(1, 121))
    assert seen[-1].heat < seen[30].heat
    assert seen[-1].pose < seen[30].pose
    assert all(math.isfinite(f.heat + f.pose) and all(0 <= v <= 1 for v in f.right.values()) for f in seen)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert torch.equal(after["head.fc.weight"], before["head.fc.weight"])
    assert not torch.equal(after["backbone.norm.weight"], before["backbone.norm.weight"])


def test_the_course():
    course = Course(steps=1000, plain_until=100, fading=200, cooling=100, warmup=10)
    assert [round(course.plain_share(s), 2) for s in (0, 100, 200, 300, 900)] == [0.65, 0.65, 0.4, 0.15, 0.15]
    assert [round(course.lr_factor(s), 2) for s in (0, 9, 500, 950, 999)] == [0.1, 1.0, 1.0, 0.5, 0.02]


def test_windows_move_the_marks_along():
    """What is light in a plain clip stays under its mark, whatever the window."""
    source = draw_scenes(60, 4, (48, 48), torch.Generator().manual_seed(2), 0.0)
    torch.manual_seed(0)
    light = []
    for clip in _clips(source, source, torch.ones(200, dtype=torch.bool), PREPROCESSING):
        x, y = clip.marks[2, MARKS.index("head"), 0].tolist()
        if x < ABSENT / 2 or not (0.1 < x < 0.9 and 0.1 < y < 0.9):
            continue
        picture = clip.frames[:, 2].mean(0)
        light.append(float(picture[int(y * 24), int(x * 24)] > picture.mean()))
    assert len(light) > 20
    assert sum(light) > 0.85 * len(light)
