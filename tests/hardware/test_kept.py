"""What a run keeps of its network comes back as it was, and what doesn't belong together is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cimlab.config.hardware import load_accelerator
from cimlab.crossbar.activity import Activity, IntegerHistogram, LayerActivity
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.hardware.kept import KeptNetwork, keep, read
from cimlab.hardware.price import NetworkShape, PrunedNetwork, price
from cimlab.network.masks import MaskError
from cimlab.pruning.granularities.base import Granularity
from cimlab.pruning.granularities.filter import Filter
from cimlab.pruning.granularities.operation_unit import OperationUnit
from cimlab.pruning.granularities.row_segment import RowSegment
from cimlab.pruning.granularities.weight import Weight
from cimlab.records import store
from cimlab.records.masks import masks_beside
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord
from tests.records.examples import example

GEOMETRY = CrossbarGeometry(rows=32, active_rows=8)
UNITS: list[Granularity] = [Weight(), OperationUnit(), RowSegment(), Filter()]


def permuted(matrix: CrossbarMatrix, generator: torch.Generator) -> CrossbarMatrix:
    rows, cols = (tuple(torch.randperm(n, generator=generator).tolist()) for n in (matrix.rows, matrix.cols))
    return replace(matrix, row_permutation=rows, column_permutation=cols)


def some_network(granularity: Granularity, seed: int, by_units: bool = True) -> KeptNetwork:
    """A grouped and a permuted convolution pruned by units or by weights; a Linear and a transposed one are whole."""
    generator = torch.Generator().manual_seed(seed)
    matrices = (
        CrossbarMatrix("features.0", (6, 4, 3, 3), 2, 49),
        permuted(CrossbarMatrix("features.3", (17, 5, 3, 2), 1, 16, "kernel_major"), generator),
        CrossbarMatrix("head", (10, 33)),
        CrossbarMatrix("up", (4, 6, 2), 2, 18, reading="transposed", outputs=12, kernel=(2,), input_pixels=9),
    )
    masks: dict[str, Tensor] = {}
    for matrix in matrices[:2]:
        grid = (granularity if by_units else Weight()).units(matrix, GEOMETRY)
        units = torch.rand(matrix.groups, grid.unit_rows, grid.unit_cols, generator=generator) < 0.4
        masks[matrix.name] = matrix.to_weight(grid.spread(units))
    held = LayerActivity(
        IntegerHistogram.of(torch.randint(-127, 128, (50,), generator=generator)),
        IntegerHistogram.of(torch.randint(256, (50,), generator=generator)),
    )
    return KeptNetwork(matrices, masks, Activity(8, 8, {"features.0": held}, {"head": held}, 5))


def kept_record(folder: Path, network: KeptNetwork, granularity: Granularity) -> Path:
    file = folder / RECORD_FILE
    fields = keep(
        file, network.matrices, network.masks, network.activity, lambda m: granularity.units(m, GEOMETRY)
    )
    replace(example(), **fields).write(file)
    return file


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(UNITS), st.integers(0, 1000), st.booleans())
def test_layers_masks_and_activity_come_back_as_they_were(
    tmp_path: Path, granularity: Granularity, seed: int, by_units: bool
) -> None:
    network = some_network(granularity, seed, by_units)
    file = kept_record(tmp_path, network, granularity)
    found = read(RunRecord.read(file), file)
    assert found.matrices == network.matrices
    wanted = {name: mask for name, mask in network.masks.items() if not bool(mask.all())}
    assert found.masks.keys() == wanted.keys()
    assert all(torch.equal(mask, found.masks[name]) for name, mask in wanted.items())
    assert found.activity.to_json() == network.activity.to_json()


def test_a_mask_by_units_takes_a_bit_a_unit(tmp_path: Path) -> None:
    matrix, granularity = CrossbarMatrix("layer", (64, 512)), OperationUnit()
    grid = granularity.units(matrix, GEOMETRY)
    units = torch.rand(1, grid.unit_rows, grid.unit_cols, generator=torch.Generator().manual_seed(0)) < 0.5
    masks = {"layer": matrix.to_weight(grid.spread(units))}
    sizes = []
    for cut in (granularity, Filter()):
        keep(
            tmp_path / RECORD_FILE, [matrix], masks, Activity(),
            lambda m, cut=cut: cut.units(m, GEOMETRY),
        )  # fmt: skip
        with np.load(masks_beside(tmp_path / RECORD_FILE)) as arrays:
            sizes.append(arrays["layer/bits"].nbytes)
    assert sizes == [512 * 64 // (8 * 2) // 8, 512 * 64 // 8]  # the second does not go by filters


def test_a_committed_record_takes_its_masks_along(tmp_path: Path) -> None:
    network = some_network(OperationUnit(), 0)
    file = kept_record(tmp_path / "run", network, OperationUnit())
    ((record, source),), problems = store.load_with_files(tmp_path / "run")
    committed = store.publish(record, tmp_path / "paper", source)
    assert not problems
    assert source == file
    assert masks_beside(committed).name == f"{committed.stem}.masks.npz"
    file.unlink()
    again = read(RunRecord.read(committed), committed)
    assert torch.equal(again.masks["features.0"], network.masks["features.0"])


def test_masks_that_are_gone_damaged_or_of_another_run_are_refused(tmp_path: Path) -> None:
    file = kept_record(tmp_path, some_network(OperationUnit(), 0), OperationUnit())
    other = kept_record(tmp_path / "other", some_network(OperationUnit(), 1), OperationUnit())
    record, masks = RunRecord.read(file), masks_beside(file)
    masks.write_bytes(masks_beside(other).read_bytes())
    with pytest.raises(RecordError, match="of another run"):
        read(record, file)
    masks.unlink()
    with pytest.raises(RecordError, match=r"its masks masks\.npz can't be read .*put them beside it"):
        read(record, file)
    with pytest.raises(RecordError, match=r"masks\.npz can't be read"):
        store.publish(record, tmp_path / "paper", file)


def test_a_record_of_schema_1_is_read_but_can_t_be_priced(tmp_path: Path) -> None:
    record = replace(example(), schema=1)
    record.write(tmp_path / RECORD_FILE)
    again = RunRecord.read(tmp_path / RECORD_FILE)
    assert again.accuracy == record.accuracy
    assert again.unpriceable
    with pytest.raises(
        RecordError, match="can't be priced anew: a record of schema 1 kept accuracy and counts"
    ):
        read(again, tmp_path / RECORD_FILE)


@pytest.mark.parametrize("whole", [False, True])
def test_a_price_is_the_same_before_and_after_it_was_kept(tmp_path: Path, whole: bool) -> None:
    network = some_network(RowSegment(), 3)
    if whole:  # the order of features.3 is stored all the same
        network = replace(
            network, masks={name: torch.ones_like(mask) for name, mask in network.masks.items()}
        )
    file = kept_record(tmp_path, network, RowSegment())
    again = read(RunRecord.read(file), file)
    for technology, geometry in (
        ("isaac32", GEOMETRY),
        ("neurosim22_rram", CrossbarGeometry(active_rows=32)),
    ):
        accelerator = load_accelerator(geometry, technology, "murmann")
        prices = [
            price(
                PrunedNetwork(NetworkShape(n.matrices, RowSegment().index), n.masks), n.activity, accelerator
            )
            for n in (network, again)
        ]
        assert prices[0].summary() == prices[1].summary()
        assert prices[0].pruned.counts[1].index_bits > 0


def test_a_mask_of_no_layer_of_the_network_is_refused() -> None:
    network = some_network(Filter(), 0)
    shape = NetworkShape(network.matrices, Filter().index)
    with pytest.raises(MaskError, match="nope"):
        PrunedNetwork(shape, {"nope": torch.ones(2, 2)}).placed(GEOMETRY)
