"""What is kept of a run that is done: its network, and its record."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimlab.records.history import HISTORY_FILE, read_rows
from cimlab.records.metrics import hardware_metrics
from cimlab.records.provenance import code_version, machine, package_versions
from cimlab.records.record import RunRecord
from cimlab.runs.planned import PlannedRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cimlab.crossbar.matrix import CrossbarMatrix
    from cimlab.crossbar.placement import NetworkPlacement
    from cimlab.hardware.cost import CostModel
    from cimlab.hardware.kept import KeptNetwork
    from cimlab.pruning.masks import PruningRule
    from cimlab.runs.parts import Parts
    from cimlab.training.charts import Chart
    from cimlab.training.fit import Training, Weights
    from cimlab.training.methods.base import Arrangement, Subject
    from cimlab.training.phases import Retrained
    from cimlab.training.settings import MappingSettings


def save_network(
    planned: PlannedRun, subject: Subject, classes: int, retrained: Retrained, weights: Weights
) -> Path:
    """Write network.pt: weights, masks, orders of lines, what roundings learned, and where it is from.

    Raises:
        UnwritableError: the folder can't be written.
    """
    from cimlab.crossbar.permutation import stored
    from cimlab.network.description import described_as
    from cimlab.training import checkpoints

    content = {
        "network": weights,
        "masks": retrained.pruning.masks,
        "dense_run": None if planned.config.checkpoint else planned.dense_run,
        "origin": origin_of(planned),
        "description": described_as(
            planned.plain, planned.choices, subject.image_shape, classes, planned.identity.sources
        ),
        **stored(subject.matrices),
    }
    for rounding in retrained.roundings:
        content["steps"] = rounding.steps().to_checkpoint()
    file = planned.run_dir / checkpoints.NETWORK_FILE
    checkpoints.save(file, content)
    return file


def origin_of(planned: PlannedRun) -> dict[str, Any]:
    """What a checkpoint says of the run that pruned its network, for whoever simulates it."""
    parameters = {key: value for key, value in planned.config.granularity.items() if key != "_target_"}
    return {
        "run": planned.run,
        "name": planned.name,
        "seed": planned.config.seed,
        "granularity": planned.choices["granularity"],
        "parameters": parameters,
        "remaining": planned.config.prune.remaining,
    }


def write_record(
    planned: PlannedRun,
    parts: Parts,
    subject: Subject,
    training: Training,
    retrained: Retrained,
    dense: Weights,
    accuracy: dict[str, dict[str, float]],
    arrangements: dict[str, Arrangement],
) -> RunRecord:
    """Map and price the network, write the record, and let go of training checkpoints.

    Raises:
        RecordError: the folder can't be written.
    """
    import torch

    from cimlab.hardware.kept import KeptNetwork
    from cimlab.training import checkpoints
    from cimlab.training.costing import measured_activity

    config, masks = planned.config, retrained.pruning.masks
    images = next(iter(training.data.train_loader()))[0].float()  # training in 16 bits had them so
    steps = next((rounding.steps() for rounding in retrained.roundings), None)
    activity = measured_activity(
        subject.network, images, masks, dense, config.geometry, config.analog, steps, subject.matrices
    )
    network = KeptNetwork(tuple(subject.matrices), masks, activity, subject.off_arrays)
    kept = counted(planned.record_file, network, subject.prunable, subject.rule, parts.cost, config.mapping)
    arranged = {name: arrangement.summary for name, arrangement in arrangements.items()}
    on_gpu = config.trainer.accelerator != "cpu" and torch.cuda.is_available()
    accelerator = torch.cuda.get_device_name() if on_gpu else None
    record = RunRecord(
        run=planned.run,
        name=planned.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=config.seed,
        choices=planned.choices,
        config=planned.plain,
        uncounted=list(planned.identity.uncounted),
        sources=planned.identity.sources,
        search=planned.search,
        code=code_version(),
        packages=package_versions(),
        machine={**machine(), "accelerator": accelerator, "torch_threads": torch.get_num_threads()},
        wall_time_s=_seconds(planned),
        accuracy=accuracy,
        **{**kept, "hardware": kept["hardware"] | arranged},
    )
    record.write(planned.record_file)
    checkpoints.discard(planned.run_dir / "checkpoints")
    return record


def counted(
    record_file: Path,
    network: KeptNetwork,
    prunable: Sequence[CrossbarMatrix],
    rule: PruningRule,
    cost: CostModel,
    mapping: MappingSettings,
) -> dict[str, Any]:
    """Place and price a network and write its masks beside its record-to-be: the record's fields that all this fills.

    Args:
        record_file: where the record will be.
        network: as it was measured.
        prunable: layers that the budget is about.
        rule: gives the units that masks are kept by, and the geometry.
        cost: technology, ADC price and chip.
        mapping: how kept weights are placed.

    Raises:
        RecordError: the folder can't be written.
    """
    from cimlab.config.hardware import altered
    from cimlab.crossbar.placement import place_network
    from cimlab.crossbar.summary import counts_summary
    from cimlab.hardware.accelerator import Accelerator
    from cimlab.hardware.kept import keep
    from cimlab.hardware.price import price_placement

    matrices, geometry, granularity = list(network.matrices), rule.geometry, rule.granularity
    placement = place_network(
        matrices, network.masks, geometry, granularity.index, mapping.placement, network.off_arrays.weights
    )
    accelerator = Accelerator(geometry, cost.technology, cost.adc, cost.chip)
    compared = price_placement(matrices, placement, network.activity, accelerator, network.off_arrays)
    return {
        "weights": weight_summary(placement, prunable),
        "hardware": counts_summary(matrices, placement, geometry)
        | {"mapping": asdict(mapping), "cost": compared.summary(), "altered": altered(cost.technology, cost.adc)},
        **keep(
            record_file, matrices, network.masks, network.activity,
            lambda matrix: granularity.units(matrix, geometry), network.off_arrays,
        ),
    }  # fmt: skip


def _seconds(planned: PlannedRun) -> dict[str, float]:
    """By phase, killed and resumed parts included; a given dense network took none."""
    dense = [] if planned.config.checkpoint else read_rows(planned.dense_dir / HISTORY_FILE)
    phases = {"dense": dense, "retrain": read_rows(planned.run_dir / HISTORY_FILE)}
    return {phase: sum(row.get("seconds", 0.0) for row in rows) for phase, rows in phases.items()}


def weight_summary(placement: NetworkPlacement, prunable: Sequence[CrossbarMatrix]) -> dict[str, float]:
    """What is left of the weights, over the prunable ones and over all; compression = all / left."""
    names = {m.name for m in prunable}
    prunable_total = sum(m.weights for m in prunable)
    prunable_left = sum(p.counts.weights_left for name, p in placement.layers.items() if name in names)
    return {
        **placement.weights,
        "prunable": prunable_total,
        "remaining_prunable": prunable_left / prunable_total,
    }


def final_numbers(record: RunRecord) -> dict[str, float]:
    """The final numbers under stable names, for the tracker's summary."""
    flat = {f"accuracy/{phase}": values["test"] for phase, values in record.accuracy.items()}
    flat |= {f"weights/{name}": value for name, value in record.weights.items()}
    return flat | hardware_metrics(record.hardware, record.hardware["cost"])


def charts_of(record: RunRecord) -> list[Chart]:
    """The charts that a tracker is left with."""
    from cimlab.training.charts import charts

    return charts(record)
