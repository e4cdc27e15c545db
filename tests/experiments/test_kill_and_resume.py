"""The script that kills grids finds the processes to be killed."""

import os
import runpy
from pathlib import Path

from cimlab.records.locks import locked

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "kill_and_resume.py"


def test_whoever_works_on_a_point_is_found_as_long_as_it_does(tmp_path: Path) -> None:
    workers = runpy.run_path(str(SCRIPT))["workers"]
    with locked(tmp_path / "point"):
        assert workers(tmp_path) == [os.getpid()]
    assert workers(tmp_path) == []
