"""Pages of the documentation as programs: their blocks run as they stand, and print what the pages show.

A block is fenced and says its language. `python` is run, or written where the text before it ends with "in a file
`NAME.py`:"; `sh` holds `cimlab` commands; `text` is what the block before it printed, "..." standing for anything.
"""

import contextlib
import io
import math
import re
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from conftest import Cimlab

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IN_A_FILE = re.compile(r"in a file `([\w.]+)`:\s*$")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
        language: as the fence names it.
        text: what stands in it.
        file: where its text belongs, if the page says so.
    """

    language: str
    text: str
    file: str | None


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [
        Block(found[1], found[2], name[1] if (name := IN_A_FILE.search(page, 0, found.start())) else None)
        for found in FENCED.finditer(page)
    ]


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a block, as a shell reads them."""
    lines = block.text.replace("\\\n", "").splitlines()
    found = [words for line in lines if (words := shlex.split(line, comments=True))]
    assert all(words.pop(0) == "cimlab" for words in found), block.text
    return found


def run_page(page: str, cimlab: Cimlab, exact: bool) -> None:
    """Run a page in the working directory; it is exact unless it trains, which another processor does otherwise."""
    names: dict[str, Any] = {}
    printed = ""
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.text)
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(block.text, names)
            printed = out.getvalue()
        elif block.language == "sh":
            answers = [cimlab(*words) for words in commands(block)]
            assert all(answer.code == 0 for answer in answers), answers[-1].err
            printed = "".join(answer.out for answer in answers)
        else:
            assert block.language == "text", block
            missing = [line for line in block.text.splitlines() if not is_printed(line, printed, exact)]
            assert not missing, "\n".join(["the page shows:", *missing, "printed is:", printed])


def is_printed(line: str, printed: str, exact: bool) -> bool:
    """Whether a line is one of those printed, whatever its spaces, rules and stars."""
    shown = tokens(line)
    return not shown or any(same(shown, tokens(other), exact) for other in printed.splitlines())


def tokens(line: str) -> list[str]:
    """Words and numbers of a line."""
    return [token for token in line.split() if any(sign.isalnum() for sign in token)]


def same(shown: list[str], printed: list[str], exact: bool) -> bool:
    """Equal words, and numbers within 0.5 %; or two of three within 10 %, where not exact.

    Copies of a layer are whole numbers and accuracy right after pruning is chance, so some numbers jump.
    """
    if len(shown) != len(printed):
        return False
    close = []
    for ours, theirs in zip(shown, printed, strict=True):
        a, b = number(ours), number(theirs)
        if a is None or b is None:
            if not fnmatchcase(theirs, ours.replace("[", "[[]").replace("...", "*")):
                return False
        else:
            close.append(math.isclose(a, b, rel_tol=0.005 if exact else 0.1))
    return all(close) if exact else 3 * sum(close) >= 2 * len(close)


def number(token: str) -> float | None:
    try:
        return float(token.strip("%(),;").replace(",", ""))
    except ValueError:
        return None
