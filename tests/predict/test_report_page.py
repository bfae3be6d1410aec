import base64
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from tests.tiny import tiny_classifier, write_video
from videoswin.classifier.classifier import Classifier
from videoswin.data.preprocessing import Views
from videoswin.errors import ConfigError, VideoError
from videoswin.predict.report_page import FILM_FRAMES, Report
from videoswin.predict.results import Failure
from videoswin.predict.scoring import predict

EVIL = "<img src=x onerror=alert(1)> & 'co'.mp4"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return tiny_classifier(labels=("clap", "<b>nod</b>", "wave"))


@pytest.fixture(scope="module")
def page(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("report")
    evil = write_video(root / EVIL)
    report = Report(classifier, root / "out.html")
    report.add(predict(classifier, evil, "2x3", film=FILM_FRAMES))
    report.add(Failure(str(root / "<script>.mp4"), Views(2, 3), VideoError("x", "it is <i>broken</i>")))
    report.write()
    assert "<script>" not in (root / "out.html").read_text(encoding="utf-8")
    return report.render(datetime(2026, 2, 3, 4, 5, tzinfo=UTC))


def test_names_are_text_and_never_tags(page: str) -> None:
    parsed = Page(page)
    assert EVIL in parsed.text
    assert "<script>.mp4" in parsed.text
    assert "it is <i>broken</i>" in parsed.text
    assert "<b>nod</b>" in parsed.text
    assert not parsed.all("script")
    assert not parsed.all("b")
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)


def test_the_page_stands_alone(page: str) -> None:
    parsed = Page(page)
    policies = [m["content"] for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policies
    assert "default-src 'none'" in str(policies[0])
    assert not parsed.all("link")
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in parsed.all("img"))
    assert not re.search(r"https?://|url\(", page)


def test_frames_are_pictures_with_times(page: str) -> None:
    images = Page(page).all("img")
    assert len(images) == FILM_FRAMES
    data = base64.b64decode(str(images[0]["src"]).partition(",")[2])
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (64, 48)
    assert images[0]["alt"] == "Frame at 0.17 s"


def test_the_facts_are_there(page: str, classifier: Classifier) -> None:
    text = " ".join(Page(page).text.split())
    for fact in ("tiny", f"{classifier.num_parameters:,}", "8 frames of 32 × 32 px", "2x3", "2026-02-03 04:05"):
        assert fact in text
    assert "2 videos, 1 of them unreadable" in text
    assert "2.00 s long, looked at 0.17 to 1.67 s" in text
    assert len(re.findall(r"\d+\.\d %", text)) == 3


def test_none_of_these_is_said(tmp_path: Path) -> None:
    classifier = tiny_classifier()
    classifier.none_threshold = 1.0
    report = Report(classifier, tmp_path / "r.html")
    report.add(predict(classifier, write_video(tmp_path / "v.mp4")))
    assert "none of these" in Page(report.render()).text


def test_an_undecodable_name_does_not_cost_the_report(classifier: Classifier, tmp_path: Path) -> None:
    report = Report(classifier, tmp_path / "r.html")
    report.add(Failure("caf\udce9.mp4", Views(), VideoError("x", "y")))
    report.write()
    assert (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_is_told_first(classifier: Classifier, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "r.html"):
        with pytest.raises(ConfigError, match="cannot be written there"):
            Report(classifier, path)
