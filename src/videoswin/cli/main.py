"""The command ``videoswin``: finds the verb, and turns every outcome into an exit code and, if need be, one line.

Exit codes: 0 all went well; 1 it ran to the end, but some videos could not be read; 2 it could not be done (the line on
stderr says why); 130 interrupted by Ctrl-C. Verbs live in files of their own, and these import PyTorch when they run,
not when they are imported, so that ``videoswin --help`` does not wait for it.
"""

import inspect
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import App, CycloptsError, Group

from videoswin import __version__
from videoswin.cli import convert as convert_verb
from videoswin.cli import inspect as inspect_verb
from videoswin.cli.annotations import annotations
from videoswin.cli.audit import audit
from videoswin.cli.batch import batch
from videoswin.cli.bench import bench
from videoswin.cli.compare import compare
from videoswin.cli.demo import demo
from videoswin.cli.evaluate import evaluate
from videoswin.cli.explain import explain
from videoswin.cli.export import export
from videoswin.cli.features import features
from videoswin.cli.info import info
from videoswin.cli.models import models
from videoswin.cli.options import in_todays_words
from videoswin.cli.output import DONE, FAILED, INTERRUPTED, printable, say, say_error, set_debug
from videoswin.cli.pack import pack
from videoswin.cli.predict import predict
from videoswin.cli.probe import probe
from videoswin.cli.search import search
from videoswin.cli.serve import serve
from videoswin.cli.stream import stream
from videoswin.cli.teach import teach
from videoswin.cli.timeline import timeline
from videoswin.cli.train import train
from videoswin.data.folders import VIDEO_SUFFIXES
from videoswin.errors import Interrupted, VideoSwinError
from videoswin.storage.interrupt import signals_as_interrupt

__all__ = ["app", "main"]

_HELP = """Video Swin Transformer: train on your videos, and put labels on new ones.

Try it on the clips that come with it:

    videoswin demo

Train on a folder of class folders, see how good it is, and use it:

    videoswin train DATA --out runs/mine
    videoswin evaluate DATA --split test --weights runs/mine/best
    videoswin predict clip.mp4 --weights runs/mine/best
"""

_STDOUT = "standard output"

app = App(
    name="videoswin",
    help=_HELP,
    help_epilogue="Each command has its own help, with examples: videoswin predict --help. "
    "With --debug, any command shows where an error comes from.",
    help_format="plaintext",
    version=__version__,
    group_commands=Group("Commands", sort_key=0),
    suppress_keyboard_interrupt=False,
)


def _add_verb(verb: Callable[..., int], usage: str) -> None:
    """The docstring is the help: paragraphs are unwrapped to fit any terminal, indented examples stay as they are."""
    text, _, _ = (inspect.getdoc(verb) or "").partition("\n\nParameters\n")
    paragraphs = (p if p.startswith(" ") else " ".join(p.split()) for p in text.split("\n\n"))
    name = verb.__name__
    app.command(
        verb,
        help="\n\n".join(paragraphs),
        help_epilogue="",
        usage=f"Usage: videoswin {name} {usage}",
        sort_key=len(_VERBS),
    )
    _VERBS.append(name)


_VERBS: list[str] = []
_add_verb(demo, "[OPTIONS]")
_add_verb(predict, "FILE... --weights CHECKPOINT [OPTIONS]")
_add_verb(audit, "DATA [OPTIONS]")
_add_verb(train, "DATA --out RUN [OPTIONS]")
_add_verb(pack, "DATA --out FOLDER [OPTIONS]")
_add_verb(probe, "DATA --weights CHECKPOINT [OPTIONS]")
_add_verb(evaluate, "DATA --weights CHECKPOINT [OPTIONS]")
_add_verb(compare, "DATA --models LIST --out FOLDER [OPTIONS]")
_add_verb(info, "WEIGHTS [OPTIONS]")
_add_verb(models, "[OPTIONS]")
_add_verb(inspect_verb.inspect, "WEIGHTS [OPTIONS]")
_add_verb(convert_verb.convert, "WEIGHTS OUT [OPTIONS]")
_add_verb(export, "WEIGHTS --to FORMAT [OPTIONS]")
_add_verb(stream, "SOURCE --weights CHECKPOINT [OPTIONS]")
_add_verb(timeline, "FILE --weights CHECKPOINT [OPTIONS]")
_add_verb(teach, "DATA --out FOLDER [OPTIONS]")
_add_verb(serve, "[OPTIONS]")
_add_verb(features, "DATA --weights CHECKPOINT --out FOLDER [OPTIONS]")
_add_verb(batch, "MANIFEST --weights CHECKPOINT --out FOLDER [OPTIONS]")
_add_verb(search, "QUERY --in FEATURES [OPTIONS]")
_add_verb(annotations, "IN [OUT] [OPTIONS]")
_add_verb(explain, "FILE --weights CHECKPOINT [OPTIONS]")
_add_verb(bench, "[OPTIONS]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (by default, that of the process) and return its exit code."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")  # a label must not crash a terminal that lacks its letters
    if isinstance(sys.stdout, io.TextIOWrapper) and "write" not in vars(sys.stdout):
        sys.stdout.write, sys.stdout.flush = _naming_stdout(sys.stdout.write), _naming_stdout(sys.stdout.flush)
    tokens = [_as_path(token) for token in (sys.argv[1:] if arguments is None else arguments)]
    set_debug("--debug" in tokens or bool(os.environ.get("VIDEOSWIN_DEBUG")))
    tokens = [token for token in tokens if token != "--debug"] or ["--help"]
    try:
        with signals_as_interrupt():
            code = app(in_todays_words(tokens), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return code if isinstance(code, int) else DONE
    except CycloptsError as error:
        say(f"{_sentence(str(error))} See: {_help_command(error)}")
    except Interrupted as error:
        say_error(error)
        return INTERRUPTED
    except VideoSwinError as error:
        say_error(error)
    except MemoryError as error:
        say_error(
            MemoryError("there is not enough memory for this. Ask for less at once, or free some.").with_traceback(
                error.__traceback__
            )
        )
    except BrokenPipeError:  # the reader (| head) has seen enough; Python would complain once more at its end
        _give_up_stdout()
        return DONE
    except OSError as error:  # no rights, no space: about output, since input has errors of its own
        where = f"{error.filename}: " if error.filename else ""
        say(f"{where}{error.strerror or error}. Check the rights and the space there.")
        if error.filename == _STDOUT:
            _give_up_stdout()
    except KeyboardInterrupt:
        say("interrupted.")
        return INTERRUPTED
    return FAILED


def _naming_stdout(method: Callable[..., Any]) -> Callable[..., Any]:
    """``write`` or ``flush`` of stdout whose errors say what could not be written to, as those of files do."""

    def named(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except OSError as error:
            error.filename = error.filename or _STDOUT
            raise

    return named


def _give_up_stdout() -> None:
    """What is still waiting to be written goes nowhere, so that Python does not try again, and complain, at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_path(token: str) -> str:
    """``-abc.mp4`` is a file, not an option: names of videos on the web begin with any sign."""
    is_video = token.startswith("-") and "=" not in token and os.path.splitext(token)[1].lower() in VIDEO_SUFFIXES
    return os.path.join(os.curdir, token) if is_video else token


def _sentence(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _help_command(error: CycloptsError) -> str:
    return " ".join(["videoswin", *(error.command_chain or ()), "--help"])
