"""The oldest and the newest release of each dependency, tried: ``make test-versions``. Slow, and no part of ``make test``.

    python tests/versions.py                                # with this interpreter's environment
    python tests/versions.py --python /venv313/bin/python   # with that of another Python, which holds PyTorch and pytest
    python tests/versions.py --resolve 3.11 3.12 3.13       # only: what would `pip install .` fetch there?

First the metadata: the requirements of pyproject.toml are resolved for each Python (by uv, which unlike pip can do that for
a Python that is not here, and without fetching 2 GB of PyTorch). What would be installed must not be of a newer major version
than the tests have seen (``SEEN``). Then the oldest releases that each Python can have, and the newest, are laid over
the environment, and the tests of the rooms that use them run. PyTorch stays as it is.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = {"torch"}
SEEN = {"av": 19, "numpy": 2, "safetensors": 0, "cyclopts": 5, "rich": 15, "pillow": 13, "matplotlib": 3, "jinja2": 3}
"""The newest major version of each dependency that has passed these tests."""
ROOMS = [
    "tests/data",
    "tests/faults",
    "tests/live",
    "tests/predict",
    "tests/cli/test_files.py",
    "tests/cli/test_cli.py",
]


def requirements() -> dict[str, str]:
    """Name and floor of each dependency."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pairs = (re.fullmatch(r"([A-Za-z0-9_-]+)>=([0-9.]+)", entry) for entry in listed)
    return {pair[1].lower(): pair[2] for pair in pairs if pair}


def resolve(version: str, resolution: str = "highest") -> dict[str, str]:
    """Name and version of each dependency that an installation on this Python would get, or the lowest that it could."""
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--python-version", version,
        "--resolution", resolution, "--only-binary", ":all:", "--no-header", "--no-annotate", "--quiet",
    ]  # fmt: skip
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    pairs = (line.partition("==") for line in listed.splitlines() if "==" in line)
    found = {name.strip().lower(): number.split()[0] for name, _, number in pairs}
    return {name: found[name] for name in requirements()}


def check_resolution(version: str) -> list[str]:
    """Complaints about what would be installed there."""
    found = resolve(version)
    print(f"Python {version}: " + ", ".join(f"{name} {number}" for name, number in found.items()), flush=True)
    return [
        f"Python {version} would get {name} {found[name]}, the tests have seen {name} {newest}: run them with it first"
        for name, newest in SEEN.items()
        if int(found[name].partition(".")[0]) > newest
    ]


def version_of(python: str) -> str:
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def try_with(python: str, pins: dict[str, str], rooms: list[str]) -> bool:
    """Run the tests with these releases laid over the environment of ``python``."""
    with tempfile.TemporaryDirectory() as folder:
        named = [f"{name}=={version}" for name, version in pins.items()]
        install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, "--upgrade", *named]
        if subprocess.run(install, env={**os.environ, "PIP_CONSTRAINT": ""}).returncode:
            return False
        where = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([folder, str(ROOT / "src")]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Warnings of one library about another are not ours.
        options = ["-q", "-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning"]
        run = subprocess.run([python, "-m", "pytest", *options, *rooms], cwd=ROOT, env=where)
        return run.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="an interpreter whose environment holds PyTorch and pytest")
    parser.add_argument(
        "--resolve", nargs="*", default=None, help="only look at what pip would install on these Pythons"
    )
    parser.add_argument("--only", nargs="*", default=None, help="only these dependencies, each by itself")
    parser.add_argument("--rooms", nargs="*", default=ROOMS)
    arguments = parser.parse_args()
    complaints = []
    for version in arguments.resolve or ("3.11", "3.12", "3.13"):
        complaints += check_resolution(version)
    for python in [] if arguments.resolve is not None else arguments.python or [sys.executable]:
        for resolution in ("lowest-direct", "highest"):
            found = resolve(version_of(python), resolution)
            chosen = {name: found[name] for name in arguments.only or found if name not in HEAVY}
            for pins in [{name: version} for name, version in chosen.items()] if arguments.only else [chosen]:
                what = ", ".join(f"{name} {version}" for name, version in pins.items())
                print(f"{python}: {what}", flush=True)
                if not try_with(python, pins, arguments.rooms):
                    complaints.append(f"{python} fails with {what}")
    print("\n".join(complaints) or "all well")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
