"""The formats: ActivityNet, Label Studio, VIA 3, ELAN, BORIS, CreateML, WebVTT, FiftyOne. Each is a reader and a writer of tracks.

Times are kept to a millisecond, which is what ELAN and WebVTT can hold; frame numbers, where a format has them, come from the
times at which the frames are shown.
"""

import csv
import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from videoswin.data.segments.marks import mark_of
from videoswin.data.segments.safe import number, read_json, read_xml, text_of, wrong
from videoswin.data.segments.tables import kind_of_table, read_boris, read_createml, write_boris, write_createml
from videoswin.data.segments.tracks import Mark, Track, distinct_names, merged
from videoswin.errors import ConfigError

__all__ = ["FORMATS", "Format", "format_of"]

Tracks = Sequence[Track]


@dataclass(frozen=True)
class Format:
    """One way to write segments down."""

    name: str
    suffix: str
    read: Callable[[Path], list[Track]]
    write: Callable[[Tracks], str]
    fits: Callable[[Any], bool] = lambda content: False
    """Whether a JSON is of this format."""
    one_video: bool = False
    """A file of it is about one video."""


def _ms(seconds: float) -> float:
    return round(seconds, 3)


def _sorted(marks: list[Mark]) -> tuple[Mark, ...]:
    return tuple(sorted(marks, key=lambda mark: (mark.start_s, mark.end_s, mark.label)))


def _guarded(read: Callable[[Path], list[Track]]) -> Callable[[Path], list[Track]]:
    """Whatever a file lacks is an error about the file."""

    def guarded(path: Path) -> list[Track]:
        try:
            return [replace(track, marks=_sorted(list(track.marks))) for track in merged(read(path))]
        except ConfigError:
            raise
        except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, StopIteration, csv.Error) as error:
            raise wrong(path, f"it lacks what this format needs ({type(error).__name__}: {error})") from error

    return guarded


def _facts(path: Path, video: dict[str, Any]) -> tuple[float | None, float | None]:
    """(duration in seconds, frames a second), as far as they are known."""
    duration, fps = (
        None if video.get(name) is None else number(path, video[name], f"a {name}") for name in ("duration", "fps")
    )
    return duration, fps or None


# ActivityNet ----------------------------------------------------------------------------------------------------------


def _read_activitynet(path: Path) -> list[Track]:
    content = read_json(path)
    if "results" in content:
        return [
            Track(
                name,
                tuple(
                    mark_of(path, one["segment"][0], one["segment"][1], one["label"], one.get("score")) for one in found
                ),
            )
            for name, found in content["results"].items()
        ]
    tracks = []
    for name, video in content["database"].items():
        marks = tuple(
            mark_of(path, one["segment"][0], one["segment"][1], one["label"]) for one in video.get("annotations", [])
        )
        split = {"training": "train", "validation": "val", "testing": "test"}.get(s := str(video.get("subset", "")), s)
        tracks.append(Track(str(video.get("path") or name), marks, *_facts(path, video), split=split))
    return tracks


def _write_activitynet(tracks: Tracks) -> str:
    database = {
        name: {
            "path": track.path,
            "subset": track.split or "unlabeled",
            "duration": track.duration_s,
            "fps": track.fps,
            "annotations": [
                {"segment": [_ms(m.start_s), _ms(m.end_s)], "label": m.label, **_score(m)} for m in track.marks
            ],
        }
        for name, track in zip(distinct_names([t.path for t in tracks], "__"), tracks, strict=True)
    }
    return json.dumps({"version": "videoswin", "taxonomy": [], "database": database}, indent=1) + "\n"


def _score(mark: Mark) -> dict[str, float]:
    return {} if mark.score is None else {"score": round(mark.score, 6)}


# Label Studio ---------------------------------------------------------------------------------------------------------


