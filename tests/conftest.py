"""What every test relies on: one thread, its own random state, and hypothesis that draws the same cases each time."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("videoswin", deadline=None, max_examples=30, print_blob=True, derandomize=True, database=None)
settings.load_profile("videoswin")

# One thread a process: sums keep their order, so equal inputs give equal bits, and pytest -n does not oversubscribe.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def isolated_rng() -> Iterator[None]:
    """Every test starts from the same seeds and leaves no trace in the global generators."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])
    torch.set_rng_state(before[2])
