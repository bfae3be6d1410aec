"""Signals as wishes. Processes of their own where a signal is to end one."""

import signal
import subprocess
import sys
import threading

import pytest

from videoswin.storage.interrupt import Interruption

SCRIPT = """
import os, signal
from videoswin.storage.interrupt import Interruption
signal.signal(signal.{name}, signal.SIG_DFL)  # a shell's & leaves it ignored
with Interruption() as interruption:
    os.kill(os.getpid(), signal.{name})
    print("asked", interruption.asked, flush=True)
    os.kill(os.getpid(), signal.{name})
    print("never", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_first_asks_and_the_second_ends(name: str):
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(name=name)], capture_output=True, text=True)
    assert done.stdout == "asked True\n"
    assert done.returncode == -signal.Signals[name]


def test_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        assert signal.getsignal(signal.SIGINT) != before[0]
        assert not interruption.asked
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    with pytest.raises(ZeroDivisionError), Interruption():
        raise ZeroDivisionError
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_outside_the_main_thread_signals_are_left_alone():
    asked: list[bool] = []

    def work() -> None:
        with Interruption() as interruption:
            asked.append(interruption.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]