def _read_label_studio(path: Path) -> list[Track]:
    tracks = []
    for task in read_json(path):
        video = str(next(v for k, v in task["data"].items() if k in ("video", "video_url")))
        marks = []
        found = [r for a in task.get("annotations") or task.get("predictions", []) for r in a["result"]]
        for result in found:
            value = result["value"]
            for label in value.get("timelinelabels", value.get("labels", [])):
                if "ranges" in value:  # frames, from 1
                    fps = number(path, task["data"].get("fps"), "the fps of a task with frame ranges")
                    marks += [mark_of(path, (r["start"] - 1) / fps, r["end"] / fps, label) for r in value["ranges"]]
                else:
                    marks.append(mark_of(path, value["start"], value["end"], label, result.get("score")))
        tracks.append(Track(video, tuple(marks), *_facts(path, task["data"])))
    return tracks


def _write_label_studio(tracks: Tracks) -> str:
    tasks = []
    for track in tracks:
        results = [
            {
                "id": f"{number_:06d}",
                "from_name": "label",
                "to_name": "video",
                "type": "labels",
                "value": {"start": _ms(m.start_s), "end": _ms(m.end_s), "labels": [m.label]},
                **_score(m),
            }
            for number_, m in enumerate(track.marks)
        ]
        data = {"video": track.path, "duration": track.duration_s, "fps": track.fps}
        tasks.append({"data": data, "predictions": [{"model_version": "videoswin", "result": results}]})
    return json.dumps(tasks, indent=1) + "\n"


# VIA 3 ----------------------------------------------------------------------------------------------------------------


def _read_via(path: Path) -> list[Track]:
    content = read_json(path)
    names = {view: content["file"][v["fid_list"][0]]["fname"] for view, v in content["view"].items()}
    marks: dict[str, list[Mark]] = {view: [] for view in names}
    for one in content["metadata"].values():
        times = one["z"]
        if len(times) < 2:
            continue  # a still, or a box in a frame
        labels = []
        for attribute, value in one["av"].items():
            options = content["attribute"][attribute].get("options", {})
            labels.append(options.get(value, value))
        marks[str(one["vid"])].append(mark_of(path, times[0], times[-1], labels[0]))
    return [Track(str(names[view]), tuple(found)) for view, found in marks.items()]


def _write_via(tracks: Tracks) -> str:
    labels = sorted({m.label for track in tracks for m in track.marks})
    numbers = {label: str(n) for n, label in enumerate(labels)}
    content: dict[str, Any] = {
        "project": {"pname": "videoswin", "data_format_version": "3.1.1", "vid_list": [str(n + 1) for n in range(len(tracks))]},
        "config": {},
        "attribute": {
            "1": {
                "aname": "label", "anchor_id": "FILE1_Z2_XY0", "type": 4, "desc": "",
                "options": {n: label for label, n in numbers.items()}, "default_option_id": "",
            }
        },
        "file": {}, "metadata": {}, "view": {},
    }  # fmt: skip
    for place, track in enumerate(tracks, 1):
        content["file"][str(place)] = {"fid": str(place), "fname": track.path, "type": 4, "loc": 1, "src": track.path}
        content["view"][str(place)] = {"fid_list": [str(place)]}
        for n, m in enumerate(track.marks):
            content["metadata"][f"{place}_{n:06d}"] = {
                "vid": str(place), "flg": 0, "z": [_ms(m.start_s), _ms(m.end_s)], "xy": [], "av": {"1": numbers[m.label]},
            }  # fmt: skip
    return json.dumps(content, indent=1) + "\n"


# ELAN -----------------------------------------------------------------------------------------------------------------


def _read_elan(path: Path) -> list[Track]:
    root = read_xml(path)
    if root.tag != "ANNOTATION_DOCUMENT":
        raise wrong(path, f"its first element is {root.tag[:40]}, not ANNOTATION_DOCUMENT")
    media = root.find("HEADER/MEDIA_DESCRIPTOR")
    video = "" if media is None else media.get("RELATIVE_MEDIA_URL") or media.get("MEDIA_URL") or ""
    # How much of the file lies before ELAN's time 0, where a file was aligned with others.
    offset = 0.0 if media is None else number(path, media.get("TIME_ORIGIN") or 0, "TIME_ORIGIN") / 1000
    header = root.find("HEADER")
    unit = 0.001 if header is None or header.get("TIME_UNITS", "milliseconds") == "milliseconds" else 0.0
    if not unit:
        raise wrong(path, "its times are not in milliseconds")
    slots = {s.get("TIME_SLOT_ID"): s.get("TIME_VALUE") for s in root.iterfind("TIME_ORDER/TIME_SLOT")}
    marks = []
    for one in root.iterfind("TIER/ANNOTATION/ALIGNABLE_ANNOTATION"):
        times = [slots.get(one.get(name, "")) for name in ("TIME_SLOT_REF1", "TIME_SLOT_REF2")]
        first, last = (number(path, time, "a time slot") * unit for time in times)
        value = one.findtext("ANNOTATION_VALUE") or ""
        if value.strip():  # ELAN keeps segments that have no text yet
            marks.append(mark_of(path, first + offset, last + offset, value))
    return [Track(video.removeprefix("file://").removeprefix("./"), tuple(marks))]


