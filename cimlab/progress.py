"""How far long work is: a bar where someone looks on, nothing elsewhere; and times as people say them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def counting(what: str, total: int) -> Generator[Callable[[int], None]]:
    """A bar that goes away when the work is done; gives what is to be told how much more of it is.

    Args:
        what: is counted, e.g. "images".
        total: how much there is.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(89.6), duration(730), duration(9000)
    ('90 s', '12 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
