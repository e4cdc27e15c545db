"""Which simulations make one line of a figure, those that differ in ADC bits, seeds and chips alone; and its name.

Two networks, arrays, devices or ways to quantise are never drawn as one. What records of earlier versions don't say
(how the network was pruned) is told apart by the checkpoint's folder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cimlab.records.flat import flat
from cimlab.records.record import RunRecord, canonical
from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.studies import in_words, worded

REPEATED = (
    "geometry.adc_bits", "seed", "draws", "checkpoint", "rerun", "extensions", "paths", "threads", "data.data_dir",
    "data.download", "data.num_workers", "data.seed", "analog.backend",
)  # fmt: skip
"""Settings that set no line apart: the axis, what is repeated, and what changes no number."""


AWARE, ROUNDED = "hardware-aware", "rounded retraining"
"""What a network is called that was retrained on arrays with the errors of devices, or with rounding alone."""
PLACEMENT = "mapping.placement"
CHOSEN = ("model", "data", "adc", "device")
"""Groups whose choice says more than its settings do."""


def granularity(record: SimulationRecord) -> str:
    """What the network was pruned by, in words; empty where its checkpoint doesn't say."""
    if record.origin is None:
        return ""
    return in_words(record.origin["granularity"], record.origin["parameters"])


def pruned(record: SimulationRecord) -> str:
    """What is left of the network: `dense`, or `operation unit, 25 % left`."""
    share = record.weights["left"] / record.weights["total"]
    by, left = granularity(record), f"{100 * share:.0f} % left"
    return "dense" if share == 1 and not by else ", ".join(filter(None, (by, left)))


def resolution(record: SimulationRecord) -> str:
    """The ADC's bits, or `lossless`."""
    return str(record.resolution)


def by_resolution(line: list[SimulationRecord]) -> dict[str, list[SimulationRecord]]:
    """The simulations of a line, ADC by ADC."""
    found: dict[str, list[SimulationRecord]] = defaultdict(list)
    for record in line:
        found[resolution(record)].append(record)
    return found


@dataclass(frozen=True)
class Names:
    """How networks are called.

    Args:
        several: of data and ADC, what differs among the simulations and is therefore named.
        rounded: run -> what its retraining is called, where it rounded as arrays do.
        dense: run -> what its dense network is told apart by from others of the same model.
    """

    several: frozenset[str] = frozenset()
    rounded: Mapping[str, str] = field(default_factory=dict)
    dense: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, simulations: Sequence[SimulationRecord], records: Iterable[RunRecord]) -> Names:
        """For simulations, and records of the runs that their networks are from, where there are any."""
        choices = [simulation.choices for simulation in simulations]
        differ = (group for group in ("data", "adc") if len({own[group] for own in choices}) > 1)
        simulated = {simulation.origin["run"] for simulation in simulations if simulation.origin}
        runs = [record for record in records if record.run in simulated]
        rounded = {record.run: said for record in runs if (said := _rounded(record))}
        return cls(frozenset(differ), rounded, _dense(runs))

    def network(self, record: SimulationRecord) -> str:
        """The first words of a line's name: which network it is of, with its data where there are several."""
        data = [worded(record.choices["data"])] if "data" in self.several else []
        dense = self.dense.get(record.origin["run"], "") if record.origin else ""
        rounded = [said] if (said := self.retraining(record)) else []
        gathered = ["gathered rows"] if record.settings[PLACEMENT] == "gathered" else []
        return ", ".join(
            [worded(record.choices["model"]) + dense, *data, pruned(record), *rounded, *gathered]
        )

    def retraining(self, record: SimulationRecord) -> str | None:
        """What the network's retraining is called, where it rounded as arrays do."""
        return self.rounded.get(record.origin["run"]) if record.origin else None

    def line(self, record: SimulationRecord) -> str:
        """The name of a line, but for settings that it does not tell apart."""
        adc = [f"{worded(record.choices['adc'])} ADC"] if "adc" in self.several else []
        return ", ".join([self.network(record), worded(record.choices["device"].replace("+", ", ")), *adc])