def _write_elan(tracks: Tracks) -> str:
    (track,) = tracks
    slots = [(round(1000 * time)) for m in track.marks for time in (m.start_s, m.end_s)]
    times = "".join(f'  <TIME_SLOT TIME_SLOT_ID="ts{n}" TIME_VALUE="{ms}"/>\n' for n, ms in enumerate(slots, 1))
    marks = "".join(
        f'  <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{n + 1}" TIME_SLOT_REF1="ts{2 * n + 1}" '
        f'TIME_SLOT_REF2="ts{2 * n + 2}"><ANNOTATION_VALUE>{escape(_plain(m.label))}</ANNOTATION_VALUE>'
        "</ALIGNABLE_ANNOTATION></ANNOTATION>\n"
        for n, m in enumerate(track.marks)
    )
    media = quoteattr(_plain(track.path))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ANNOTATION_DOCUMENT AUTHOR="videoswin" DATE="1970-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">\n'
        ' <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
        f'  <MEDIA_DESCRIPTOR MEDIA_URL={media} MIME_TYPE="video/mp4" RELATIVE_MEDIA_URL={media}/>\n </HEADER>\n'
        f" <TIME_ORDER>\n{times} </TIME_ORDER>\n"
        f' <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="label">\n{marks} </TIER>\n'
        ' <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>\n'
        "</ANNOTATION_DOCUMENT>\n"
    )


