"""A text file that a person wrote, in whatever encoding their editor left it."""

from __future__ import annotations

import codecs
from pathlib import Path

from cimlab.config.errors import ConfigError

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins like UTF-16's, so that it comes first
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""What editors put before a text, PowerShell's redirection among them -> the encoding that it stands for."""


def text_of(path: Path) -> str:
    """The text, with line ends of one kind.

    Raises:
        ConfigError: it is in no encoding that it says.
    """
    content = path.read_bytes()
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as problem:
        raise ConfigError(
            f"{path} is no text in {encoding} ({problem.reason}); save it as UTF-8"
        ) from problem
    if "\0" in text:
        raise ConfigError(f"{path} holds zero bytes, as UTF-16 without a mark does; save it as UTF-8")
    return "\n".join(text.splitlines()) + "\n"
