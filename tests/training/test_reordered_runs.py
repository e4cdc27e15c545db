"""Whole runs with reordered rows and columns: recorded, priced, found again by map and simulate, refused if amiss."""

from pathlib import Path

import pytest
import torch
from conftest import Cimlab, one_line

from cimlab.records.record import RECORD_FILE, RunRecord


@pytest.fixture
def run(train: Cimlab, tmp_path: Path) -> tuple[RunRecord, Path]:
    """One permuted run, its record and its network."""
    answer = train("method=[reorder]", "granularity=operation_unit", "prune.remaining=0.1")
    assert answer.code == 0, answer.err
    assert "of the squared weights instead of" in answer.out
    (path,) = tmp_path.glob(f"digits_cnn*/{RECORD_FILE}")
    return RunRecord.read(path), path.with_name("network.pt")


def test_a_permuted_network_is_mapped_and_simulated_as_it_was_pruned(
    run: tuple[RunRecord, Path], cimlab: Cimlab, tmp_path: Path
) -> None:
    record, network = run
    gained = record.hardware["reorder"]
    assert gained["kept_after"] > gained["kept_before"]
    orders = sum(layer["order_bits"] for layer in gained["layers"].values())
    assert record.hardware["total"]["index_bits"] > orders > 0
    stored = torch.load(network, weights_only=True)["permutation"]["layers"]
    assert {name for name, layer in gained["layers"].items() if layer["order_bits"]} == set(stored)

    words = (f"checkpoint={network}", "model=digits_cnn", f"paths.output_dir={tmp_path / 'again'}")
    sizes = ("input.channels=1", "input.size=8", "granularity=operation_unit")
    mapped = cimlab("map", *words, *sizes, "--json")
    assert mapped.code == 0, mapped.err
    import json

    for name, layer in ((row["layer"], row) for row in json.loads(mapped.out)["layers"]):
        assert layer["index_bits"] == record.hardware["layers"][name]["index_bits"]

    simulated = cimlab("simulate", *words, "data=digits", "threads=1", "images=60")
    assert simulated.code == 0, simulated.err
    for command, more in (("map", sizes), ("simulate", ("data=digits",))):
        refused = cimlab(command, *words, *more, "mapping.row_order=kernel_major")
        assert refused.code == 2
        # what is given instead of the run's own is told first
        assert "set row_order=channel_major" in one_line(refused.err.splitlines()[-1])


def test_a_permutation_that_moves_nothing_is_refused(cimlab: Cimlab) -> None:
    answer = cimlab("train", "method=[reorder]", "method.reorder.rows=false", "method.reorder.columns=false")
    assert answer.code == 2
    assert "moves nothing; take reorder out of method" in one_line(answer.err)