def _plain(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


# WebVTT ---------------------------------------------------------------------------------------------------------------

_CUE = re.compile(r"((?:\d+:)?\d{2}:\d{2}\.\d{3})[ \t]+-->[ \t]+((?:\d+:)?\d{2}:\d{2}\.\d{3})")
_PERCENT = re.compile(r"\s*\((\d{1,3}) %\)$")


def _read_webvtt(path: Path) -> list[Track]:
    head, *blocks = re.split(r"\n[ \t]*\n", text_of(path).replace("\r\n", "\n").replace("\r", "\n"))
    if not head.startswith("WEBVTT"):
        raise wrong(path, "it does not begin with WEBVTT")
    marks = []
    for block in blocks:
        lines = block.strip().split("\n")
        at = next((n for n, line in enumerate(lines[:2]) if "-->" in line), None)
        if at is None:
            continue  # a note, a style
        if not (times := _CUE.match(lines[at].strip())):
            raise wrong(path, f"a cue has the times {lines[at][:60]!r}")
        label = html.unescape(re.sub(r"<[^>]*>", "", " ".join(lines[at + 1 :])))
        marks.append(mark_of(path, _seconds(times[1]), _seconds(times[2]), _PERCENT.sub("", label)))
    video = re.search(r"^NOTE video: (.+)$", text_of(path), re.MULTILINE)
    return [Track(video[1].strip() if video else "", tuple(marks))]


def _write_webvtt(tracks: Tracks) -> str:
    (track,) = tracks
    cues = [f"WEBVTT\n\nNOTE video: {' '.join(track.path.split())}\n"]
    for n, m in enumerate(track.marks, 1):
        cues.append(
            f"{n}\n{_clock(m.start_s)} --> {_clock(m.end_s)}\n{html.escape(' '.join(m.label.split()), quote=False)}\n"
        )
    return "\n".join(cues)


def _seconds(text: str) -> float:
    *hours, minutes, seconds = text.split(":")
    thousandths = round(1000 * float(seconds)) + 60_000 * int(minutes) + 3_600_000 * int(hours[0] if hours else 0)
    return thousandths / 1000


def _clock(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


# FiftyOne -------------------------------------------------------------------------------------------------------------


def _read_fiftyone(path: Path) -> list[Track]:
    """``FiftyOneTemporalDetectionDataset``: labels.json beside the folder data/."""
    content = read_json(path)
    classes = content["classes"]
    tracks = []
    for name, found in content["labels"].items():
        marks = []
        for one in found or []:
            label = one["label"]
            if isinstance(label, int):
                if not 0 <= label < len(classes):
                    raise wrong(path, f'"{name}" has the label {label}, which is none of its {len(classes)} classes')
                label = classes[label]
            if "timestamps" not in one:
                raise wrong(path, f'"{name}" has frames and no times', "Export it with use_timestamps=True")
            marks.append(mark_of(path, one["timestamps"][0], one["timestamps"][1], label, one.get("confidence")))
        tracks.append(Track(name, tuple(marks)))
    return tracks


def _write_fiftyone(tracks: Tracks) -> str:
    classes = sorted({m.label for track in tracks for m in track.marks})
    labels = {
        name: [
            {
                "label": classes.index(m.label),
                "timestamps": [_ms(m.start_s), _ms(m.end_s)],
                **({} if m.score is None else {"confidence": round(m.score, 6)}),
            }
            for m in track.marks
        ]
        for name, track in zip(distinct_names([t.path for t in tracks], "/"), tracks, strict=True)
    }
    return json.dumps({"classes": classes, "labels": labels}, indent=1) + "\n"


def _read_timeline(path: Path) -> list[Track]:
    """timeline.json of ``videoswin timeline``."""
    content = read_json(path)
    marks = tuple(mark_of(path, m["start_s"], m["end_s"], m["label"], m["score"]) for m in content["segments"])
    return [Track(str(content["path"]), marks, number(path, content["duration_s"], "duration_s"))]


def _no_writer(tracks: Tracks) -> str:
    raise NotImplementedError


_TIMELINE = Format(
    "timeline",
    ".json",
    _guarded(_read_timeline),
    _no_writer,
    lambda c: isinstance(c, dict) and {"segments", "path"} <= c.keys(),
)
FORMATS = {
    f.name: f
    for f in (
        Format("activitynet", ".json", _guarded(_read_activitynet), _write_activitynet,
               lambda c: isinstance(c, dict) and ("database" in c or "results" in c)),
        Format("label-studio", ".json", _guarded(_read_label_studio), _write_label_studio,
               lambda c: isinstance(c, list) and bool(c) and isinstance(c[0], dict) and "data" in c[0]),
        Format("via", ".json", _guarded(_read_via), _write_via,
               lambda c: isinstance(c, dict) and {"file", "view", "metadata", "attribute"} <= c.keys()),
        Format("fiftyone", ".json", _guarded(_read_fiftyone), _write_fiftyone,
               lambda c: isinstance(c, dict) and {"classes", "labels"} <= c.keys()),
        Format("elan", ".eaf", _guarded(_read_elan), _write_elan, one_video=True),
        Format("webvtt", ".vtt", _guarded(_read_webvtt), _write_webvtt, one_video=True),
        Format("boris", ".csv", _guarded(read_boris), write_boris),
        Format("createml", ".csv", _guarded(read_createml), write_createml),
    )
}  # fmt: skip
"""By name."""


def format_of(path: Path) -> Format:
    """The format of a file, by its suffix and contents. Raises ConfigError."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = read_json(path)
        found = next((f for f in (*FORMATS.values(), _TIMELINE) if f.fits(content)), None)
    elif suffix in (".csv", ".tsv"):
        found = FORMATS["boris" if kind_of_table(text_of(path)) == "boris" else "createml"]
    else:
        found = next((f for f in FORMATS.values() if f.suffix == suffix), None)
    if found is None:
        raise wrong(path, "it is of no known format of segments", f"Known are: {', '.join(FORMATS)}")
    return found
