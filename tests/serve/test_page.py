"""The page in Chromium, with a camera that plays a real clip. Slow: a browser starts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.browser import chromium, write_camera_file
from tests.serve.helpers import Running, running
from tests.tiny import tiny_classifier, write_video
from videoswin.classifier.bundled import sample_videos
from videoswin.classifier.loading import load
from videoswin.serve.models import Models, ServedModel
from videoswin.train import start

pytestmark = pytest.mark.slow
NAME = "swin3d_micro_gestures"


@pytest.fixture(scope="module")
def bundled() -> Iterator[Running]:
    with running(Models({NAME: ServedModel(load(NAME), NAME)})) as found:
        yield found


@pytest.fixture(scope="module")
def page(bundled: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    clip = next(path for path in sample_videos() if "circle" in path.name)
    with chromium(write_camera_file(clip, tmp_path_factory.mktemp("camera") / "camera.y4m")) as browser:
        made = browser.new_page()
        made.complaints = []
        made.on("console", lambda message: made.complaints.append(message.text))
        made.on("pageerror", lambda error: made.complaints.append(str(error)))
        made.goto(f"http://127.0.0.1:{bundled.port}/")
        made.wait_for_selector("body[data-ready]")
        yield made


def test_a_sample_gets_its_label_and_its_timeline(page: Any) -> None:
    page.click("#samples button >> text=circle")
    page.wait_for_selector("#downloads:not([hidden])", timeout=60_000)
    assert page.inner_text("#answer").startswith("circle_ccw")
    assert "circle_ccw" in page.inner_text("#segments")
    with page.expect_download() as given:
        page.click("#downloads button >> text=CSV")
    assert Path(given.value.path()).read_text().startswith("start_s,end_s,label,score")


def test_a_dropped_file_that_is_no_video_is_told_in_words(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("this is no video " * 100)
    page.set_input_files("#file", path)
    page.wait_for_selector("#error:not([hidden])")
    assert "text file" in page.inner_text("#error")


def test_tabs_follow_the_keyboard(page: Any) -> None:
    page.focus("#tab-video")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#tab-camera", "aria-selected") == "true"
    assert page.is_visible("#camera-panel")
    assert not page.is_visible("#video-panel")


def test_the_camera_is_seen(page: Any) -> None:
    page.click("#tab-camera")
    page.click("#camera-start")
    page.wait_for_selector("#events li >> text=circle_ccw", timeout=60_000)
    assert "ms" in page.inner_text("#latency")
    page.click("#camera-start")
    assert page.inner_text("#camera-state") == "The camera is off."


def test_a_correction_goes_to_the_name_that_was_chosen(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when names were added after the training, which stand before "none of these"."""
    tiny_classifier().save(tmp_path / "tiny")
    monkeypatch.setattr(start, "DEFAULT_START", str(tmp_path / "tiny"))
    clips = [write_video(tmp_path / f"{number}.mp4", seed=number) for number in range(6)]
    page.click("#tab-teach")
    for place, name in enumerate(("one", "two")):
        page.fill(f"#classes > :nth-child({place + 1}) input[type=text]", name)
        page.set_input_files(f"#classes > :nth-child({place + 1}) input[type=file]", clips[3 * place : 3 * place + 3])
    page.click("#train:enabled")
    page.wait_for_selector("#taught:not([hidden])", timeout=120_000)
    page.set_input_files("#try-file", clips[0])
    page.wait_for_selector("#correct:not([hidden])")
    page.select_option("#correct-label", "none of these")
    page.click("#add-class")
    page.fill("#classes > :nth-child(3) input[type=text]", "three")
    page.press("#classes > :nth-child(3) input[type=text]", "Tab")
    assert page.locator("#correct-label option").all_inner_texts() == ["one", "two", "three", "none of these"]
    page.click("#correct-add")
    page.wait_for_selector("#classes > [data-none] >> text=1 clip")


def test_the_api_is_described_to_who_has_a_token(page: Any) -> None:
    """A plain link would send none; the page asks for the file as it asks for everything."""
    with page.expect_download() as waiting:
        page.click("#api")
    assert waiting.value.suggested_filename == "videoswin-openapi.json"


def test_nothing_is_fetched_from_elsewhere_and_nothing_is_complained_about(page: Any, bundled: Running) -> None:
    hosts = page.evaluate("performance.getEntriesByType('resource').map((e) => new URL(e.name).host)")
    assert {host for host in hosts if host} == {f"127.0.0.1:{bundled.port}"}
    assert [text for text in page.complaints if "422" not in text] == []
