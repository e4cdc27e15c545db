"""What conf/ offers: its place, the choices of a group, and the line with which each choice's file begins."""

from __future__ import annotations

from pathlib import Path


def conf_dir() -> Path:
    """conf/: inside the package when installed, at the top of the repository otherwise."""
    installed = Path(__file__).parent / "conf"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "conf"


def choices(group: str) -> list[str]:
    """Names of the shipped choices of a configuration group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def first_line(group: str, choice: str) -> str | None:
    """What a choice is, as its file says in its first line; None where no such choice is shipped."""
    file = conf_dir() / group / f"{choice}.yaml"
    return file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") if file.is_file() else None
