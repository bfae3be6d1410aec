"""Pictures: sizes, the public crop order, one draw per clip, and labels in the mirror."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from videoswin.data import photometric, transforms
from videoswin.data.photometric import ColourJitter, GaussianNoise, RandomErasing
from videoswin.data.transforms import (
    RandomAffine,
    Resize,
    center_crop,
    horizontal_flip,
    random_resized_crop,
    resize_short_side,
    resize_stretch,
    three_crops,
    to_clip,
    wide_crop,
)
from videoswin.errors import ConfigError


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def noise_clip(count: int = 3, height: int = 20, width: int = 30) -> Tensor:
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8)


def columns(height: int = 4, width: int = 10) -> Tensor:
    """Every pixel holds the number of its column."""
    return torch.arange(width, dtype=torch.uint8)[None, None, :, None].expand(2, height, width, 3)


def still(clip: Tensor) -> bool:
    return all(torch.equal(frame, clip[0]) for frame in clip)


# Resize


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(256, 340, (224, 298)), (340, 256, (298, 224)), (224, 224, (224, 224)), (2, 2, (224, 224))],
)
def test_short_side(height: int, width: int, expected: tuple[int, int]):
    assert resize_short_side(noise_clip(1, height, width), 224).shape == (1, *expected, 3)
    assert Resize(224, (224, 224)).shape(height, width) == expected


def test_stretch_keeps_everything():
    clip = resize_stretch(columns(8, 10), (4, 5))
    assert clip.shape == (2, 4, 5, 3)
    assert clip[0, 0, 0, 0] < clip[0, 0, -1, 0]


@pytest.mark.parametrize("antialias", [False, True])
def test_resize_is_bytes_and_bilinear(antialias: bool):
    clip = noise_clip(2, 64, 80)
    ours = resize_stretch(clip, (40, 50), antialias)
    exact = torch.nn.functional.interpolate(
        clip.permute(0, 3, 1, 2).double(), size=(40, 50), mode="bilinear", antialias=antialias
    ).permute(0, 2, 3, 1)
    assert ours.dtype == torch.uint8
    assert ours.is_contiguous()
    assert float((ours.double() - exact).abs().max()) <= (1.001 if antialias else 0.501)


def test_without_antialias_it_is_the_bilinear_rule_of_opencv():
    """Halving by that rule averages the two middle pixels of each four: worked out by hand, columns 0, 4, 8 ... 36."""
    clip = (columns(4, 12) * 4).contiguous()
    shrunk = resize_stretch(clip, (4, 3), antialias=False)
    assert shrunk[0, 0, :, 0].tolist() == [6, 22, 38]  # centres at 1.5, 5.5, 9.5


def test_one_frame_and_a_clip_give_the_same():
    clip = noise_clip(2, 50, 70)
    resize = Resize(32, (32, 32))
    assert torch.equal(resize(clip)[1], resize(clip[1]))


def test_a_flat_picture_stays_flat():
    clip = torch.full((1, 31, 47, 3), 77, dtype=torch.uint8)
    assert bool((resize_short_side(clip, 20) == 77).all())


def test_a_sliver_is_refused_before_it_becomes_huge():
    with pytest.raises(ConfigError, match=r"4000x1 pixels is too narrow.*896000x224"):
        resize_short_side(torch.zeros((1, 1, 4000, 3), dtype=torch.uint8), 224)


# Crop


def test_center_crop_is_the_middle():
    assert center_crop(columns(4, 10), (4, 4))[0, 0, :, 0].tolist() == [3, 4, 5, 6]
    assert center_crop(columns(4, 9), (2, 4)).shape == (2, 2, 4, 3)


def test_three_crops_come_left_right_middle():
    firsts = [int(crop[0, 0, 0, 0]) for crop in three_crops(columns(4, 10), (4, 4))]
    assert firsts == [0, 6, 3]


def test_an_odd_rest_is_left_out_at_the_far_side_as_in_the_public_code():
    firsts = [int(crop[0, 0, 0, 0]) for crop in three_crops(columns(4, 11), (4, 4))]
    assert firsts == [0, 6, 3]


def test_three_crops_of_a_tall_frame_come_top_bottom_middle():
    tall = columns(4, 10).transpose(1, 2)
    assert [int(crop[0, 0, 0, 0]) for crop in three_crops(tall, (4, 4))] == [0, 6, 3]


@pytest.mark.parametrize(
    ("frame", "size", "expected"),
    [
        ((224, 299), (224, 224), (224, 288)),
        ((224, 398), (224, 224), (224, 384)),
        ((299, 224), (224, 224), (288, 224)),
        ((256, 299), (224, 224), (224, 288)),
        ((224, 224), (224, 224), (224, 224)),
        ((56, 64), (56, 56), (56, 64)),
        ((56, 75), (56, 56), (56, 72)),
        ((35, 40), (35, 35), (35, 40)),
        ((40, 70), (32, 64), (32, 64)),
    ],
)
def test_a_wide_crop_is_as_long_as_whole_patches_fit(
    frame: tuple[int, int], size: tuple[int, int], expected: tuple[int, int]
):
    assert wide_crop(noise_clip(1, *frame), size).shape == (1, *expected, 3)


def test_a_wide_crop_is_centred_and_shows_what_three_crops_show():
    assert wide_crop(columns(4, 11), (4, 4))[0, 0, :, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert wide_crop(columns(4, 12), (4, 4))[0, 0, :, 0].tolist() == list(range(12))
    with pytest.raises(ConfigError, match="does not fit"):
        wide_crop(columns(4, 11), (5, 4))


def test_three_crops_of_a_square_are_equal():
    clip = noise_clip(1, 8, 8)
    assert all(torch.equal(crop, clip) for crop in three_crops(clip, (8, 8)))


@pytest.mark.parametrize("crop", [center_crop, three_crops])
def test_a_crop_that_does_not_fit_is_refused(crop):
    with pytest.raises(ConfigError, match=r"crop of 8x8 .* does not fit frames of 4x10"):
        crop(columns(), (8, 8))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**31))
def test_random_resized_crop_works_for_any_frame(height: int, width: int, seed: int):
    clip = noise_clip(2, height, width)
    crop = random_resized_crop(clip, (9, 7), generator(seed))
    assert crop.shape == (2, 9, 7, 3)
    assert torch.equal(crop, random_resized_crop(clip, (9, 7), generator(seed)))


def test_random_resized_crop_keeps_to_area_and_ratio():
    from videoswin.data.transforms import _crop_box

    draws = generator()
    for _ in range(300):
        top, left, height, width = _crop_box(256, 340, draws, (0.08, 1.0), (3 / 4, 4 / 3))
        assert 0 <= top <= 256 - height
        assert 0 <= left <= 340 - width
        assert 0.07 <= height * width / (256 * 340) <= 1
        assert 0.73 <= width / height <= 1.36


def test_a_crop_that_never_fits_falls_back_to_the_central_square():
    from videoswin.data.transforms import _crop_box

    assert _crop_box(10, 200, generator(), (1.0, 1.0), (1.0, 1.0)) == (0, 95, 10, 10)


# Flip


def test_flip_mirrors_columns():
    assert horizontal_flip(columns())[0, 0, :, 0].tolist() == list(range(9, -1, -1))


# Vary

VARIATIONS = [
    ColourJitter(0.4, 0.4, 0.4, 0.1, 0.2),
    RandomAffine(15, 0.1, (0.8, 1.2)),
    RandomErasing(1.0),
]


@pytest.mark.parametrize("vary", VARIATIONS, ids=lambda vary: type(vary).__name__)
def test_all_frames_are_varied_alike(vary):
    clip = noise_clip(1).expand(4, -1, -1, -1)
    for seed in range(5):
        varied = vary(clip, generator(seed))
        assert still(varied)
        assert varied.shape == clip.shape
        assert varied.dtype == torch.uint8
    assert not torch.equal(varied, clip)


@pytest.mark.parametrize("vary", [*VARIATIONS, GaussianNoise(20.0)], ids=lambda vary: type(vary).__name__)
def test_the_generator_decides(vary):
    clip = noise_clip()
    before = clip.clone()
    assert torch.equal(vary(clip, generator(1)), vary(clip, generator(1)))
    assert not torch.equal(vary(clip, generator(1)), vary(clip, generator(2)))
    assert torch.equal(clip, before), "the input is left alone: a cache may own it"


def test_nothing_asked_nothing_done():
    clip = noise_clip()
    for vary in (ColourJitter(), RandomAffine(), GaussianNoise(0.0), RandomErasing(0.0)):
        assert int((vary(clip, generator()).int() - clip.int()).abs().max()) == 0


def test_brightness_scales_values():
    clip = torch.full((1, 4, 4, 3), 100, dtype=torch.uint8)
    values = {int(ColourJitter(brightness=0.5)(clip, generator(seed))[0, 0, 0, 0]) for seed in range(50)}
    assert min(values) >= 50
    assert max(values) <= 150
    assert len(values) > 20


def test_contrast_keeps_the_mean_grey():
    clip = (noise_clip(2, 40, 40) // 2) + 60
    varied = ColourJitter(contrast=0.5)(clip, generator(3))
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert float((varied.float() @ luma).mean()) == pytest.approx(float((clip.float() @ luma).mean()), abs=0.2)
    assert float(varied.float().std()) != pytest.approx(float(clip.float().std()), abs=1.0)


def test_grayscale_and_hue_keep_the_brightness():
    clip = noise_clip(1) // 2 + 64
    luma = torch.tensor([0.299, 0.587, 0.114])
    grey = ColourJitter(grayscale=1.0)(clip, generator())
    assert int((grey.amax(-1).int() - grey.amin(-1).int()).max()) == 0
    assert float(((grey.float() - clip.float()) @ luma).abs().max()) <= 1.0
    muted = (clip.float() * 0.3 + 90).to(torch.uint8)  # far from the edges of the range, where clipping would change it
    turned = ColourJitter(hue=0.5)(muted, generator(4))
    assert float(((turned.float() - muted.float()) @ luma).abs().max()) <= 1.5
    assert not torch.equal(turned, muted)


def test_affine_shifts_in_the_stated_range_and_zooms_in():
    clip = columns(10, 40).contiguous() * 4
    shifted = RandomAffine(shift=0.25)(clip, generator(1))
    offset = (shifted[0, 5, 15:25, 0].float() - clip[0, 5, 15:25, 0].float()) / 4
    assert float(offset.std()) < 0.3
    assert 0 < abs(float(offset.mean())) <= 10.1
    zoomed = RandomAffine(scale=(2.0, 2.0))(clip, generator())
    assert int(zoomed[0, 5, -1, 0]) - int(zoomed[0, 5, 0, 0]) == pytest.approx(80, abs=8)


def test_rotation_keeps_the_shape_of_the_picture_in_a_wide_frame():
    clip = torch.zeros((1, 21, 61, 3), dtype=torch.uint8)
    clip[:, 10, 35] = 255  # five pixels right of the centre
    for seed in range(5):
        y, x = divmod(int(RandomAffine(degrees=90)(clip, generator(seed))[0, :, :, 0].argmax()), 61)
        assert ((y - 10) ** 2 + (x - 30) ** 2) ** 0.5 == pytest.approx(5, abs=0.8)


def test_erasing_paints_one_box_of_the_stated_area():
    clip = noise_clip(2, 40, 60)
    changed = (RandomErasing(1.0)(clip, generator(2)) != clip).any(-1)
    rows, cols = changed[0].any(1).nonzero(), changed[0].any(0).nonzero()
    area = int((rows.max() - rows.min() + 1) * (cols.max() - cols.min() + 1))
    assert 0.01 <= area / (40 * 60) <= 0.36
    assert float(changed.float().sum()) >= 1.8 * area


@pytest.mark.parametrize(
    "build",
    [
        lambda: ColourJitter(brightness=1.5),
        lambda: ColourJitter(hue=float("nan")),
        lambda: RandomAffine(scale=(2.0, 1.0)),
        lambda: GaussianNoise(-1.0),
        lambda: RandomErasing(probability=2.0),
    ],
)
def test_strengths_out_of_range_are_refused(build):
    with pytest.raises(ConfigError, match="Use "):
        build()


def test_to_clip_normalises_on_the_scale_of_bytes():
    clip = to_clip(torch.full((5, 6, 7, 3), 128, dtype=torch.uint8), (28.0, 0.0, 128.0), (50.0, 64.0, 1.0))
    assert clip.shape == (3, 5, 6, 7)
    assert clip.dtype == torch.float32
    assert clip.is_contiguous()
    assert [float(channel.mean()) for channel in clip] == [2.0, 2.0, 0.0]


def test_a_clip_can_be_written_where_it_belongs_and_is_what_torch_computes():
    frames, mean, std = noise_clip(4, 9, 11), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    place = torch.full((2, 3, 4, 5, 7), float("nan"))
    clip = to_clip(frames[:, 2:7, 1:8], mean, std, out=place[1])
    floats = frames[:, 2:7, 1:8].permute(3, 0, 1, 2).float()
    expected = (floats - torch.tensor(mean).view(3, 1, 1, 1)) / torch.tensor(std).view(3, 1, 1, 1)
    assert torch.equal(clip, expected)
    assert torch.equal(place[1], expected)
    assert bool(place[0].isnan().all())


@pytest.mark.parametrize("name", ["ColourJitter", "GaussianNoise", "RandomErasing"])
def test_former_places(name: str):
    with pytest.warns(DeprecationWarning, match="photometric"):
        assert getattr(transforms, name) is getattr(photometric, name)