def _dense(runs: list[RunRecord]) -> dict[str, str]:
    """Run -> the test accuracy of its dense network, where runs of one model start from different ones."""
    told = {
        run.run: f" (dense {100 * run.accuracy['dense']['test']:.2f} %)"
        for run in runs
        if "dense" in run.accuracy
    }
    of: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        of[run.choices["model"]].add(told.get(run.run, ""))
    return {run.run: told.get(run.run, "") for run in runs if len(of[run.choices["model"]]) > 1}


def _rounded(record: RunRecord) -> str | None:
    methods = (record.config.get("method") or {}).values()
    aware = [own["hardware_aware"] for own in methods if isinstance(own, dict) and "hardware_aware" in own]
    return None if not aware else AWARE if any(aware) else ROUNDED


def lines(simulations: list[SimulationRecord], names: Names) -> dict[str, list[SimulationRecord]]:
    """Name of a line -> its simulations. Settings that the usual names don't tell apart are named where they differ."""
    groups: dict[str, list[SimulationRecord]] = defaultdict(list)
    for record in simulations:
        groups[canonical(_settings(record))].append(record)
    alike: dict[str, list[tuple[dict[str, Any], list[SimulationRecord]]]] = defaultdict(list)
    for records in groups.values():
        for settings, own in _networks(records):
            alike[names.line(own[0])].append((settings, own))
    found = {}
    for name, same in alike.items():
        keys = sorted({key for settings, _ in same for key in settings})
        odd = [k for k in keys if len({canonical(settings.get(k)) for settings, _ in same}) > 1]
        for settings, own in same:
            found[", ".join([name, *(_said(key, settings.get(key)) for key in odd)])] = own
    return found


def _settings(record: SimulationRecord) -> dict[str, Any]:
    """What a line has in common, as dotted keys."""
    shared = {
        key: value
        for key, value in record.settings.items()
        if not any(key == name or key.startswith(f"{name}.") for name in REPEATED)
    }
    known = record.origin or {}
    shared |= flat({key: known.get(key) for key in ("granularity", "parameters", "remaining")})
    shared |= {key: record.choices[key] for key in CHOSEN}
    left = pruned(record) if record.origin is None else None
    return shared | {"images": record.images, "left": left}


def beside_the_devices(record: SimulationRecord) -> str:
    """The same for simulations that differ in their devices, seeds and chips alone."""
    return canonical([network_hash(record), resolution(record), _beside("device", record)])


def beside_the_converters(record: SimulationRecord) -> str:
    """The same for simulations of a network that differ in range and bits of their ADCs, seeds and chips alone."""
    return canonical([network_hash(record), _beside("adc", record)])


def beside_the_placement(record: SimulationRecord) -> str:
    """The same for simulations of a network that differ in which rows share steps, seeds and chips alone."""
    return canonical([network_hash(record), resolution(record), _beside("mapping", record)])


def _beside(group: str, record: SimulationRecord) -> dict[str, Any]:
    """Settings but for those of a group."""
    return {key: value for key, value in _settings(record).items() if key.partition(".")[0] != group}


def _networks(
    records: list[SimulationRecord],
) -> list[tuple[dict[str, Any], list[SimulationRecord]]]:
    """Networks trained with different seeds are one line; others, which the settings here don't tell apart, are not."""
    own: dict[str, list[SimulationRecord]] = defaultdict(list)
    for record in records:
        own[network_hash(record)].append(record)
    seeds = [None if r.origin is None else r.origin["seed"] for r, *_ in own.values()]
    if len(own) == 1 or (None not in seeds and len(set(seeds)) == len(seeds)):
        return [(_settings(records[0]), records)]
    return [(_settings(group[0]) | {"network": network}, group) for network, group in own.items()]


def network_hash(record: SimulationRecord) -> str:
    """A short name for the trained network: its run's hash, or the folder of its checkpoint."""
    if record.origin is not None:
        return record.origin["run"][:8]
    return Path(record.config.get("checkpoint") or "").parent.name[-8:]


def _said(key: str, value: Any) -> str:
    """`active rows 16`, for geometry.active_rows."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    return f"{key.rpartition('.')[2].replace('_', ' ')} {'none' if value is None else value}"
