"""T7: energy over that of the unpruned network if a conversion cost less or more than the ADC price says."""

from __future__ import annotations

from functools import partial
from statistics import fmean

from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import PRICED, Evidence
from cimlab.reporting.methods import budget, one_a_budget, shares
from cimlab.reporting.parts import table
from cimlab.reporting.priced import ADC_FACTORS, at_adc_price, prices, pricing_notes
from cimlab.reporting.published import compression
from cimlab.reporting.studies import Study, asked, worded
from cimlab.reporting.table import Column, Table


@table("T7", "Energy ratio to dense, by the price of a conversion", PRICED)
def sensitivity_table(evidence: Evidence, families: list[list[Study]]) -> Table:
    """Energy is linear in the price of a conversion, so that ratios at another are exact where ADCs do not idle."""
    rows, records = [], []
    for family in map(one_a_budget, families):
        for study, share in zip(family, shares(family), strict=True):
            for point in study.at(family[0].reference):
                priced = prices(study, point)
                if priced:
                    cells = [Estimate.of(at_adc_price(c, factor) for c in priced) for factor in ADC_FACTORS]
                    rows.append((worded(study.model), asked([point]), share, point[0], *cells))
                    records += study.points[point]
    columns = (
        Column("network", text=True), Column("asked", "%", 0), Column("of", text=True),
        Column("granularity", text=True),
        *(Column(f"ADC x {factor:g}", digits=3, spread=False) for factor in ADC_FACTORS),
    )  # fmt: skip
    return Table(columns, tuple(rows), (*_cheapest_note(families[0]), *pricing_notes(records)))


def _cheapest_note(family: list[Study]) -> tuple[str, ...]:
    """Which unit leaves least energy at each price, where that is not one unit; of the first network and budget."""
    study, at = family[0], family[0].reference
    compressed = {
        name: compression(study, (name, at)).mean for name in study.granularities if prices(study, (name, at))
    }
    if not compressed:
        return ()
    cheapest = [min(compressed, key=partial(_energy, study, at, factor)) for factor in ADC_FACTORS]
    if len(set(cheapest)) == 1:
        return ()
    told = ", ".join(
        f"{name} at x {factor:g} ({compressed[name]:.1f}x compression)"
        for factor, name in zip(ADC_FACTORS, cheapest, strict=True)
    )
    return (f"Least energy on {study.title}, budget of {budget(study)}: {told}.",)


def _energy(study: Study, at: float, factor: float, name: str) -> float:
    return fmean(at_adc_price(c, factor) for c in prices(study, (name, at)))
