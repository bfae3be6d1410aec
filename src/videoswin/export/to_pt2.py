"""PyTorch's own packages: an exported program, or native code made from it by AOTInductor."""

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from videoswin.errors import ConfigError
from videoswin.export.program import Program
from videoswin.export.runtime.metadata import Metadata
from videoswin.export.runtime.pt2 import EXTRA_FILE, this_machine
from videoswin.export.silenced import quiet

__all__ = ["build_aot", "build_torch_export"]


def build_torch_export(program: Program, _: str) -> Callable[[Path, Metadata], None]:
    """The exported program as it is; PyTorch runs it, or compiles it further."""

    def save(path: Path, metadata: Metadata) -> None:
        with quiet():
            torch.export.save(program.exported, path, extra_files={EXTRA_FILE: metadata.to_json()})

    return save


def build_aot(program: Program, _: str) -> Callable[[Path, Metadata], None]:
    """Native code for this machine's processor.

    Raises:
        ConfigError: there is no C++ compiler, or it failed.
    """
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError):
        raise ConfigError(_NO_COMPILER) from None
    if shutil.which(get_cpp_compiler()) is None:
        raise ConfigError(_NO_COMPILER)
    with tempfile.TemporaryDirectory(prefix="videoswin-aot-") as folder, quiet():
        package = Path(folder) / "model.pt2"
        try:
            aoti_compile_and_package(program.exported, package_path=str(package))
        except CppCompileError as error:
            raise ConfigError(f"The C++ compiler failed ({str(error).splitlines()[0]}). Use to=torch-export.") from None
        code = package.read_bytes()

    def save(path: Path, metadata: Metadata) -> None:
        metadata = replace(metadata, machine=this_machine())
        path.write_bytes(code)
        with zipfile.ZipFile(path, "a") as archive:
            root = archive.namelist()[0].split("/")[0]
            archive.writestr(f"{root}/extra/{EXTRA_FILE}", metadata.to_json())

    return save


_NO_COMPILER = "to=aot compiles C++ and there is no compiler here. Install one (apt install g++), or set CXX; or use to=torch-export."
