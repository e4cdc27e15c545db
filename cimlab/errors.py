"""The one class of what is told in a line: what, where and how to mend it. Every other failure is a fault of ours."""

from __future__ import annotations

FAILED, REFUSED = 1, 2
"""Exit codes: the run failed; the request was refused before any compute."""


class CimlabError(Exception):
    """A problem that its message explains to a person.

    Subclasses stand on the floor that raises them, beside the built-in class that programs expect (`ValueError` for
    what was asked, `RuntimeError` for what happened), and say by `exit_code` how the command line ends.
    """

    exit_code = FAILED
