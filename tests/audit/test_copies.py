"""Copies are found, and clips of one scene are not taken for copies."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from videoswin.audit.candidates import starts
from videoswin.audit.copies import Copy, _distinct, find_copies
from videoswin.audit.films import Film
from videoswin.data.fingerprints import RATE, SIDE
from videoswin.predict.parallel import in_parallel

WIDE = 96  # a scene is larger than a film, so that there is something to crop


def scene(place: int, motion: int, frames: int = 75) -> Tensor:
    """A film of two spots that wander before a background; float (T, WIDE, WIDE)."""
    g = torch.Generator().manual_seed(place)
    background = F.interpolate(torch.rand(1, 1, 12, 12, generator=g) * 160, (WIDE, WIDE), mode="bilinear")[0, 0]
    g = torch.Generator().manual_seed(1000 + motion)
    knots = torch.rand(2, 2, 7, generator=g)
    paths = F.interpolate(knots, frames, mode="linear", align_corners=True) * 0.6 + 0.2  # (spot, xy, T)
    y, x = torch.meshgrid(torch.arange(WIDE) / WIDE, torch.arange(WIDE) / WIDE, indexing="ij")
    film = background.expand(frames, -1, -1).clone()
    for spot, (across, down) in enumerate(paths):
        near = (x - across[:, None, None]).abs().maximum((y - down[:, None, None]).abs()) < 0.06 + 0.03 * spot
        film[near] = 230.0 - 60 * spot
    return film


def shrunk(film: Tensor, seed: int = 0) -> Tensor:
    """As a fingerprint keeps it, with the noise of an encoder."""
    small = F.interpolate(film[None], (SIDE, SIDE), mode="area")[0]
    noise = 3 * torch.randn(small.shape, generator=torch.Generator().manual_seed(seed))
    return (small + noise).round().clamp(0, 255).to(torch.uint8)


def cropped(film: Tensor) -> Tensor:
    return film[:, 6:90, 10:94]


CHANGES = {
    "encoded again": lambda film: 0.9 * film + 12,
    "cropped": cropped,
    "mirrored": lambda film: film.flip(2),
    "later": lambda film: film[20:],
    "all of it": lambda film: cropped(film.flip(2))[14:],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_among_clips_of_its_scene(change: str):
    films = [shrunk(scene(place, motion), motion) for place in range(2) for motion in range(4 * place, 4 * place + 4)]
    films.append(shrunk(CHANGES[change](scene(0, 2)), 99))
    found = find_copies(films)
    assert [(copy.first, copy.second) for copy in found] in ([(2, 8)], [(8, 2)])
    copy = found[0]
    assert copy.mirrored is (change in ("mirrored", "all of it"))
    assert ("cropped" in copy.words) is (change in ("cropped", "all of it"))
    wanted = {"later": 20 / RATE, "all of it": 14 / RATE}.get(change, 0.0)
    assert abs(copy.delay_s) == pytest.approx(wanted, abs=0.05)


def test_clips_that_stand_still_are_no_copies():
    still = scene(0, 0)[:1].expand(40, -1, -1)
    assert find_copies([shrunk(still, 1), shrunk(still, 2)]) == []


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_short_clips_do_no_harm(frames: int):
    assert find_copies([shrunk(scene(0, 0))[:frames], shrunk(scene(0, 1))]) == []
    assert find_copies([]) == []


def test_where_to_begin_is_where_what_stands_still_fits():
    """For the crop in the whole frame, though it was found from the side of the crop."""
    films = [
        Film.of(shrunk(film, seed))
        for seed, film in enumerate([scene(0, 0), cropped(scene(0, 0).flip(2)), scene(1, 1)])
    ]
    (some,) = [some for some in starts(films, lambda: None) if {some[0].first, some[0].second} == {0, 1}]
    first = next(start for start in some if start.first == 0)
    assert first.mirrored
    # 84 of 96 pixels, whose middle is at 52 and 48 of the mirrored frame's
    assert first.box.tolist() == pytest.approx([1 - 52 / 96, 48 / 96, 84 / 96, 84 / 96], abs=0.05)


def test_all_cores_and_one_order():
    threads = torch.get_num_threads()
    found = in_parallel(lambda n: (n, torch.get_num_threads()), range(20))
    assert list(found) == [(n, 1) for n in range(20)]
    assert torch.get_num_threads() == threads
    with pytest.raises(ZeroDivisionError):
        list(in_parallel(lambda n: 1 / n, range(3)))
    assert torch.get_num_threads() == threads


def test_words():
    assert Copy(0, 1, (0.5, 0.5, 1.0, 1.0), False, 0.0, 2.0, 0.9, 0.9).words == "the same picture"
    assert Copy(0, 1, (0.5, 0.5, 0.8, 0.8), True, -1.26, 2.0, 0.9, 0.9).words == "mirrored, cropped, 1.3 s apart"


def test_pairs_that_are_only_as_alike_as_others_are_no_copies() -> None:
    def pair(first: int, second: int, motion: float) -> Copy:
        return Copy(first, second, (0.5, 0.5, 1.0, 1.0), False, 0.0, 2.0, motion, 0.9)

    alone, clear = pair(0, 1, 0.6), pair(2, 3, 0.9)
    walkers = [pair(4, 5, 0.6), pair(5, 6, 0.62), pair(4, 6, 0.57)]
    weak_beside_clear, far_behind = pair(3, 7, 0.6), pair(0, 8, 0.47)
    found = list(_distinct([alone, clear, *walkers, weak_beside_clear, far_behind]))
    assert found == [alone, clear]
