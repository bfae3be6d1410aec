"""All that an audit finds, in the order in which it matters."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

from videoswin.audit.copies import Copy, find_copies
from videoswin.audit.facts import about_list, odd_ones
from videoswin.audit.labels import Doubt, Trial, doubts, fits, held_out_scores, trial
from videoswin.audit.scenes import joined, same_place
from videoswin.classifier.classifier import Classifier
from videoswin.data.clips import Clip, ClipList
from videoswin.data.containers import Limits
from videoswin.data.fingerprints import MAX_FRAMES, SIDE, Fingerprint, fingerprint
from videoswin.errors import VideoError
from videoswin.predict.batches import read_ahead
from videoswin.train.features import extract
from videoswin.train.footage import look_at
from videoswin.train.preferences import Preferences
from videoswin.train.way_of_looking import ways_to_try

__all__ = ["Findings", "audit"]

_DEFAULT = Limits()
_TWICE = 500  # clips are looked at in two ways for their labels' sake


@dataclass(frozen=True)
class Findings:
    """``rows``: all clips of the list. Numbers elsewhere are places in it. ``lines``: in words, what a person should know first."""

    rows: tuple[Clip, ...]
    labels: tuple[str, ...]
    lines: tuple[str, ...]
    copies: tuple[Copy, ...]
    places: tuple[tuple[int, ...], ...]
    """Clips of one place that stand in several splits, without a group that says so."""
    doubts: tuple[Doubt, ...] | None
    """None: not looked for."""
    trial: Trial | None
    """How far the doubts can be believed; None: not tried."""
    odd: tuple[tuple[int, str], ...]
    unreadable: tuple[tuple[int, str], ...]

    def crosses(self, copy: Copy) -> bool:
        """Whether a pair stands in two splits, or in two groups."""
        a, b = self.rows[copy.first], self.rows[copy.second]
        return a.split != b.split or (a.group != b.group and bool(a.group and b.group))

    def to_dict(self) -> dict[str, Any]:
        """What ``videoswin audit --json`` prints."""
        name = lambda number: str(self.rows[number].path)  # noqa: E731
        copies = []
        for copy in self.copies:
            values = {**asdict(copy), "first": name(copy.first), "second": name(copy.second)}
            copies.append({**values, "crosses": self.crosses(copy), "what": copy.words})
        doubted = None
        if self.doubts is not None:
            doubted = [{**asdict(d), "path": name(d.number)} for d in self.doubts]
            for one in doubted:
                del one["number"]
        return {
            "clips": len(self.rows),
            "lines": list(self.lines),
            "copies": copies,
            "places": [[name(n) for n in place] for place in self.places],
            "doubts": doubted,
            "trial": None if self.trial is None else self.trial._asdict(),
            "odd": [{"path": name(n), "why": why} for n, why in self.odd],
            "unreadable": [{"path": name(n), "why": why} for n, why in self.unreadable],
        }


def audit(
    index: ClipList,
    classifier: Classifier | None = None,
    limits: Limits = _DEFAULT,
    stage: Callable[[str, int], Callable[[], None]] = lambda what, total: lambda: None,
    features: Path | None = None,
) -> Findings:
    """Looks at all clips of a list.

    Args:
        classifier: its features are what doubtful labels are found by; None does not look for them.
        stage: told what begins and of how many steps; gives what is called after each of them.
        features: the store of the classifier's features; None is the cache.
    """
    rows = index.rows
    prints, unreadable = _prints(rows, limits, stage("Looking at clips", len(rows)))
    known = [n for n, one in enumerate(prints) if one is not None]
    films = [one.film for one in prints if one is not None]
    found = find_copies(films, stage("Searching for copies", len(films)))
    copies = [
        Copy(known[c.first], known[c.second], c.box, c.mirrored, c.delay_s, c.overlap_s, c.motion, c.still)
        for c in found
    ]
    broken = len(unreadable)
    lines = [f"{broken} clip{'s' * (broken > 1)} cannot be read."] if broken else []
    lines += _about_copies(rows, copies)
    places = _places(rows, index, [(known[a], known[b]) for a, b in same_place(films)])
    if places:
        named = len({n for place in places for n in place})
        lines.append(
            f"{named} clips of {len(places)} places stand in several splits: give the clips of a place one group."
        )
    odd_lines, odd = odd_ones(rows, prints)
    doubted = tried = None
    if classifier is not None and (why := _why_not(index.labels, len(known))):
        lines.append(f"Doubtful labels were not looked for: {why}.")
    elif classifier is not None:
        cluster = joined(len(rows), [(c.first, c.second) for c in copies])
        doubted, tried = _doubts(classifier, rows, index.labels, known, cluster, stage, features)
        lines.append(
            f"{len(doubted)} of {len(rows)} labels {'is' if len(doubted) == 1 else 'are'} doubtful.{_in_words(tried)}"
        )
    return Findings(
        rows=rows,
        labels=index.labels,
        lines=(*lines, *about_list(index), *odd_lines),
        copies=tuple(copies),
        places=tuple(places),
        doubts=None if doubted is None else tuple(doubted),
        trial=tried,
        odd=tuple(odd),
        unreadable=tuple(unreadable),
    )


def _prints(
    rows: Sequence[Clip], limits: Limits, step: Callable[[], None]
) -> tuple[list[Fingerprint | None], list[tuple[int, str]]]:
    def read(row: Clip, stop: Event | None) -> Fingerprint | VideoError:
        try:
            return fingerprint(row, limits, threads=1, stop=stop)
        except VideoError as error:
            return error

    prints: list[Fingerprint | None] = []
    unreadable = []
    for number, one in enumerate(read_ahead(read, rows, MAX_FRAMES * SIDE * SIDE)):
        if isinstance(one, VideoError):
            unreadable.append((number, f"{one.reason}. {one.hint}".strip()))
            prints.append(None)
        else:
            prints.append(one)
        step()
    return prints, unreadable


def _about_copies(rows: Sequence[Clip], copies: Sequence[Copy]) -> list[str]:
    if not copies:
        return []
    sure = sum(copy.sure for copy in copies)
    lines = [f"Copies of each other: {_pairs(sure)}."] if sure else []
    if sure < len(copies):
        lines.append(
            f"Perhaps copies: {_pairs(len(copies) - sure)}, or people who do the same in one place. Look before you act."
        )
    pairs = [(rows[c.first], rows[c.second]) for c in copies]
    if across := sum(a.split != b.split for a, b in pairs):
        lines.append(f"{across} of these pairs stand in two splits: figures on one of them look too good.")
    if apart := sum(bool(a.group and b.group and a.group != b.group) for a, b in pairs):
        lines.append(f"{apart} of these pairs stand in two groups, which folds take for apart.")
    if unlike := sum(set(a.classes) != set(b.classes) for a, b in pairs):
        lines.append(f"{unlike} of these pairs have different labels: one of them is wrong.")
    return lines


def _pairs(number: int) -> str:
    return "1 pair of clips" if number == 1 else f"{number} pairs of clips"


def _places(rows: Sequence[Clip], index: ClipList, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Clusters of clips without a group that stand in several splits."""
    loose = [(a, b) for a, b in pairs if not (rows[a].group or rows[b].group)]
    if not index.splits or not loose:
        return []
    clusters: dict[int, list[int]] = {}
    for number, place in enumerate(joined(len(rows), loose)):
        clusters.setdefault(place, []).append(number)
    sizes = Counter({place: len(found) for place, found in clusters.items()})
    chosen = [clusters[place] for place, _ in sizes.most_common()]
    return [tuple(found) for found in chosen if len({rows[n].split for n in found}) > 1]


