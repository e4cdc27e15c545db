"""F8: loss, energy and throughput against rows and columns of the operation unit, each size at the same budget."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

from cimlab.records.record import content_hash
from cimlab.reporting.chart import by_series, chart, line_and_points, quantity
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.methods import budget, combination, network_told
from cimlab.reporting.parts import Drawing, NotRun, figure
from cimlab.reporting.priced import prices
from cimlab.reporting.studies import Point, Study, geometry_of, loss

UNIT_SIZE = ("geometry.active_rows", "geometry.columns_per_adc", "geometry.adc_bits")
PANELS = {
    "loss": "loss of accuracy (points)",
    "energy": "energy per image (µJ)",
    "rate": "throughput (images/s per mm²)",
}


@figure("F8", "Effect of the operation unit's rows and columns, each size at the same budget")
def unit_size_figure(evidence: Evidence) -> Drawing:
    """Loss, energy and throughput of the area that each size takes."""
    family, point = _shown(evidence)
    if point is None:
        raise NotRun(
            "no two priced runs differ in the operation unit's size alone (experiments/operation_unit_size.yaml)"
        )
    rows = [_unit_row(study, point) for study in family]
    scale = {"type": "log", "base": 2, "nice": False}
    ticks = {"values": sorted({row["rows"] for row in rows}), "labelOverlap": False}
    x = quantity("rows", "rows on at once", scale=scale, axis=ticks)
    channels = by_series("columns", "weights read at once", sorted({row["columns"] for row in rows}), 6)
    panels = [
        {"width": 165, "height": 130, "layer": line_and_points(x, quantity(field, label), channels)}
        for field, label in PANELS.items()
    ]
    seeds = " or ".join(map(str, sorted({len(study.points[point]) for study in family})))
    share = f"asked for {100 * point[1]:g} % of the {budget(family[0])} of each size's dense network"
    notes = (
        f"{network_told(family)}; {point[0]}, {combination(family[0])}, {share}; seeds per point: {seeds}.",
        _reached_note(family, point),
        _converters_note(family),
    )
    return Drawing(chart(rows, hconcat=panels), wide=True, notes=notes)


def _reached_note(family: list[Study], point: Point) -> str:
    """A budget counts neither what is exempt from pruning nor what no step takes, as leakage and the index."""
    reached = [100 * priced["ratio"]["energy_j"] for study in family for priced in prices(study, point)]
    return f"Of the dense network's energy, all included, {min(reached):.0f} to {max(reached):.0f} % is left."


def _converters_note(family: list[Study]) -> str:
    """More rows need finer converters, which take more energy and area."""
    bits = {own.active_rows: own.resolution_bits for own in (geometry_of(s.records[0]) for s in family)}
    return f"Converters have {', '.join(f'{bits[rows]} bits at {rows} rows' for rows in sorted(bits))}."


def _shown(evidence: Evidence) -> tuple[list[Study], Point | None]:
    """Studies that differ in the operation unit's size alone, and the priced point that most of them have; of several
    groups the one on the hardest data, of those the largest."""
    found = _families(evidence.studies)
    if not found:
        return [], None
    hardest = found[0][0].data  # studies come harder data first
    family = max((group for group in found if group[0].data == hardest), key=len)
    points = [point for study in family for point in study.points if prices(study, point)]
    if len(points) < 2:
        return [], None
    point = max(sorted(set(points)), key=points.count)
    return [study for study in family if prices(study, point)], point


def unit_sizes(evidence: Evidence) -> tuple[list[dict[str, float]], str]:
    """What the figure shows of each size, and of what it was asked to keep how much: nothing where no two runs differ
    in it alone."""
    family, point = _shown(evidence)
    if point is None:
        return [], ""
    return [_unit_row(study, point) for study in family], f"{100 * point[1]:g} % of the {budget(family[0])}"


def _unit_row(study: Study, point: Point) -> dict[str, float]:
    rows, columns = geometry_of(study.records[0]).operation_unit
    totals = [priced["total"] for priced in prices(study, point)]
    return {
        "rows": rows,
        "columns": columns,
        "loss": study.mean(point, loss),
        "energy": fmean(1e6 * total["energy_j"] for total in totals),
        "rate": fmean(total["images_per_s"] / (1e6 * total["area_m2"]) for total in totals),
    }


def _families(studies: list[Study]) -> list[list[Study]]:
    """Studies that differ in the operation unit's size alone, in groups of two or more."""
    groups: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        fixed = {key: value for key, value in study.settings.items() if key not in UNIT_SIZE}
        groups[content_hash(fixed)].append(study)
    return [group for group in groups.values() if len(group) > 1]
