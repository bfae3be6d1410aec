"""One server for all tests that need no special one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.helpers import Running, running
from tests.tiny import tiny_classifier, write_video
from videoswin.serve.models import Models, ServedModel


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """For the processes of servers: the models are so small that a second thread does nothing but wait for the first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    classifier = tiny_classifier()
    classifier.save(folder)
    return Models({"tiny": ServedModel(classifier, str(folder))})


@pytest.fixture(scope="session")
def server(models: Models) -> Iterator[Running]:
    with running(models, streams=2, jobs=2) as found:
        yield found


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mp4")
