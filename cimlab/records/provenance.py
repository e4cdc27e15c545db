"""Where a number comes from: the code, the libraries and the machine, read without importing any of them."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from cimlab.processors import cores

PACKAGES = (
    "hydra-core", "numpy", "pytorch-lightning", "scikit-learn", "timm", "torch", "torchvision", "wandb",
)  # fmt: skip


def code_version() -> dict[str, Any]:
    """cimlab's version and, where it runs from a git checkout, commit and whether files were changed."""
    here = Path(__file__).parent
    commit = _git(here, "rev-parse", "HEAD")
    changed = None if commit is None else bool(_git(here, "status", "--porcelain", "--untracked-files=no"))
    return {"version": _installed("cimlab") or "not installed", "git_commit": commit, "git_changed": changed}


def package_versions() -> dict[str, str]:
    """Versions of the libraries that the numbers depend on."""
    versions = {name: _installed(name) for name in PACKAGES}
    return {name: version for name, version in versions.items() if version is not None}


def _installed(package: str) -> str | None:
    """Its version; None where it is not installed, as cimlab in a tree that was only copied."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    """Processor, cores, memory (bytes), operating system and Python; no name or address of the machine."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _git(folder: Path, *words: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
