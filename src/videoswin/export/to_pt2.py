"""PyTorch's own packages: an exported program, or native code made from it by AOTInductor."""

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from videoswin.errors import ConfigError
from videoswin.export.formats import Precision
from videoswin.export.libraries import quiet
from videoswin.export.program import Program
from videoswin.export.runtime.metadata import Metadata
from videoswin.export.runtime.pt2 import EXTRA_FILE, this_machine

__all__ = ["build_aot", "build_torch_export"]


def build_torch_export(program: Program, _: Precision) -> Callable[[Path, Metadata], None]:
    """The exported program as it is; PyTorch runs it, or compiles it further."""

    def save(path: Path, metadata: Metadata) -> None:
        package = io.BytesIO()  # PyTorch's own file writer ends the process when the disk is full (2.13)
        with quiet():
            torch.export.save(program.exported, package, extra_files={EXTRA_FILE: metadata.to_json()})
        path.write_bytes(package.getbuffer())

    return save


def build_aot(program: Program, _: Precision) -> Callable[[Path, Metadata], None]:
    """Native code for this machine's processor.

    Raises:
        ConfigError: the C++ compiler failed.
    """
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.exc import CppCompileError

    with tempfile.TemporaryDirectory(prefix="videoswin-aot-") as folder, quiet():
        package = Path(folder) / "model.pt2"
        try:
            aoti_compile_and_package(program.exported, package_path=str(package))
        except CppCompileError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"The C++ compiler failed ({reason}). Use to=torch-export.") from error
        code = package.read_bytes()

    def save(path: Path, metadata: Metadata) -> None:
        metadata = metadata.with_making(machine=this_machine())
        path.write_bytes(code)
        with zipfile.ZipFile(path, "a") as archive:
            root = archive.namelist()[0].split("/")[0]
            archive.writestr(f"{root}/extra/{EXTRA_FILE}", metadata.to_json())

    return save
