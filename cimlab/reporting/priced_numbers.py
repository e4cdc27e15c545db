"""The numbers of the paper's sentences about networks with prices: what energy and throughput become, and where."""

from __future__ import annotations

import re
from operator import itemgetter
from statistics import fmean
from typing import Any

from cimlab.choices import first_line
from cimlab.records.record import RunRecord
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.figures.F2_area import unbeaten
from cimlab.reporting.figures.F7_energy import energy_rows
from cimlab.reporting.methods import apart, budget, combination, one_a_budget
from cimlab.reporting.point_numbers import point as point_told
from cimlab.reporting.point_numbers import training
from cimlab.reporting.priced import (
    ADC_FACTORS,
    Ratio,
    area_curve,
    at_adc_price,
    cost,
    cost_ratio,
    gathered_ratio,
    prices,
    support_share,
)
from cimlab.reporting.studies import Study, asked, loss

CHEAP = 0.25
"""Most energy, over dense on the same area, of a point that has the claim's hardware half: far below what a unit that
skips little can reach at the claimed compression."""
SAME_COMPRESSION = 0.05
"""Two units compress alike whose ratios are this far apart at most."""
SAME_LOSS = 0.25
"""Two points lose about the same whose losses are this many points apart at most."""


def priced_numbers(evidence: Evidence) -> dict[str, Any]:
    """What is said of networks with prices; JSON values."""
    families = evidence.priced
    by_budget = [one_a_budget(family) for family in families]
    return {
        "priced": [*filter(None, map(_network, by_budget))],
        "laid": _laid(families),
        "both": _both(families, evidence.published.drop),
        "both_gathered": _both(families, evidence.published.drop, gathered_ratio),
        "area": _over_areas(families[0]) if families else None,
        "bars": _bars(by_budget[0]) if families else None,
        "adc_price": _adc_price(families),
    }


def _network(family: list[Study]) -> dict[str, Any] | None:
    """A network with prices: near its reference, unit by unit from the most accurate, and who leaves least energy.

    None where no run near the reference has a price.
    """
    first, budgets, used = family[0], [], []
    for study, told in zip(family, apart(family), strict=True):
        points = [point for point in study.at(first.reference) if cost_ratio(study, point, "energy_j")]
        units = sorted((_costs(study, *point) for point in points), key=lambda unit: float(unit["loss"]))
        used += points
        if units:
            cheapest = min(units, key=lambda unit: float(unit["energy"]))
            budgets.append({
                "told": told, "counts": budget(study), "units": units, "cheapest": cheapest, "alike": _alike(units),
                **_against(cheapest, units, budgets), "alike_loss": _at_equal_loss(first, study, cheapest["name"]),
            })  # fmt: skip
    if not budgets:
        return None
    return {
        "title": first.title, "dense": first.dense_told, "asked": asked(used), "budgets": budgets,
        "first": budgets[0], "others": [b for b in budgets if b["counts"] != budgets[0]["counts"]],
        "seeds": str(max(study.seeds for study in family)),
        **training(first),
        "retrain_epochs": " or ".join(dict.fromkeys(training(study)["retrain_epochs"] for study in family)),
        "methods": combination(first), "area": _area(first.records[0]),
    }  # fmt: skip


def _alike(units: list[dict[str, Any]]) -> dict[str, str] | None:
    """Most energy over least, of units that compress as much as the most accurate one does; None of one unit."""
    wanted = float(units[0]["compression"])
    same = [
        float(unit["energy"]) for unit in units if abs(float(unit["compression"]) / wanted - 1) <= SAME_COMPRESSION
    ]  # fmt: skip
    if len(same) < 2:
        return None
    return {"compression": f"{wanted:.1f}", "factor": f"{max(same) / min(same):.1f}"}


def _against(
    cheapest: dict[str, Any], units: list[dict[str, Any]], before: list[dict[str, Any]]
) -> dict[str, Any]:
    """What a further budget has beside the first: its cheapest unit's loss and energy there, and how much energy one
    unit saves at most where the budget counts otherwise."""
    if not before:
        return {}
    first = {unit["name"]: unit for unit in before[0]["units"]}
    both = [float(first[u["name"]]["energy"]) / float(u["energy"]) for u in units if u["name"] in first]
    return {
        "more_loss": f"{float(cheapest['loss']) - float(before[0]['cheapest']['loss']):.2f}",
        "same": first.get(cheapest["name"]),
        "factor": f"{max(both):.1f}" if both else None,
    }  # fmt: skip


def _at_equal_loss(first: Study, study: Study, name: str) -> dict[str, Any] | None:
    """A unit under two budgets at the two points that lose most alike; None where none do."""
    if study is first:
        return None
    pairs = [
        (abs(first.mean(at, loss) - study.mean(other, loss)), at, other)
        for at in first.points for other in study.points
        if at[0] == other[0] == name and prices(first, at) and prices(study, other)
    ]  # fmt: skip
    apart, at, other = min(pairs, default=(SAME_LOSS + 1, ("", 0.0), ("", 0.0)))
    return {"first": _costs(first, *at), "own": _costs(study, *other)} if apart <= SAME_LOSS else None


