"""Stopping grids and searches: by a signal, or because their time is up; they summarise, and go on another day."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Generator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; what Slurm, Docker and systemd send; a terminal that was closed or lost."""
OF_A_SIGNAL = 128
"""What a shell adds to a signal's number for the exit code: 130 for Ctrl-C, 143 for SIGTERM."""
TIME_IS_UP = 3
"""How a command ends that its time budget stopped."""


class Stop(BaseException):
    """Stop now and leave everything so that it can go on: from the keyboard, from a signal, or time is up.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        super().__init__("time is up" if number == signal.SIGALRM else f"stopped{by}")

    @property
    def exit_code(self) -> int:
        """3 where time is up; of a signal its own, as shells say it."""
        return TIME_IS_UP if self.number == signal.SIGALRM else OF_A_SIGNAL + self.number


_asked: list[int] = []
"""The signal for which Stop was raised, while `stoppable` is on its way out."""


def asked() -> Stop | None:
    """The Stop that is on its way out."""
    return Stop(_asked[-1]) if _asked else None


def raise_if_asked() -> None:
    """Raise the Stop that was swallowed, as Python does where a signal comes inside a destructor."""
    if (hidden := asked()) is not None:
        raise hidden


@contextlib.contextmanager
def stoppable(deadline: float | None) -> Generator[None]:
    """Within, signals and the deadline raise Stop, once; then Ctrl-C alone cuts the way out short.

    A signal that the caller ignores (nohup) stays ignored.

    Args:
        deadline: seconds since the epoch; None is never.
    """

    def stop(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_IGN)
        _asked.append(number)
        raise Stop(number)

    heard = [each for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.signal(each, stop) for each in (*heard, signal.SIGALRM)}
    try:
        if deadline is not None:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, deadline - time.time()))
        yield
    finally:
        _asked.clear()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each, handler in before.items():
            signal.signal(each, handler)
