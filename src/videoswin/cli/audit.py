"""``videoswin audit``: what is wrong with a set of clips, before a model is trained on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, SOME_UNREADABLE, add_row, counted, say, show, steps, table

if TYPE_CHECKING:
    from videoswin.audit.findings import Findings

__all__ = ["audit"]

_MOST = 20


def audit(
    data: Annotated[Path, Parameter(name="DATA")],
    /,
    *,
    weights: Annotated[str | None, Parameter(metavar="CHECKPOINT")] = None,
    labels: Annotated[bool, Parameter(negative="--no-labels")] = True,
    features: Annotated[str | None, Parameter(metavar="FOLDER|ADDRESS")] = None,
    multi_label: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    report: Annotated[Path | None, Parameter(metavar="PAGE.html")] = None,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    limits: str | None = None,
    device: str = "auto",
) -> int:
    """Look for what makes a set of clips worse than it seems.

    Copies (encoded again, cropped, mirrored, beginning later), above all on both sides of a split or in two groups; one place on
    both sides where no groups are given; labels that are probably wrong; rare classes, odd lengths and rates; and what so few
    test clips can tell. Nothing is changed.

    For example:

        videoswin audit videos.csv --report audit.html
        videoswin audit videos/ --weights runs/mine/best --json

    Parameters
    ----------
    data
        A folder of class folders, or a CSV file with the columns path,label[,split,group,start,end].
    weights
        The checkpoint on whose features doubtful labels are found; by default the one that train starts from.
    labels
        Look for labels that are probably wrong.
    features
        What videoswin features wrote with the same checkpoint, a folder or an address such as s3://bucket/features: what is
        in it is not computed again. By default the cache.
    multi_label
        Take cells such as smile|talk for several labels of a clip, as train does. Doubtful labels are then not looked for.
    report
        Also write this page, with the pairs and the doubtful clips as moving thumbnails. It needs no network and runs no script.
    json_only
        Print one JSON object and nothing else: clips, lines, copies, places, doubts, odd, unreadable.
    limits
        What one file may cost: none, or limits such as seconds=50000,frames=100000,bytes=8e9,timeout=600 (docs/video.md).
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    """
    from videoswin.audit.findings import audit as look
    from videoswin.audit.page import write_audit_page
    from videoswin.data.annotations import read_index
    from videoswin.data.containers import Limits
    from videoswin.data.label_cells import LabelCells, SeveralLabelCells
    from videoswin.errors import ConfigError
    from videoswin.predict.evaluation_page import require_page
    from videoswin.predict.plain_text import json_text

    if weights is not None and not labels:
        raise ConfigError("--weights is what doubtful labels are found by; leave it or --no-labels out.")
    if features is not None and not labels:
        raise ConfigError("--features is what doubtful labels are found by; leave it or --no-labels out.")
    if report is not None:
        require_page(report)
    allowed = Limits.parse(limits or "")
    if weights is not None and multi_label:
        raise ConfigError("--weights is what doubtful labels are found by, and with --multi-label none are looked for.")
    index = read_index(data, cells=SeveralLabelCells() if multi_label else LabelCells())
    for note in index.notes:
        say(note)
    classifier = store = None
    if labels and multi_label:
        say("doubtful labels are not looked for where a clip may have several.")
    elif labels:
        from videoswin.classifier.device import choose_device
        from videoswin.classifier.loading import load
        from videoswin.features.folder import store_of_clips
        from videoswin.train.start import DEFAULT_START

        classifier = load(weights or DEFAULT_START)
        store = store_of_clips(features, classifier, notice=say) if features else None
        classifier.model.to(choose_device(device))
    with _Stages() as stages:
        found = look(index, classifier, allowed, stages.begin, store)
    if json_only:
        print(json_text(found.to_dict()))
    else:
        _show(found)
    if report is not None:
        write_audit_page(report, found, f"Audit of {data.name or data}", allowed)
        say(f"wrote {report}")
    return SOME_UNREADABLE if found.unreadable else DONE


class _Stages:
    """A progress bar for each stage of the work, one after the other."""

    def __init__(self) -> None:
        self._shown = None

    def __enter__(self) -> "_Stages":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._shown.__exit__(None, None, None)
            self._shown = None

    def begin(self, what: str, total: int):
        self.__exit__()
        self._shown = steps(total, what)
        return self._shown.__enter__()


def _show(found: "Findings") -> None:
    from videoswin.data.clips import names_of

    names = names_of(found.rows)
    for line in found.lines:
        show(line)
    if found.copies:
        show()
        pairs = table("first", "second", "what", "agreement", "", right=["agreement"])
        for copy in sorted(found.copies, key=lambda c: not found.crosses(c))[:_MOST]:
            add_row(
                pairs,
                names[copy.first],
                names[copy.second],
                copy.words,
                f"{copy.motion:.2f}",
                "in two splits or groups" if found.crosses(copy) else "",
            )
        show(pairs)
        _more(len(found.copies), "pair")
    if found.doubts:
        show()
        doubted = table("clip", "label", "rather", "score", right=["score"])
        for doubt in found.doubts[:_MOST]:
            add_row(doubted, names[doubt.number], doubt.label, doubt.other, f"{doubt.score:.2f}")
        show(doubted)
        _more(len(found.doubts), "label")
    for number, why in found.unreadable:
        say(f"{found.rows[number].path}: {why}")
    if not (found.lines or found.copies or found.doubts):
        show("nothing stands out")


def _more(count: int, noun: str) -> None:
    if count > _MOST:
        show(f"and {counted(count - _MOST, f'more {noun}')}: --report and --json have all")
