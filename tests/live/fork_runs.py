"""One command again and again, each in a process of its own that is told to stop, or killed, at a random moment.

    python -m tests.live.fork_runs COUNT SIGNAL LONGEST_S STDIN ARGUMENTS...

Imports once and forks, so that a run costs a fraction of a second. STDIN is a file that comes through a pipe which then stays
open without a word, or ``-`` for none. Prints a JSON list of exit codes (minus the signal's number where one ended the process;
"hangs" where nothing did within a minute) and what the processes wrote on stderr.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

import videoswin.live.pace
import videoswin.live.recording
import videoswin.live.session
import videoswin.live.timeline as timeline
import videoswin.live.timeline_files  # noqa: F401  imported before the fork, like the others
from videoswin.cli.main import main


def run(arguments: list[str], stdin: str, number: int, delay_s: float) -> int | str:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writing)
        if stdin != "-":
            os.dup2(reading, 0)
        sys.exit(main(arguments))
    os.close(reading)
    if stdin != "-":
        os.write(writing, Path(stdin).read_bytes()[:60_000])
    if number != signal.SIGKILL:
        wait_until_it_listens(pid)
    time.sleep(delay_s)
    os.kill(pid, number)
    code: int | str = "hangs"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.02)
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(writing)
    return code


def wait_until_it_listens(pid: int) -> None:
    """Until the process catches SIGTERM: before, it would just end, as any program does."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)


def runs() -> None:
    count, name, longest_s, stdin, *arguments = sys.argv[1:]
    torch.set_num_threads(1)
    timeline._SAVE_EVERY = 40
    random.seed(0)
    with tempfile.TemporaryFile() as words:
        os.dup2(words.fileno(), 2)
        out, devnull = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 1)
        codes = []
        for _ in range(int(count)):
            codes.append(run(arguments, stdin, signal.Signals[name], random.uniform(0.05, float(longest_s))))
        words.seek(0)
        os.write(out, json.dumps({"codes": codes, "stderr": words.read().decode(errors="replace")}).encode())


if __name__ == "__main__":
    runs()