def _doubts(
    classifier: Classifier,
    rows: Sequence[Clip],
    labels: Sequence[str],
    known: Sequence[int],
    cluster: Sequence[int],
    stage: Callable[[str, int], Callable[[], None]],
    store: Path | None,
) -> tuple[list[Doubt], Trial | None]:
    """Among the clips that can be read."""
    readable = [rows[n] for n in known]
    ways = _ways(classifier, readable)
    step = stage("Features", len(readable) * len(ways))
    looks = [extract(way, readable, store, step) for way in ways]
    together, step = [cluster[n] for n in known], stage("Fitting", 2 * fits(len(readable)))
    tried = trial(looks, readable, labels, together, step)
    found = doubts(held_out_scores(looks, readable, labels, together, step), readable, labels)
    return [Doubt(known[d.number], d.label, d.other, d.score, d.given) for d in found], tried


def _ways(classifier: Classifier, rows: Sequence[Clip]) -> list[Classifier]:
    """The classifier's own way to choose frames, and a quick part of each clip beside all of it, where training would choose
    between them: together they know more. One way is enough where clips are many."""
    if len(rows) > _TWICE:
        return [classifier]
    ways = ways_to_try(Preferences(), classifier.preprocessing, look_at(rows))
    return [Classifier(classifier.model, way, classifier.labels, classifier.name) for way in ways]


def _why_not(labels: Sequence[str], clips: int) -> str:
    if len(labels) < 2:
        return "there is one class"
    return "there are fewer than two clips a class" if clips < 2 * len(labels) else ""


def _in_words(tried: Trial | None) -> str:
    if tried is None:
        return " How far to believe that was not tried, with so few clips."
    return (
        f" To try it, {tried.changed} labels were changed on purpose: {tried.found} of them were named, and {tried.named - tried.found}"
        " others (your own mistakes among them)."
    )
