"""A command line of ``videoswin train``, kept in the folder of its run, so that ``--resume`` needs nothing else.

``settings.toml`` holds the options that decide what comes out, as they were decided, for people and for ``--config``. Its table
``[run]`` holds what belongs to this run alone: where its clips are, and how they may be read.
"""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videoswin.cli.train_options import TrainOptions, read_options, read_run, write_options
from videoswin.errors import ConfigError

__all__ = ["Command", "continued", "keep_command"]

_MAY_DIFFER = ("workers", "save_every", "strategy", "accumulate", "checkpointing", "tensorboard", "name")
"""Options that do not decide what comes out, or that are made up for: see ``TrainSettings.what_shapes_the_weights``."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What was asked for; None is what was not."""

    data: Path | None
    options: TrainOptions
    limits: str | None = None
    device: str | None = None
    keep_adapter: bool = False
    skip_bad: bool = False
    part_epochs: int | None = None
    """Of a run that goes on: epochs of its parts, where these choose those of the model that is kept."""

    def require_data(self) -> Path:
        """A :class:`ConfigError` where no clips are named."""
        if self.data is None:
            raise ConfigError(
                "DATA is missing: a folder of class folders, or a CSV file. For example: videoswin train videos/ --out "
                "runs/mine. Only --resume finds the clips of its run by itself."
            )
        return self.data


def keep_command(out: Path, command: Command, decided: Mapping[str, Any], part_epochs: int | None) -> None:
    """Write ``settings.toml``. ``decided``: the options as they were decided, by name."""
    from videoswin.train.place import SETTINGS_FILE

    data = command.require_data()
    values = {**decided, **command.options.only("name", "like", "num_heads")}
    if command.options.tensorboard:
        values["tensorboard"] = True
    if (weights := values.get("weights")) and os.path.exists(weights):
        values["weights"] = os.path.abspath(weights)  # --config and --resume are given in other folders too
    run = {
        "data": os.path.abspath(data),
        "limits": command.limits,
        "device": command.device,
        "keep_adapter": command.keep_adapter,
        "skip_bad": command.skip_bad,
        "part_epochs": part_epochs,
    }
    write_options(out / SETTINGS_FILE, values, f"videoswin train {data} --out {out}", run)


def continued(command: Command, out: Path) -> Command:
    """``command`` with all that it leaves open as the run in ``out`` was begun. Runs of before ``settings.toml``, and places where
    there is none, are left to the caller.

    Raises:
        ConfigError: an option is given otherwise than the run was begun; its clips are not where they were.
    """
    from videoswin.train.place import SETTINGS_FILE

    path = out / SETTINGS_FILE
    if not path.is_file():
        return command
    begun, run = read_options(path), read_run(path)
    if differences := _differences(command.options, begun):
        raise ConfigError(
            f"{out}: the run was begun {', '.join(differences)}. Go on as it was begun: videoswin train --resume --out {out}, or "
            "give another --out."
        )
    data = command.data
    if data is None and run.get("data"):
        data = Path(run["data"])
        if not data.exists():
            raise ConfigError(
                f"{data}: the clips of the run are not there any more. If they were moved, say where they are: videoswin train "
                f"DATA --resume --out {out}"
            )
    return Command(
        data=data,
        options=command.options.over(begun),
        limits=command.limits if command.limits is not None else run.get("limits"),
        device=command.device or run.get("device"),
        keep_adapter=command.keep_adapter or run.get("keep_adapter", False),
        skip_bad=command.skip_bad or run.get("skip_bad", False),
        part_epochs=run.get("part_epochs"),
    )


def _differences(given: TrainOptions, begun: TrainOptions) -> list[str]:
    """Options that are given with another value than the run was begun with, in words."""
    found = []
    for field in dataclasses.fields(given):
        name = field.name
        now, then = getattr(given, name), getattr(begun, name)
        if now is None or (now is False and name != "flip") or name in _MAY_DIFFER or _same(name, now, then):
            continue
        if then is None or (then is False and name != "flip") or (name == "folds" and not then):
            found.append(f"without {_written(name, now)}")
        else:
            found.append(f"with {_written(name, then)}, not {_written(name, now).removeprefix(f'--{_option(name)} ')}")
    return found


def _same(name: str, now: Any, then: Any) -> bool:
    if name in ("weights", "model") and now and then:
        return now == then or os.path.realpath(now) == os.path.realpath(then)
    if name == "lr_drops" and now and then:
        return now.replace(" ", "") == then.replace(" ", "")
    return now == then


def _option(name: str) -> str:
    return name.replace("_", "-")


def _written(name: str, value: Any) -> str:
    """``--lr 0.1``, ``--causal``, ``--no-flip``."""
    if isinstance(value, bool):
        return f"--{_option(name)}" if value else f"--no-{_option(name)}"
    return f"--{_option(name)} {value}"
