"""``videoswin explain``: which frames and places made an answer."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from videoswin.cli.output import DONE, percent, say, show, steps

__all__ = ["explain"]

_SHARE, _SEEDS = 0.2, 8


def explain(
    file: Annotated[str, Parameter(name="FILE")],
    /,
    *,
    weights: Annotated[str, Parameter(metavar="CHECKPOINT")],
    out: Path | None = None,
    label: str | None = None,
    method: Literal["occlusion", "gradient"] = "occlusion",
    stage: int = 1,
    json_only: Annotated[bool, Parameter(name="--json", negative="", show_default=False)] = False,
    limits: str | None = None,
    device: str = "auto",
) -> int:
    """Show which frames and places of a video made the answer, and check it.

    Boxes of the clip are hidden, and the model looks again, 261 times. The check takes the strongest fifth of the places out of
    the clip, and does the same with places drawn at random and with the middle: if these cost the same, the map says nothing.

    For example:

        videoswin explain clip.mp4 --weights runs/mine/best --out why/
        videoswin explain clip.mp4 --weights runs/mine/best --label "second best"

    Parameters
    ----------
    file
        A video; its middle clip is looked at.
    weights
        A checkpoint: a folder, or a name that videoswin models lists.
    out
        Write explain.png (a sheet of frames), explain.mp4 and explain.json into this folder.
    label
        What to look for evidence of; by default the best label.
    method
        occlusion: by hiding boxes. gradient: from one pass; quick, and with --stage 4 the sum of the answer, but worse.
    stage
        Whose grid of tokens, from 1, the finest. By gradient: whose map; earlier ones are estimates.
    json_only
        Print one JSON object and nothing else.
    limits
        What the file may cost: none, or limits such as seconds=50000,timeout=600 (docs/video.md).
    device
        auto (a GPU if there is one), cpu, cuda, cuda:1 and so on.
    """
    from videoswin.classifier.device import choose_device
    from videoswin.classifier.loading import load
    from videoswin.data.containers import Limits
    from videoswin.data.decode import open_video
    from videoswin.data.preprocessing import Views
    from videoswin.explain.evidence import find_evidence, strongest_box
    from videoswin.explain.occlusion import PASSES, occlusion_evidence
    from videoswin.explain.perturb import centre_map, random_map, score_without
    from videoswin.explain.pictures import seen_frames, write_sheet, write_video
    from videoswin.predict.plain_text import json_text
    from videoswin.storage.atomic import replace_file
    from videoswin.storage.outputs import PICTURE, RECORDING, Kind, require_writable_output

    allowed = Limits.parse(limits or "")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        texts = Kind("what videoswin explain wrote", (b"{",), mark=b'"evidence_frames"')
        for name, kind in (("explain.png", PICTURE), ("explain.mp4", RECORDING), ("explain.json", texts)):
            require_writable_output(out / name, kind, inputs=[file])
    classifier = load(weights)
    classifier.model.to(choose_device(device))
    with open_video(file, limits=allowed) as video:
        batch = classifier.preprocessing.views(video, Views())
    clip, times = batch.clips[0], batch.times[0]
    if method == "occlusion":
        with steps(PASSES, "Looking without") as step:
            found = occlusion_evidence(classifier, clip, label, stage, step=step)
    else:
        found = find_evidence(classifier, clip, label, stage)
    box = strongest_box(classifier, found)
    without = score_without(classifier, clip, found, found.signed, _SHARE)
    others = [score_without(classifier, clip, found, random_map(found, seed), _SHARE) for seed in range(_SEEDS)]
    chance = sum(others) / len(others)
    middle = score_without(classifier, clip, found, centre_map(found), _SHARE)
    report = {
        "path": file,
        "checkpoint": classifier.name,
        "label": found.label,
        "score": round(found.score, 6),
        "method": found.method,
        "stage": found.stage,
        "grid": list(found.signed.shape),
        "times_s": [round(t, 3) for t in times.tolist()],
        "evidence_frames": [round(share, 6) for share in found.frames.tolist()],
        "box": {
            "from_s": round(float(times[box.frames[0]]), 3),
            "to_s": round(float(times[box.frames[1] - 1]), 3),
            "rows": list(box.rows),
            "columns": list(box.columns),
            "share": round(box.share, 4),
        },
        "check": {
            "share_taken_out": _SHARE,
            "score_without_evidence": round(without, 6),
            "score_without_random": round(chance, 6),
            "score_without_middle": round(middle, 6),
            "random_draws": _SEEDS,
        },
    }
    if json_only:
        print(json_text(report))
    else:
        best = times[int(found.frames.argmax())]
        show(f"{file}: {found.label} {percent(found.score)}, most of it at {float(best):.2f} s")
        show(
            f"without the strongest fifth of the places: {percent(without)}; without a random fifth: {percent(chance)}; "
            f"without the middle fifth: {percent(middle)}"
        )
    if without >= chance:
        say("the check fails: these places count no more than random ones, so the map explains nothing here.")
    elif without >= middle:
        say("taking the middle of the clip out costs as much: the map says no more than that the middle counts.")
    if out is not None:
        frames = seen_frames(clip, classifier.preprocessing)
        with replace_file(out / "explain.png") as new:
            write_sheet(new, frames, found, box, times)
        with replace_file(out / "explain.mp4") as new:
            write_video(new, frames, found, box)
        with replace_file(out / "explain.json") as new:
            new.write_text(json_text(report, indent=1) + "\n", encoding="utf-8")
        say(f"wrote explain.png, .mp4 and .json to {out}")
    return DONE
