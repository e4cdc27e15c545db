"""Price a finished run again: counts and costs of its masks by today's code, accuracies as they were measured.

    python experiments/reprice.py outputs/RUN model=resnet20 data=cifar10 ...   # the overrides that RUN had

Writes the record that `cimlab train` with these overrides would now look for, and says in `code.priced_by` which
commit counted and priced; `code.git_commit` stays the one that trained.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from cimlab.config.compose import conf_dir
from cimlab.config.schema import TrainConfig, check, plain_config
from cimlab.crossbar.permutation import restored
from cimlab.records.provenance import code_version
from cimlab.records.record import RECORD_FILE, RecordError, RunRecord
from cimlab.runs.train import OPTIONAL_GROUPS, assemble, plan
from cimlab.training import checkpoints
from cimlab.training.costing import measured_cost
from cimlab.training.experiment import (
    hardware_summary,
    mapped_matrices,
    mapping_of,
    prunable_matrices,
    weight_summary,
)
from cimlab.training.tracking import Tracker

SAME = (
    "prune",
    "schedule",
    "saliency",
    "recipe",
    "granularity",
    "model",
    "optimizer",
    "seed",
    *OPTIONAL_GROUPS,
)
"""What made the weights and masks, which pricing them again doesn't change."""


def reprice(run_dir: Path, overrides: list[str]) -> Path:
    """Write the priced record; where it is.

    Raises:
        RecordError: the overrides are not those of the run.
        CheckpointError: the run's network or its dense network is missing.
    """
    old = RunRecord.read(run_dir / RECORD_FILE)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", overrides, return_hydra_config=True)
        choices = {str(k): str(v) for k, v in dict(config.hydra.runtime.choices).items() if v}
        with open_dict(config):
            del config["hydra"]
    planned = plan(check(config, TrainConfig), plain_config(config), choices)
    for group in SAME:
        if planned.plain.get(group) != old.config.get(group):
            raise RecordError(
                f"{run_dir} was run with {group}={old.config.get(group)}; give its own overrides"
            )
    experiment = assemble(planned)
    experiment.data.prepare_data()
    experiment.data.setup("fit")
    content = checkpoints.load(run_dir / checkpoints.NETWORK_FILE)
    if content["dense_run"] is None:
        raise RecordError(
            f"{run_dir} was pruned from checkpoint={old.config['checkpoint']}, which can't be found again"
        )
    dense = checkpoints.load(run_dir.parent / "dense" / content["dense_run"] / checkpoints.NETWORK_FILE)
    network = experiment.build_network()
    checkpoints.load_into(network, content["network"], run_dir)
    matrices = restored(mapped_matrices(network, experiment), content.get("permutation"))
    placement = mapping_of(matrices, experiment, lambda: content["masks"], Tracker()).place()
    images, _ = next(iter(experiment.data.train_loader()))
    compared = measured_cost(
        experiment.cost, network.eval(), images, matrices, placement, content["masks"],
        dense["network"], experiment.rule.geometry,
    )  # fmt: skip
    record = replace(
        old,
        run=planned.run,
        name=planned.name,
        choices=planned.choices,
        config=planned.plain,
        code={**old.code, "priced_by": code_version()["git_commit"]},
        weights=weight_summary(placement, prunable_matrices(matrices, experiment.prune)),
        hardware=old.hardware
        | hardware_summary(experiment, matrices, placement)
        | {"cost": compared.summary()},
    )
    record.write(planned.run_dir / RECORD_FILE)
    return planned.run_dir / RECORD_FILE


if __name__ == "__main__":
    print(reprice(Path(sys.argv[1]), sys.argv[2:]))