def _costs(study: Study, name: str, at: float, ratio: Ratio = cost_ratio) -> dict[str, Any]:
    energy, speed = (ratio(study, (name, at), key) for key in ("energy_j", "images_per_s"))
    assert energy is not None
    assert speed is not None
    return {
        **point_told(study, name, at),
        "energy": f"{100 * energy.mean:.1f}",
        "throughput": f"{speed.mean:.2f}",
        "support": f"{100 * fmean(map(support_share, prices(study, (name, at)))):.1f}",
    }


def _area(record: RunRecord) -> str | None:
    """Area of the chip, over one dense copy."""
    area = record.config.get("chip", {}).get("area_over_dense")
    return f"{area:g}" if area else None


def _laid(families: list[list[Study]]) -> list[dict[str, Any]]:
    """What networks with prices were laid and priced on; a network that was on several stands in each."""
    titles: dict[tuple[str, str], dict[str, bool]] = {}
    for family in families:
        for record in (record for study in family for record in study.records):
            if priced := cost(record):
                titles.setdefault((_placed(record), _accelerator(record, priced)), {})[family[0].title] = True
    return [
        {
            "titles": [*own], "placed": placed, "accelerator": accelerator,
            "reordered": placed.startswith(REORDERED),
        }
        for (placed, accelerator), own in titles.items()
    ]  # fmt: skip


REORDERED = "reordered and "


def _placed(record: RunRecord) -> str:
    placement = record.hardware["mapping"]["placement"].replace("_", " ")
    return REORDERED + placement if record.hardware.get("reorder") else placement


def _accelerator(record: RunRecord, priced: dict[str, Any]) -> str:
    technology = _described("technology", priced["technology"])
    converters = _described("adc_price", priced.get("adc_price") or priced["adc_model"])
    area = _area(record)
    return f"{technology} and {converters}" + (
        f", on {area} times the area of one dense copy" if area else ""
    )


def _described(group: str, choice: str) -> str:
    """A choice with the first words that its file says of it, as "ISAAC's components at 32 nm (isaac32)"."""
    said = first_line(group, choice)
    if said is None:
        return choice
    words, *_ = re.split(r" \(|[:;]", said)
    return f"{words} ({choice})"


def _both(families: list[list[Study]], drop: float, ratio: Ratio = cost_ratio) -> dict[str, Any] | None:
    """What comes nearest to both halves of the claim: of the points at little energy, the one that loses least beyond
    the claimed loss, and of those that lose no more than that, the one at least energy."""
    cheap = [
        (max(study.mean(point, loss), drop), energy.mean, study, point)
        for family in families for study in family for point in study.points
        if (energy := ratio(study, point, "energy_j")) and energy.mean <= CHEAP
    ]  # fmt: skip
    if not cheap:
        return None
    lost, _, study, point = min(cheap, key=itemgetter(0, 1))
    return {
        "title": study.title, "dense": study.dense_told, **training(study), "methods": combination(study),
        **_costs(study, *point, ratio), "at_most": f"{100 * CHEAP:g}",
        "candidates": str(len(cheap)), "within": lost <= drop,
        "networks": str(len({other.title for _, _, other, _ in cheap})),
        "of_these": str(sum(other[0] <= drop for other in cheap)),
        "runs": [record.run for record in study.points[point]],
    }  # fmt: skip


def _over_areas(family: list[Study]) -> dict[str, str] | None:
    """Throughput over dense of the cheapest drawn unit: where the dense network only just fits, and from the area of
    the chip on, from least to most."""
    drawn = next(iter(unbeaten(family)), None)
    if drawn is None:
        return None
    chip = _area(drawn["study"].points[drawn["point"]][0])
    curve = [
        (point["area_over_dense"], point["images_per_s"] / point["dense_images_per_s"])
        for point in area_curve(drawn["study"], drawn["point"])
        if point["dense_images_per_s"] and point["images_per_s"]
    ]
    wide = [ratio for area, ratio in curve if chip and area >= float(chip)]
    if not wide:
        return None
    return {
        "title": family[0].title, "name": drawn["point"][0], "told": drawn["told"], "from": chip or "",
        "first": f"{curve[0][1]:.1f}", "least": f"{min(wide):.1f}", "most": f"{max(wide):.1f}",
        "to": f"{curve[-1][0]:g}", "tight": curve[0][1] > max(wide),
    }  # fmt: skip


def _bars(family: list[Study]) -> dict[str, str]:
    """In how many bars of energy, of how many, converters are the largest part."""
    bars: dict[str, dict[str, float]] = {}
    for row in energy_rows(family):
        bars.setdefault(row["bar"], {})[row["part"]] = row["energy"]
    return {
        "all": str(len(bars)),
        "converters": str(sum(max(parts, key=parts.__getitem__) == "ADC" for parts in bars.values())),
    }


def _adc_price(families: list[list[Study]]) -> dict[str, str] | None:
    """How many times a ratio of energies changes at most over the prices of a conversion that are tried."""
    changes = [
        max(ratios) / min(ratios)
        for family in map(one_a_budget, families) for study in family for point in study.at(family[0].reference)
        for priced in prices(study, point)
        for ratios in [[at_adc_price(priced, factor) for factor in ADC_FACTORS]]
    ]  # fmt: skip
    if not changes:
        return None
    return {"factor": f"{max(changes):.1f}", "span": f"{max(ADC_FACTORS) / min(ADC_FACTORS):g}"}
