"""``videoswin annotations``: segments of one tool as those of another, and detections beside the truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from videoswin.cli.output import DONE, add_row, counted, percent, say, show, table

if TYPE_CHECKING:
    from videoswin.data.segments.tracks import Track

__all__ = ["annotations"]


def annotations(
    source: Annotated[Path, Parameter(name="IN")],
    out: Annotated[Path | None, Parameter(name="OUT")] = None,
    /,
    *,
    to: Literal["activitynet", "label-studio", "via", "fiftyone", "elan", "webvtt", "boris", "createml", "list"]
    | None = None,
    truth: Path | None = None,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
) -> int:
    """Turn segments of one tool into those of another, or see how good detections are.

    IN is ActivityNet's JSON, Label Studio's, VIA 3's or FiftyOne's, ELAN's .eaf, WebVTT, or a table of BORIS or CreateML;
    timeline.json of videoswin timeline is read as well. With --truth, IN are detections, and the mean average precision is
    given at temporal overlaps of .3 to .7, as ActivityNet defines it.

    For example:

        videoswin annotations project.eaf segments.json --to activitynet
        videoswin annotations found.json --truth truth.json

    Parameters
    ----------
    source
        The file to read.
    out
        The file to write; of formats that hold one video each (elan, webvtt), a folder.
    to
        The format of OUT. list is the CSV that train and evaluate read.
    truth
        Segments that people made, in any of the formats.
    json_only
        With --truth: print one JSON object and nothing else.
    """
    from videoswin.data.segments.formats import FORMATS
    from videoswin.data.segments.tracks import distinct_names
    from videoswin.errors import ConfigError, OutputError
    from videoswin.predict.plain_text import json_text
    from videoswin.predict.segment_metrics import detection_metrics, matched
    from videoswin.storage.atomic import replace_file

    if (out is None) == (truth is None) or (out is None) != (to is None):
        raise ConfigError("Give OUT with --to FORMAT to write segments, or --truth FILE to judge them.")
    tracks = _read(source)
    if truth is not None:
        found = detection_metrics(*matched(_read(truth), tracks))
        if json_only:
            rounded = {f"{t:g}": round(v, 4) for t, v in zip(found.thresholds, found.means, strict=True)}
            by_class = {name: [round(v, 4) for v in values] for name, values in found.by_class.items()}
            print(json_text({"map": rounded, "mean": round(found.mean, 4), "by_class": by_class}))
            return DONE
        columns = [f"IoU {threshold:g}" for threshold in found.thresholds]
        rows = table("class", *columns, right=columns)
        for name, values in (*found.by_class.items(), ("mean", found.means)):
            add_row(rows, name, *map(percent, values))
        show(rows)
        show(f"mean over the overlaps: {percent(found.mean)}")
        return DONE
    assert out is not None
    form = FORMATS.get(str(to))
    if out.exists() and not (form and form.one_video):
        raise OutputError(out, "there is a file already, and it is left alone", "Give another name, or remove it first")
    if form and form.one_video:
        out.mkdir(parents=True, exist_ok=True)
        for name, track in zip(distinct_names([track.path for track in tracks], "__"), tracks, strict=True):
            path = out / f"{name or source.stem}{form.suffix}"
            if path.exists():
                raise OutputError(path, "there is a file already, and it is left alone", "Give another folder")
            with replace_file(path) as new:
                new.write_text(form.write([track]), encoding="utf-8", newline="")
    else:
        text = form.write(tracks) if form else _list(tracks, source.resolve().parent, out.resolve().parent)
        with replace_file(out) as new:
            new.write_text(text, encoding="utf-8", newline="")
    count = sum(len(track.marks) for track in tracks)
    say(f"{counted(count, 'segment')} of {counted(len(tracks), 'video')} written to {out}")
    return DONE


def _read(path: Path) -> "list[Track]":
    """Tracks, with the times of their frames where the videos are at hand."""
    from dataclasses import replace

    from videoswin.data.decode import open_video
    from videoswin.data.segments.clips import find_video
    from videoswin.data.segments.formats import format_of
    from videoswin.errors import VideoError

    tracks = []
    for track in format_of(path).read(path):
        video = find_video(track.path, path.resolve().parent)
        if video is not None:
            try:
                with open_video(video) as opened:
                    info = opened.info
                    track = replace(track, duration_s=info.duration_s, fps=info.fps, times=opened.times.tolist())
            except VideoError as error:
                say(f"{error} Its frame numbers are not known.")
        tracks.append(track)
    return tracks


def _list(tracks: "list[Track]", theirs: Path, ours: Path) -> str:
    """``theirs``: the folder of the annotations, from where videos are found; ``ours``: that of the list."""
    import csv
    import io

    from videoswin.data.segments.clips import find_video

    def seen_from_here(track: "Track") -> str:
        video = find_video(track.path, theirs)
        if video is None or theirs == ours:
            return track.path
        video = video.resolve()
        return (video.relative_to(ours) if video.is_relative_to(ours) else video).as_posix()

    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["path", "label", "split", "start", "end"])
    for track in tracks:
        path = seen_from_here(track)
        writer.writerows([path, m.label, track.split, f"{m.start_s:.3f}", f"{m.end_s:.3f}"] for m in track.marks)
    return file.getvalue()
