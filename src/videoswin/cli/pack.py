"""``videoswin pack``: clips encoded anew, once, so that training reads them fast."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from videoswin.cli.output import DONE, SOME_UNREADABLE, add_row, counted, say, show, steps, table

__all__ = ["pack"]


def pack(
    data: Annotated[Path, Parameter(name="DATA")],
    /,
    *,
    out: Path,
    short_side: int = 256,
    key_every: int = 8,
    quality: int = 18,
    limits: str | None = None,
    skip_bad: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Encode labelled videos anew, once, so that training reads them fast.

    Each video is resized to what training looks at, with a key frame every few frames; frame counts, times and some of the
    frames are compared with the original. OUT then holds the videos and a labels.csv: train on it as on DATA. A second run
    goes on where the first one stopped.

    For example:

        videoswin pack videos.csv --out packed/
        videoswin train packed/ --out runs/mine

    Parameters
    ----------
    data
        A folder of class folders, or a list in any of the forms that train takes.
    out
        The folder to write: a new one, or one that an earlier run began.
    short_side
        Pixels of the shorter side; smaller videos keep their size. Training crops 7/8 of it.
    key_every
        Frames from one key frame to the next.
    quality
        x264's CRF: 0 loses nothing, 18 is hard to see, 23 usual.
    limits
        What one file may cost: none, or limits such as seconds=50000,frames=100000,bytes=8e9,timeout=600 (docs/video.md).
    skip_bad
        Leave out videos that cannot be decoded, and list them, instead of stopping at the end without a list.
    """
    from videoswin.data.annotations import read_index
    from videoswin.data.containers import Limits
    from videoswin.data.label_cells import WholeCells
    from videoswin.data.pack import PackSettings
    from videoswin.data.pack_list import pack_list

    settings, allowed = PackSettings(short_side, key_every, quality), Limits.parse(limits or "")
    index = read_index(data, cells=WholeCells())
    for note in index.notes:
        say(note)
    files = len({row.path for row in index.rows})
    with steps(files, "Packing") as step:
        result = pack_list(index, out, settings, allowed, skip_bad, lambda error: say(f"left out: {error}"), step)
    summary = table("what", "figure", right=["figure"], header=False)
    add_row(summary, "videos", f"{result.videos:,}")
    add_row(summary, "of them packed before", f"{result.before:,}")
    if result.packed:
        add_row(summary, "MB before and after", f"{result.bytes_in / 1e6:.1f} -> {result.bytes_out / 1e6:.1f}")
        add_row(summary, "worst frame", f"{result.psnr:.1f} dB")
    show(summary)
    if result.bad:
        say(f"{counted(len(result.bad), 'video')} left out, listed above.")
    show(f"Train on it:  videoswin train {out} --out runs/mine")
    return SOME_UNREADABLE if result.bad else DONE
