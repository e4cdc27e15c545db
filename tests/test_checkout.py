"""Tests leave the checkout as it is, and the caller's environment decides nothing in them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from cimlab.records.record import write_atomically


@pytest.mark.parametrize("name", ["made-up.csv", "paper/build/made-up.csv", "outputs/made-up.json"])
def test_a_test_that_writes_into_the_checkout_is_stopped(name: str) -> None:
    path = ROOT / name
    with pytest.raises(AssertionError, match=f"writes {name} into the checkout"), path.open("w"):
        pass
    assert not path.exists()


def test_reading_it_and_writing_elsewhere_is_not_stopped(tmp_path: Path) -> None:
    assert (ROOT / "README.md").read_bytes()
    write_atomically(tmp_path / "README.md", "text")


def test_the_callers_environment_is_not_seen() -> None:
    """Run once more as a caller would whose environment says much."""
    said = {"WANDB_MODE": "", "CIMLAB_DEBUG": "1", "SLURM_JOB_ID": "7", "HYDRA_FULL_ERROR": "1"}
    assert not said.keys() & os.environ.keys() - {"HYDRA_FULL_ERROR"}  # which cimlab itself sets
    if "INNER" not in os.environ:
        again = f"{__file__}::test_the_callers_environment_is_not_seen"
        words = [sys.executable, "-m", "pytest", "-q", "-n", "0", again]
        subprocess.run(words, env={**os.environ, **said, "INNER": "1"}, cwd=ROOT, check=True)
