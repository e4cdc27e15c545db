"""The record of a simulated network: its accuracy on the arrays, chip by chip, and where the signal goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from cimlab.records.flat import flat
from cimlab.records.record import Record

SIMULATION_SCHEMA = 1
SIMULATION_FILE = "simulation.json"
LATER = {"analog.steps": "learned", "mapping.placement": "compacted"}
"""Settings that came after records were committed -> what there was before."""


@dataclass(frozen=True)
class SimulationRecord(Record):
    """What `cimlab simulate` reports.

    Args:
        simulation: content hash of what defines the result, checkpoint included.
        name: readable name, unique together with the hash.
        created: UTC time at which the record was written, ISO 8601.
        seed: of calibration images and device draws.
        choices: group -> choice.
        config: the resolved configuration.
        code: cimlab's version, git commit, and whether the tree had uncommitted changes.
        packages: versions of the libraries that the numbers depend on.
        machine: processor, cores, memory, operating system, Python.
        wall_time_s: seconds for conversion, and for all draws.
        images: test images that every accuracy is over.
        accuracy: 0 to 1: `float`, as trained; `quantised`, on ideal cells and lossless ADCs; `draws`, on the real
            ADCs and devices, chip by chip; their `mean`, `spread` (standard deviation; None for one) and
            `interval` (95 %, of the mean, Student's t; None for one); `loss_error`, the standard error of float - mean
            over the choice of images, which older records lack.
        weights: all that take part in a product (total), on arrays, digital, left; remaining over all; compression.
            Older records have total and left, of those on arrays.
        layers: by layer: ADC step in levels; `exact`, whether the arrays compute the integer product, so that all error
            is of rounded weights and inputs; `fitted_on_ideal`, whether the ADC's range was fitted to the sums of ideal
            cells and its own are not ideal (older records lack both); and signal-to-noise ratios in decibels, `snr_db`
            with the errors of all layers before and `own_snr_db` with its own alone (None where the error is nothing).
        origin: how the network was pruned, as its checkpoint says: `run` (content hash), `name`, `seed`,
            `granularity`, its `parameters`, `remaining` (asked, of the prunable weights). None where it doesn't say, as
            dense networks and checkpoints of earlier versions don't.
    """

    simulation: str
    name: str
    created: str
    seed: int
    choices: dict[str, str]
    config: dict[str, Any]
    code: dict[str, Any]
    packages: dict[str, str]
    machine: dict[str, Any]
    wall_time_s: dict[str, float]
    images: int
    accuracy: dict[str, Any]
    weights: dict[str, int | float]
    layers: dict[str, dict[str, Any]]
    origin: dict[str, Any] | None = None
    schema: int = field(default=SIMULATION_SCHEMA, kw_only=True)

    @property
    def points_lost(self) -> float:
        """Percentage points of accuracy between floating point and the arrays; below 0 where these do better."""
        return 100 * (self.accuracy["float"] - self.accuracy["mean"])

    @property
    def points_lost_error(self) -> float | None:
        """Standard error of `points_lost` over the choice of test images; None where the record doesn't have it."""
        error = self.accuracy.get("loss_error")
        return None if error is None else 100 * error

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration in dotted keys; what earlier versions had no setting for, as they did it.

        In place and compacted, steps add up the same rows: one setting, as it is one simulation.
        """
        found = LATER | flat(self.config)
        if found["mapping.placement"] != "gathered":
            found["mapping.placement"] = "compacted"
        return found

    @property
    def resolution(self) -> int | Literal["lossless"]:
        """The ADC's bits, or `lossless`: as many as no sum needs more."""
        if self.choices["adc"] == "ideal":
            return "lossless"
        return self.config["geometry"]["adc_bits"] or "lossless"
