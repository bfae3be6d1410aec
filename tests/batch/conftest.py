"""A batch that was left alone, to compare others with."""

from pathlib import Path

import pytest

from tests.batch.toy import run


@pytest.fixture(scope="package")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of 200 names, some of them bad. Read only."""
    path = tmp_path_factory.mktemp("batch") / "list.txt"
    path.write_text("".join(f"{'bad' if n % 17 == 5 else 'good'}-{n}.mp4\n" for n in range(200)))
    return path


@pytest.fixture(scope="package")
def undisturbed(names: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The batch that one worker made in peace. Read only."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run(names, out, workers=1)
    return out
