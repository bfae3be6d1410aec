"""``.pt2`` packages, run by PyTorch: exported programs and native code of AOTInductor.

Both are programs. Native code is just that; and ``torch.export.load`` unpickles parts of the package without the
``weights_only`` guard and evaluates expressions in it, so that its own documentation says never to load one from an
untrusted source. Callers ask for trust first (:func:`videoswin.export.runtime.load_exported`). What this file can do without
running anything, it does before: the metadata is read as a plain entry of the zip archive and checked.
"""

import platform
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from videoswin.errors import WeightsError
from videoswin.export.runtime.metadata import KEY, Metadata

__all__ = ["EXTRA_FILE", "PT2Runtime", "open_pt2", "read_pt2_metadata", "this_machine"]

EXTRA_FILE = f"{KEY}.json"
_MAX_BYTES = 16 * 2**20
_DAMAGED = "Copy it again, or export the checkpoint again"


class PT2Runtime:
    """A package, loaded: a function from clips to logits."""

    def __init__(self, path: Path, metadata: Metadata, function: Callable[[Tensor], Tensor]) -> None:
        self.title = f"torch {torch.__version__}"
        self.metadata = metadata
        self._path = path
        self._function = function

    def run(self, clips: Tensor) -> Tensor:
        """float32 (B, 3, T, H, W) -> logits (B, num_classes)."""
        try:
            with torch.inference_mode():
                return self._function(clips).float()
        except RuntimeError as error:
            raise WeightsError(self._path, f"PyTorch failed while running it ({error})", _DAMAGED) from error


def open_pt2(path: Path) -> PT2Runtime:
    """Run what is in the package; only for files that the user trusts.

    Raises:
        WeightsError: it is damaged, not made by videoswin, or native code for another processor.
    """
    metadata = read_pt2_metadata(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns about its own deprecated calls
            if metadata.made.to == "aot":
                _require_this_machine(path, metadata)
                from torch._inductor import aoti_load_package

                return PT2Runtime(path, metadata, aoti_load_package(str(path)))  # type: ignore[arg-type]
            return PT2Runtime(path, metadata, torch.export.load(path).module())  # type: ignore[arg-type]
    except (RuntimeError, ValueError, KeyError, OSError, AssertionError) as error:
        raise WeightsError(path, f"PyTorch cannot load it ({error})", _DAMAGED) from error


def read_pt2_metadata(path: Path) -> Metadata:
    """The metadata of a package; nothing in it is run.

    Raises:
        WeightsError: it is no package, or not made by videoswin.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(f"/extra/{EXTRA_FILE}")]
            if len(names) != 1:
                return Metadata.from_json(path, None)
            if archive.getinfo(names[0]).file_size > _MAX_BYTES:
                raise WeightsError(path, f"its metadata has more than {_MAX_BYTES:,} bytes", _DAMAGED)
            return Metadata.from_json(path, archive.read(names[0]).decode("utf-8"))
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, OSError) as error:
        raise WeightsError(path, f"it is damaged, or no package of PyTorch ({error})", _DAMAGED) from error


def this_machine() -> dict[str, str]:
    """What native code depends on."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def _require_this_machine(path: Path, metadata: Metadata) -> None:
    """A processor without the instructions would kill the process without a word."""
    for name, here in this_machine().items():
        made_for = metadata.made.machine.get(name, "unknown")
        if made_for != here:
            reason = f"its native code was compiled for {name} {made_for}, and this is {here}"
            raise WeightsError(path, reason, "Export the checkpoint again on this machine")
