"""Where the time of a prediction went, as a person or a program reads it."""

import json
import sys
from typing import TYPE_CHECKING

from videoswin.cli.output import add_row, bar, counted, percent, show, table

if TYPE_CHECKING:
    from videoswin.predict.profile import Profile

__all__ = ["show_profile"]

_WHAT = {
    "open": "open, read all packets",
    "decode": "decode the frames that are needed",
    "resize": "resize them once for all views",
    "crop": "cut the views, normalise",
    "model": "the model",
    "waiting": "wait for a video to be read",
    "rest": "all else",
}


def show_profile(profile: "Profile", as_json: bool) -> None:
    """A table on stdout; or one JSON object as the last line of stderr, where it is in nobody's way."""
    if as_json:
        print(json.dumps({"profile": profile.to_dict()}), file=sys.stderr, flush=True)
        return
    where = f"reading, {counted(profile.readers, 'thread')}" if profile.readers else "reading"
    stages = table(where, "ms a video", "share", "bar", right=["ms a video", "share"])
    for stage in profile.stages():
        if stage.name == "model":
            add_row(stages, "")
            add_row(stages, "main thread")
        add_row(stages, f"  {_WHAT[stage.name]}", f"{stage.ms:.1f}", percent(stage.share), bar(min(1.0, stage.share)))
    show()
    show(stages)
    rate = profile.videos / profile.wall_s if profile.wall_s else 0.0
    show(f"{counted(profile.videos, 'video')} in {profile.wall_s:.2f} s, {rate:.2f} a second; shares are of that time")
