"""A run that was checked and has its name and place, but has not begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimlab.config.arrays import device_name
from cimlab.config.compose import shipped_target
from cimlab.config.own import own_file, own_name
from cimlab.config.schema import KNOWN_BY_FOLDER, TrainConfig, choice_names
from cimlab.records.record import RECORD_FILE, Remembered, RunRecord
from cimlab.runs.identity import Identity, identity_of
from cimlab.training.settings import PruneSettings


@dataclass(frozen=True)
class PlannedRun:
    """What is going to be done.

    Args:
        config: typed; plain: the same in plain containers, for the record.
        choices: group -> choice; methods joined by +.
        identity: content hashes of what shapes the result, and the dense network.
        grid: the experiment file that the run is a point of.
        search: the search that it is a trial of; empty otherwise.
    """

    config: TrainConfig
    plain: dict[str, Any]
    choices: dict[str, str]
    identity: Identity
    grid: str | None = None
    search: str = ""

    @property
    def run(self) -> str:
        """Content hash of what shapes the result."""
        return self.identity.run

    @property
    def dense_run(self) -> str:
        """Content hash of what shapes the dense network."""
        return self.identity.dense

    @property
    def name(self) -> str:
        """Readable, unique together with the hash."""
        return run_name(self.choices, self.config.prune, self.config.seed)

    @property
    def run_dir(self) -> Path:
        """Where the run's files go."""
        return Path(self.config.paths.output_dir) / f"{self.name}-{self.run[:8]}"

    @property
    def record_file(self) -> Path:
        """Its record."""
        return self.run_dir / RECORD_FILE

    def look(self) -> None:
        """Refuse, before anything heavy is imported, data whose folder is not there and that nobody fetches.

        Raises:
            DataError: names the folder.
        """
        from cimlab.data.survey import require_folder

        data = self.plain["data"]
        if data.get("_target_") in KNOWN_BY_FOLDER:
            require_folder(Path(data["data_dir"]))
        elif data.get("download") is False:
            require_folder(Path(data["data_dir"]), "put the data there (download is off)")

    def check(self) -> None:
        """Build the parts and throw them away; looks whether data that nobody can load are there, writes nothing.

        Raises:
            ConfigError: a part refuses its arguments.
            DataError: a folder of images is not there.
        """
        from cimlab.runs.parts import assemble

        self.look()
        assemble(self)

    def perform(self) -> RunRecord:
        """Do it, unless its record exists.

        Raises:
            FolderLockError: another process is doing it.
            ConfigError and the failures of `cimlab.training`, each one line.
        """
        from cimlab.runs.train import perform

        return perform(self)

    @property
    def dense_dir(self) -> Path:
        """Where its dense network is kept."""
        return Path(self.config.paths.dense_dir) / self.dense_run


def run_name(choices: Mapping[str, str], prune: PruneSettings, seed: int) -> str:
    """What a run is called where its hash alone would tell a reader nothing."""
    of = "" if prune.budget == "weights" else f"-{prune.budget}"
    network = f"{choices['model']}-{choices['data']}-{choices['granularity']}"
    return f"{network}-{prune.remaining:g}{of}-s{seed}"


def plan(
    config: TrainConfig,
    plain: dict[str, Any],
    all_choices: dict[str, str],
    text_of: Remembered | None = None,
) -> PlannedRun:
    """Give a checked configuration its identity; planning many, give each the same `text_of`.

    Raises:
        ConfigError: a choice is no plain name, or a file that is part of the identity can't be read.
    """
    choices = called(all_choices, plain)
    choices["device"] = device_name(plain["device"])
    choices.pop("method", None)
    if plain["method"]:
        choices["method"] = "+".join(sorted(plain["method"]))
    return PlannedRun(config, plain, choices, identity_of(plain, text_of), all_choices.get("experiments"))


def called(all_choices: dict[str, str], plain: Mapping[str, Any]) -> dict[str, str]:
    """Of every group its choice by its name, and a part of one's own by its file, module or class.

    Raises:
        ConfigError: a name is not plain; names become part of folders.
    """
    return {
        group: _called(group, choice, plain[group]) for group, choice in choice_names(all_choices).items()
    }


def _called(group: str, choice: str, node: Any) -> str:
    if group == "model" and own_file(node) is not None:
        return own_name(node)
    target = node.get("_target_") if isinstance(node, dict) else None
    if not isinstance(target, str) or target == shipped_target(
        group, choice
    ):  # what is no text is refused later
        return choice
    module, _, name = target.rpartition(".")
    return name if module.startswith(("cimlab.", "torch")) else module.rpartition(".")[2]
