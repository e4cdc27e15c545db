"""Pricing a finished run again gives what the run gave, permuted lines included, and refuses another run's words."""

from pathlib import Path
from types import ModuleType

import pytest
from conftest import Cimlab, experiment_script

from cimlab.records.record import RECORD_FILE, RecordError, RunRecord

SMALL = ("recipe.epochs=1", "schedule.epochs=1", "trainer.threads=1", "tracker=none")


@pytest.fixture
def script() -> ModuleType:
    return experiment_script("reprice.py")


def test_a_permuted_run_is_priced_as_it_was(train: Cimlab, tmp_path: Path, script: ModuleType) -> None:
    words = ("permutation=gather", "granularity=operation_unit", "prune.remaining=0.1")
    assert train(*words).code == 0
    (path,) = tmp_path.glob(f"digits_cnn*/{RECORD_FILE}")
    before = RunRecord.read(path)
    again = RunRecord.read(script.reprice(path.parent, [*SMALL, f"paths.output_dir={tmp_path}", *words]))
    assert again.run == before.run
    assert again.hardware == before.hardware
    assert again.weights == before.weights
    assert again.code["priced_by"]
    with pytest.raises(RecordError, match="permutation"):
        script.reprice(path.parent, [*SMALL, f"paths.output_dir={tmp_path}", *words[1:]])
