"""``videoswin demo``: the bundled classifier on the bundled clips, to see that everything works."""

from pathlib import Path

from videoswin.cli.output import DONE, FAILED, SOME_UNREADABLE, add_row, percent, progress, say, show, table
from videoswin.errors import ConfigError

__all__ = ["demo"]

CHECKPOINT = "swin3d_micro_gestures"


def demo(*, report: Path = Path("demo-report.html")) -> int:
    """Classify the clips that come with videoswin, and write a web page about them.

    For example:

        videoswin demo
        videoswin demo --report /tmp/demo.html

    Parameters
    ----------
    report
        Where to write the page.
    """
    from videoswin.classifier.bundled import sample_videos
    from videoswin.classifier.loading import load
    from videoswin.predict.report_page import FILM_FRAMES, Report
    from videoswin.predict.results import Failure
    from videoswin.predict.scoring import predict_many
    from videoswin.storage.outputs import PAGE, require_writable_output

    require_writable_output(report, PAGE)
    samples = sample_videos()
    if not samples:
        raise ConfigError("This installation holds no sample clips. Install videoswin again.")
    classifier = load(CHECKPOINT)
    page = Report(classifier, report)
    results = table("video", "label", "score", "time span", right=["score"])
    failed = 0
    for result in progress(predict_many(classifier, samples, film=FILM_FRAMES), len(samples), "Looking at videos"):
        page.add(result)
        if isinstance(result, Failure):
            failed += 1
            say(str(result.error))
            continue
        span = f"{result.span.start:.2f} to {result.span.end:.2f} s"
        score = percent(result.predictions[0].score)
        add_row(results, Path(result.path).name, result.label or "none of these", score, span)
    page.write()
    show(results)
    show()
    show(f"Frames and all scores: {report}")
    if failed:
        return FAILED if failed == len(samples) else SOME_UNREADABLE
    return DONE
