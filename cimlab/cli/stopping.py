"""Being stopped: Ctrl-C, SIGTERM and a lost terminal end a command in one line with the signal's own code.

All are raised as KeyboardInterrupt, which every part of the house lets pass: locks are let go, half-written files
removed, the last whole epoch kept. What libraries make of that on their way out (Lightning exits with 1) hides nothing,
for the signal itself is remembered here.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from cimlab.grids.stops import OF_A_SIGNAL, SIGNALS

GOES_ON = {
    "train": "; the same command goes on from the last whole epoch",
    "sweep": "; the same command goes on",
    "search": "; the same command goes on",
    "simulate": "; of several, those that are done stay",
}
"""What becomes of the work that was done; other commands begin anew."""


class Stops:
    """The signals that came within `heeding_signals`."""

    def __init__(self) -> None:
        self.received: list[signal.Signals] = []

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Stop at the first; a second finds the way out taken already, unless it is Ctrl-C, which cuts it short."""
        again = bool(self.received)
        self.received.append(signal.Signals(number))
        if not again or number == signal.SIGINT:
            raise KeyboardInterrupt

    def deaf(self) -> None:
        """Hear no more: the way out has been taken to its end, and what is left is to say so."""
        for number in SIGNALS:
            if signal.getsignal(number) == self:
                signal.signal(number, signal.SIG_IGN)

    def line(self, command: str) -> str:
        """What to say of a command that was stopped."""
        name = self.received[0].name if self.received else "SIGINT"
        by = "" if name == "SIGINT" else f" by {name}"
        return f"stopped{by}{GOES_ON.get(command, '')}"

    def code(self) -> int:
        """The exit code."""
        return OF_A_SIGNAL + (self.received[0] if self.received else signal.SIGINT)


@contextmanager
def heeding_signals() -> Generator[Stops]:
    """Within, `SIGNALS` raise KeyboardInterrupt; a signal that the caller ignores (nohup) stays ignored."""
    stops = Stops()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may ask for signals
        yield stops
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    usual = (signal.SIG_DFL, signal.default_int_handler)
    try:
        for number, handler in before.items():
            if handler in usual:
                signal.signal(number, stops)
        yield stops
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, handler)
