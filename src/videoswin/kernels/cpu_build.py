"""Compiles box_attention.c on the user's machine, keeps the library in the cache folder, and loads it from there.

Compiling takes about three seconds, once for each machine and release. What is loaded runs with all rights of the user. So
it is loaded only from a folder and a file that belong to this user and that nobody else can write, never through a link, and
only if its contents have the SHA-256 that its name states: a file that was cut off would end the process (SIGBUS).
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from videoswin.storage.atomic import replace_file
from videoswin.storage.cache import cache_folder

__all__ = ["library", "why_not"]

_SOURCE = Path(__file__).with_name("box_attention.c")
_FLAGS = ("-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
_COMPILE_TIMEOUT_S = 120
_NEXT = "VIDEOSWIN_CACHE can name another folder"

_log = logging.getLogger("videoswin.kernels")


class _Built(NamedTuple):
    library: ctypes.CDLL | None
    why_not: str


_built: _Built | None = None
_lock = Lock()


def library() -> ctypes.CDLL | None:
    """The compiled library, built when first asked for; None where it cannot be had (:func:`why_not` says why)."""
    return (_built or _build_once()).library


def why_not() -> str:
    """Why there is no compiled library here; empty if there is one."""
    return (_built or _build_once()).why_not


def _build_once() -> _Built:
    global _built
    with _lock:  # of several first forward passes, one compiles and the others wait
        if _built is None:
            _built = _build()
            if _built.library is None:
                _log.info("Attention on the CPU: the plain engine. There is no compiled one: %s.", _built.why_not)
        return _built


class _Refused(Exception):
    """Why something is not trusted or not possible; ends up in :func:`why_not`."""


def _build() -> _Built:
    try:
        file = _kept_library() or _compiled_library()
        loaded = ctypes.CDLL(os.fspath(file))
        loaded.box_attention.restype = ctypes.c_int
    except subprocess.CalledProcessError as error:
        return _Built(None, f"{error.cmd[0]} could not compile it ({' '.join(error.stderr.split())[:200]})")
    except subprocess.TimeoutExpired as error:
        return _Built(None, f"{error.cmd[0]} took longer than {_COMPILE_TIMEOUT_S} s")
    except (OSError, AttributeError) as error:  # not writable, no room, mounted "noexec", made for another system
        return _Built(None, f"it could not be kept or loaded ({error}); {_NEXT}")
    except _Refused as error:
        return _Built(None, str(error))
    _log.info("Attention on the CPU: the compiled engine, %s.", file)
    return _Built(loaded, "")


def _kept_library() -> Path | None:
    """The library from an earlier time, if it is there, whole, and nobody else's."""
    folder = _folder()
    if not folder.is_dir():
        return None
    _require_own(folder)
    for file in sorted(folder.glob(f"box_attention-{_fingerprint()}-*.so")):
        _require_own(file)
        if file.name == _name(file.read_bytes()):
            return file
        file.unlink()  # damaged
    return None


def _compiled_library() -> Path:
    """Compiled in a folder of its own, then put in its place in one step: another process finds all of it or nothing."""
    command = _compiler()
    if not command:
        raise _Refused("no C compiler was found (cc, or $CC)")
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _require_own(folder)
    with tempfile.TemporaryDirectory(dir=folder) as workshop:
        made = Path(workshop, "box_attention.so")
        arguments = [*command, *_FLAGS, os.fspath(_SOURCE), "-o", os.fspath(made), "-lm"]
        subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT_S)
        contents = made.read_bytes()
    target = folder / _name(contents)
    with replace_file(target) as new:
        new.write_bytes(contents)
    target.chmod(0o700)  # whatever the umask says; the folder is closed to others already
    return target


def _folder() -> Path:
    return Path(os.path.abspath(cache_folder())) / "engine"


def _name(contents: bytes) -> str:
    return f"box_attention-{_fingerprint()}-{hashlib.sha256(contents).hexdigest()}.so"


def _compiler() -> list[str]:
    """The command that compiles C, as words; empty if there is none. ``$CC`` may hold several, as "ccache gcc"."""
    try:
        words = shlex.split(os.environ.get("CC", "")) or ["cc"]
    except ValueError as error:
        raise _Refused(f"$CC cannot be read ({error})") from error
    found = shutil.which(words[0])
    return [found, *words[1:]] if found else []


def _fingerprint() -> str:
    """Of all that decides what is compiled: a home folder may be shared by machines of different kinds."""
    system = (platform.system(), platform.machine(), *platform.libc_ver(), _cpu_flags())
    parts = (_SOURCE.read_text(encoding="utf-8"), *_FLAGS, os.environ.get("CC", ""), *system)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cpu_flags() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return platform.processor()


# Whose files they are -------------------------------------------------------------------------------------------------------


def _require_own(path: Path) -> None:
    """Raises :class:`_Refused` unless ``path`` is this user's alone, and nobody else could put another in its place."""
    if not hasattr(os, "getuid"):
        raise _Refused("code is compiled at run time on Linux and macOS only")
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise _Refused(f"{path} is a link, and code is not loaded through one; {_NEXT}")
    if found.st_uid != os.getuid():
        raise _Refused(f"{path} belongs to another user, and code is not loaded from there; {_NEXT}")
    if found.st_mode & 0o022:
        raise _Refused(f"{path} can be written by others, and code is not loaded from there (chmod go-w); {_NEXT}")
    for parent in {*path.parents, *Path(os.path.realpath(path)).parents}:
        if not _only_ours(os.lstat(parent)):
            raise _Refused(
                f"{parent}, above {path.name}, belongs to others or can be written by them, "
                f"and code is not loaded from there; {_NEXT}"
            )


def _only_ours(found: os.stat_result) -> bool:
    """Whether only this user and the administrator can rename what is in a folder. A folder with the sticky bit, as /tmp,
    lets everybody rename his own things only. A group of the user's own, as many systems make one, is the user."""
    if found.st_uid not in (0, os.getuid()):
        return False
    if stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX:
        return True
    return not found.st_mode & 0o002 and (not found.st_mode & 0o020 or _is_own_group(found.st_gid))


def _is_own_group(gid: int) -> bool:
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.getuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
