"""A signal ends a command as an interruption, whatever was going on."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from videoswin.errors import Interrupted
from videoswin.storage import interrupt
from videoswin.storage.interrupt import Interruption, signals_as_interrupt


def failing_library(number: signal.Signals | None, error: Exception) -> None:
    """A signal comes while it is imported, and it swallows that, as PyTorch does with one that comes while it imports NumPy; then
    it fails for what it lacks."""
    with signals_as_interrupt():
        if number is not None:
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), number)
        raise error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_a_library_swallows(number: signal.Signals):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & leaves it ignored
    try:
        with pytest.raises(KeyboardInterrupt) as raised:
            failing_library(number, ImportError("cannot load module more than once per process"))
        assert isinstance(raised.value.__cause__, ImportError)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("error", "number"), [(ImportError, None), (Interrupted, None), (Interrupted, signal.SIGTERM)])
def test_other_errors_stay_what_they_are(error: Callable[[str], Exception], number: signal.Signals | None):
    with pytest.raises(Exception, match="as it was") as raised:
        failing_library(number, error("as it was"))
    assert type(raised.value) is error


def test_a_signal_within_the_import_of_pytorch_waits_for_its_end(monkeypatch: pytest.MonkeyPatch):
    """An exception there aborts the process."""
    answers = [True, True, False]
    monkeypatch.setattr(interrupt, "_torch_is_being_imported", lambda: answers.pop(0))
    left = []

    def work() -> None:
        with signals_as_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
            left.extend(answers)
            while True:
                time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert left == [True, False]
    assert answers == []


def test_pytorch_is_being_imported_while_it_is():
    module = ModuleType("torch")
    module.__spec__ = ModuleSpec("torch", None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", module)
        assert not interrupt._torch_is_being_imported()
        module.__spec__._initializing = True  # type: ignore[attr-defined]  # as importlib does
        assert interrupt._torch_is_being_imported()
        patch.delitem(sys.modules, "torch")
        assert not interrupt._torch_is_being_imported()


def test_two_signals_at_once_are_one_wish(monkeypatch: pytest.MonkeyPatch):
    """``timeout`` sends SIGTERM to its command and to the command's group: the second comes while the first is being answered."""
    usual = signal.signal
    pending = [signal.SIGTERM]

    def restore(number: int, handler: object) -> object:
        given = usual(number, handler)  # type: ignore[arg-type]
        if pending and interruption.asked:
            interruption._ask(pending.pop(), None)
        return given

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Interruption() as interruption:
            monkeypatch.setattr(signal, "signal", restore)
            os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.asked
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        usual(signal.SIGINT, before)
