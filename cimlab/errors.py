"""The one class of what is told in a line: what, where and how to mend it. Every other failure is a fault of ours."""

from __future__ import annotations

import difflib
from pathlib import Path

FAILED, REFUSED = 1, 2
"""Exit codes: the run failed; the request was refused before any compute."""


class CimlabError(Exception):
    """A problem that its message explains to a person.

    Subclasses stand on the floor that raises them, beside the built-in class that programs expect (`ValueError` for
    what was asked, `RuntimeError` for what happened), and say by `exit_code` how the command line ends.
    """

    exit_code = FAILED


def near_path(path: Path) -> str:
    """`did you mean OTHER? ` where a path is not there and another is called nearly so; else nothing."""
    try:
        lost = [each for each in (path, *path.parents) if not each.exists()][-1:]
        beside = [each.name for top in lost for each in top.parent.iterdir()]
    except OSError:  # a file stands where a folder should, or it may not be looked into
        return ""
    for top in lost:
        for name in difflib.get_close_matches(top.name, beside, n=1):
            other = top.parent / name / path.relative_to(top)
            return f"did you mean {other}? " if other.exists() else ""
    return ""
