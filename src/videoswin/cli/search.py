"""``videoswin search``: clips and moments that look like one at hand."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, add_row, say, say_error, show, table

__all__ = ["search"]


def search(
    query: Annotated[str, Parameter(name="QUERY")],
    /,
    *,
    features: Annotated[str, Parameter(name="--in", metavar="FOLDER|ADDRESS")],
    weights: Annotated[str | None, Parameter(metavar="CHECKPOINT")] = None,
    top_k: int = 12,
    stage: int | None = None,
    report: Path | None = None,
    json_lines: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    limits: str | None = None,
    device: str = "auto",
) -> int:
    """Find what looks like a video among the features of others.

    In long videos (videoswin features --stride) it finds moments. The query itself is left out.

    For example:

        videoswin features clips/ --weights runs/mine/best --out features/
        videoswin search clip.mp4 --in features/ --weights runs/mine/best --report found.html

    Parameters
    ----------
    query
        A video; its middle clip is looked at.
    features
        What videoswin features wrote, with --pool mean: a folder, or an address such as s3://bucket/features.
    weights
        The checkpoint of the features; needed where the name that they hold means nothing here. Another one is refused.
    top_k
        How many to show.
    stage
        Whose features, of those that are there; by default the last.
    report
        Also write this web page of moving thumbnails.
    json_lines
        Print one JSON object a line and nothing else.
    limits
        What the query may cost: none, or limits such as seconds=50000,timeout=600 (docs/video.md).
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    """
    from videoswin.classifier.device import choose_device
    from videoswin.classifier.loading import load
    from videoswin.data.clips import Clip
    from videoswin.data.containers import Limits
    from videoswin.errors import ConfigError, VideoError
    from videoswin.features.clips import clip_features, mean_of
    from videoswin.features.folder import FeaturesFolder
    from videoswin.predict.plain_text import json_text
    from videoswin.search.index import FeatureIndex
    from videoswin.search.page import write_search_page
    from videoswin.storage.extras import require_extra
    from videoswin.storage.outputs import PAGE, require_writable_output

    require_extra("usearch", "search", "Searching needs")
    if top_k < 1:
        raise ConfigError(f"top_k={top_k} must be 1 or more.")
    if report is not None:
        require_writable_output(report, PAGE, inputs=[query])
    allowed = Limits.parse(limits or "")
    place = FeaturesFolder(features, notice=say)
    classifier = load(weights or place.settings["checkpoint"])
    place.require_of(classifier)
    classifier.model.to(choose_device(device))
    index = FeatureIndex(place, stage, notice=say)
    (found,) = clip_features(classifier, [Clip(Path(query).absolute(), "")], limits=allowed)
    if isinstance(found, VideoError):
        raise found
    hits = index.nearest(mean_of(found, index.stage).numpy(), top_k, without=Path(query).absolute())
    if json_lines:
        for hit in hits:
            print(json_text(hit._asdict()), flush=True)
    else:
        rows = table("similarity", "label", "file", "from", "to", right=["similarity", "from", "to"])
        for hit in hits:
            end = "end" if hit.end_s is None else f"{hit.end_s:.2f}"
            add_row(rows, f"{hit.similarity:.3f}", hit.label, hit.path, f"{hit.start_s:.2f}", end)
        show(rows)
    if report is not None:
        for error in write_search_page(report, query, hits, allowed):
            say_error(error)
        say(f"report written to {report}")
    return DONE
