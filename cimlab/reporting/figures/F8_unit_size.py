"""F8: loss, energy and throughput against rows and columns of the operation unit, at fixed compression."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

from cimlab.records.record import content_hash
from cimlab.reporting.chart import by_series, chart, line_and_points, quantity
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.methods import combination, network_told
from cimlab.reporting.parts import Drawing, NotRun, figure
from cimlab.reporting.priced import cost
from cimlab.reporting.studies import Point, Study, geometry_of, loss

THOUSANDS = {"format": "~s", "labelExpr": "datum.value ? datum.label : '0'"}
"""Numbers by prefix; zero has none."""
UNIT_SIZE = ("geometry.active_rows", "geometry.columns_per_adc", "geometry.adc_bits")


@figure("F8", "Effect of the operation unit's rows and columns, at fixed compression")
def unit_size_figure(evidence: Evidence) -> Drawing:
    """Loss, and energy and throughput or the counts that they follow from."""
    family, point = _shown(evidence)
    if point is None:
        raise NotRun(
            "no two runs differ in the operation unit's size alone (experiments/operation_unit_size.yaml)"
        )
    priced = all(cost(record) is not None for study in family for record in study.points[point])
    rows = [_unit_row(study, point, priced) for study in family]
    scale = {"type": "log", "base": 2, "nice": False}
    ticks = {"values": sorted({row["rows"] for row in rows}), "labelOverlap": False}
    x = quantity("rows", "rows on at once", scale=scale, axis=ticks)
    channels = by_series("columns", "weights read at once", sorted({row["columns"] for row in rows}), 6)
    effort = (
        {"energy": "energy per image (µJ)", "rate": "throughput (images/s)"}
        if priced
        else {"conversions": "ADC conversions per image", "steps": "steps per image, busiest arrays"}
    )
    panels = [
        {
            "width": 165,
            "height": 130,
            "layer": line_and_points(x, quantity(field, label, axis=axis), channels),
        }
        for field, label, axis in [
            ("loss", "loss of accuracy (points)", {}),
            *((field, label, THOUSANDS) for field, label in effort.items()),
        ]
    ]
    seeds = " or ".join(map(str, sorted({len(study.points[point]) for study in family})))
    pruned = f"{combination(family[0])}, {100 * point[1]:g} % kept"
    notes = [f"{network_told(family)}; {point[0]}, {pruned}; seeds per point: {seeds}."]
    if not priced:
        notes.append(_converters_note(family))
    return Drawing(chart(rows, hconcat=panels), wide=True, notes=tuple(notes))


def _converters_note(family: list[Study]) -> str:
    """Conversions of several resolutions differ in price, which a count of them does not show."""
    bits = {own.active_rows: own.resolution_bits for own in (geometry_of(s.records[0]) for s in family)}
    told = ", ".join(f"{bits[rows]} bits at {rows} rows" for rows in sorted(bits))
    return f"Counts, not prices: converters have {told}, and finer ones take more energy."


def _shown(evidence: Evidence) -> tuple[list[Study], Point | None]:
    """Studies that differ in the operation unit's size alone, and the point that most of them have; of several groups
    the one on the hardest data, of those the largest."""
    found = _families(evidence.studies)
    if not found:
        return [], None
    hardest = found[0][0].data  # studies come harder data first
    family = max((group for group in found if group[0].data == hardest), key=len)
    points = [point for study in family for point in study.points]
    point = max(sorted(set(points)), key=points.count)
    return [study for study in family if point in study.points], point


def unit_sizes(evidence: Evidence) -> list[dict[str, float]]:
    """What the figure shows of each size, loss and counts: nothing where no two runs differ in it alone."""
    family, point = _shown(evidence)
    return [] if point is None else [_unit_row(study, point, priced=False) for study in family]


def _unit_row(study: Study, point: Point, priced: bool) -> dict[str, float]:
    rows, columns = geometry_of(study.records[0]).operation_unit
    row = {
        "rows": rows,
        "columns": columns,
        "loss": study.mean(point, loss),
        "conversions": study.mean(point, lambda r: r.hardware["total"]["adc_conversions"]),
        "steps": study.mean(point, lambda r: r.hardware["total"]["critical_steps"]),
    }
    if priced:
        totals = [c["total"] for c in map(cost, study.points[point]) if c]
        row["energy"] = fmean(1e6 * total["energy_j"] for total in totals)
        row["rate"] = fmean(total["images_per_s"] for total in totals)
    return row


def _families(studies: list[Study]) -> list[list[Study]]:
    """Studies that differ in the operation unit's size alone, in groups of two or more."""
    groups: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        fixed = {key: value for key, value in study.settings.items() if key not in UNIT_SIZE}
        groups[content_hash(fixed)].append(study)
    return [group for group in groups.values() if len(group) > 1]
