"""T7: energy over that of the unpruned network if a conversion cost less or more than the ADC price says."""

from __future__ import annotations

from typing import Any

from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import PRICED, Evidence
from cimlab.reporting.methods import shares
from cimlab.reporting.parts import table
from cimlab.reporting.priced import cost, pricing_notes
from cimlab.reporting.studies import Study, worded
from cimlab.reporting.table import Column, Table

ADC_FACTORS = (0.1, 1.0, 10.0)
"""One 8-bit conversion costs 0.16 to 15.6 pJ at 32 nm, depending on who publishes it: a decade on either side."""


@table("T7", "Energy ratio to dense, by the price of a conversion", PRICED)
def sensitivity_table(evidence: Evidence, families: list[list[Study]]) -> Table:
    """Energy is linear in the price of a conversion, so that the ratio at another price is exact."""
    rows, records = [], []
    for family in families:
        at = family[0].reference
        for study, share in zip(family, shares(family), strict=True):
            for name in study.granularities:
                priced = [c for c in map(cost, study.points.get((name, at), ())) if c]
                if priced:
                    cells = [Estimate.of(_energy_ratio(c, factor) for c in priced) for factor in ADC_FACTORS]
                    rows.append((worded(study.model), 100 * at, share, name, *cells))
                    records += study.points[name, at]
    columns = (
        Column("network", text=True), Column("asked", "%", 0), Column("of", text=True),
        Column("granularity", text=True),
        *(Column(f"ADC energy x {factor:g}", digits=3, spread=False) for factor in ADC_FACTORS),
    )  # fmt: skip
    return Table(columns, tuple(rows), pricing_notes(records))


def _energy_ratio(summary: dict[str, Any], factor: float) -> float:
    own, dense = (
        sum(joules * (factor if part == "adc" else 1.0) for part, joules in summary[key].items())
        for key in ("energy_j", "dense_energy_j")
    )
    return own / dense
