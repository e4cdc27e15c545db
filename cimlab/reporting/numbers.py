"""The numbers that the paper's sentences use, as text, by name: nobody types one. None is what was not run."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from operator import itemgetter
from typing import Any

from cimlab.records.flat import flat
from cimlab.records.record import RunRecord
from cimlab.reporting.analog_numbers import array_numbers
from cimlab.reporting.analog_series import Names
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.gathered_numbers import gathered_numbers
from cimlab.reporting.looks import classic as is_classic
from cimlab.reporting.looks import finer_and_skipped
from cimlab.reporting.methods import apart, beside_one_shot, budget, combination, families, network_told
from cimlab.reporting.priced import cost, cost_ratio
from cimlab.reporting.provenance import commit, machine
from cimlab.reporting.published import Headline, ValidationRow
from cimlab.reporting.studies import Study, accuracy, best, geometry_of, left, loss, worded

TEST_IMAGES = {"cifar10": 10000, "cifar100": 10000}
"""Test images of the public data sets (Krizhevsky, 2009); other sets have no fixed size here."""
CHEAP = 0.25
"""Most energy, over dense on the same area, of a point that has the claim's hardware half: far below what a unit that
skips little can reach at the claimed compression."""
SAME_COMPRESSION = 0.05
"""Two units compress alike whose ratios are this far apart at most."""


def numbers(evidence: Evidence) -> dict[str, Any]:
    """Everything that sentences say; JSON values."""
    published, records, found = evidence.published, evidence.records, evidence.studies
    study, ours, judged = evidence.first, evidence.headline, evidence.verdicts
    counted = {
        word: sum(v.verdict == word for v in judged) for word in ("holds", "does not hold", "not tested")
    }
    return {
        "published": {
            "remaining": f"{100 * published.remaining:g}", "compression": f"{published.compression:g}",
            "drop": f"{published.drop:g}",
        },
        "records": {
            "runs": str(len(records)), "studies": str(len(found)),
            "commits": sorted({commit(r) for r in records}), "machines": sorted({machine(r) for r in records}),
            "points": str(sum(len(s.points) for s in found)),
            "networks": _networks(found),
            "granularities": str(len({r.choices["granularity"] for r in records})),
        },
        "claims": {v.name: {"verdict": v.verdict, "evidence": v.evidence, "rule": v.rule} for v in judged},
        "verdicts": {word: str(count) for word, count in counted.items()},
        "main": study and _study(study),
        "strong": _study(evidence.strong) if evidence.strong not in (None, study) else None,
        "headline": ours and _headline(ours),
        "priced": [*filter(None, map(_priced, evidence.priced))],
        "both": _both(evidence.priced, published.drop),
        "gathered": gathered_numbers(evidence),
        "methods": _methods(found),
        "arrays": array_numbers(evidence.simulations, Names.of(evidence.simulations, records)),
        "validation": _validation(evidence.validation),
    }  # fmt: skip


def _priced(family: list[Study]) -> dict[str, Any] | None:
    """A network with prices: at its reference, unit by unit from the most accurate, and who leaves least energy.

    None where no run at the reference has a price.
    """
    first, at = family[0], family[0].reference
    budgets = []
    for study, told in zip(family, apart(family), strict=True):
        names = [name for name in study.granularities if cost_ratio(study, (name, at), "energy_j")]
        units = sorted((_costs(study, name, at) for name in names), key=lambda unit: float(unit["loss"]))
        if units:
            cheapest = min(units, key=lambda unit: float(unit["energy"]))
            budgets.append({
                "told": told, "counts": budget(study), "units": units, "cheapest": cheapest, "alike": _alike(units),
                **_against(cheapest, budgets),
            })  # fmt: skip
    if not budgets:
        return None
    return {
        "title": first.title, "dense": first.dense_told, "asked": f"{100 * at:g}", "budgets": budgets,
        "first": budgets[0], "others": [b for b in budgets if b["counts"] != budgets[0]["counts"]],
        "seeds": str(max(study.seeds for study in family)),
        **_training(first),
        "retrain_epochs": " or ".join(dict.fromkeys(_training(study)["retrain_epochs"] for study in family)),
        "methods": combination(first), **_accelerator(first.records),
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


def _accelerator(records: list[RunRecord]) -> dict[str, str]:
    """What priced networks were laid and priced on; several are named where they differ."""
    costs = [(record, priced) for record in records if (priced := cost(record))]
    placed = dict.fromkeys(
        ("reordered and " if record.hardware.get("reorder") else "")
        + record.hardware["mapping"]["placement"].replace("_", " ")
        for record, _ in costs
    )
    areas = [record.config.get("chip", {}).get("area_over_dense") for record, _ in costs]
    chips = dict.fromkeys(
        f"{priced['technology']} with converters of {priced['adc_price']}"
        + (f", on {area:g} times the area of one dense copy" if area else "")
        for (_, priced), area in zip(costs, areas, strict=True)
    )
    return {"placed": " or ".join(placed), "accelerator": " or ".join(chips)}


def _both(families: list[list[Study]], drop: float) -> dict[str, Any] | None:
    """What comes nearest to both halves of the claim: of the points at little energy, the one that loses least beyond
    the claimed loss, and of those that lose no more than that, the one at least energy."""
    cheap = [
        (max(study.mean(point, loss), drop), energy.mean, study, point)
        for family in families for study in family for point in study.points
        if (energy := cost_ratio(study, point, "energy_j")) and energy.mean <= CHEAP
    ]  # fmt: skip
    if not cheap:
        return None
    lost, _, study, point = min(cheap, key=itemgetter(0, 1))
    return {
        "title": study.title, "dense": study.dense_told, **_training(study), "methods": combination(study),
        **_costs(study, *point), "at_most": f"{100 * CHEAP:g}", "candidates": str(len(cheap)), "within": lost <= drop,
        "of_these": str(sum(other[0] <= drop for other in cheap)),
    }  # fmt: skip


def _against(cheapest: dict[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
    """What the cheapest unit of a further budget has beside the first budget: its own loss and energy there."""
    if not before:
        return {}
    same = next((unit for unit in before[0]["units"] if unit["name"] == cheapest["name"]), None)
    return {
        "more_loss": f"{float(cheapest['loss']) - float(before[0]['cheapest']['loss']):.2f}",
        "same": same,
    }  # fmt: skip


def _costs(study: Study, name: str, at: float) -> dict[str, Any]:
    energy, speed = (cost_ratio(study, (name, at), key) for key in ("energy_j", "images_per_s"))
    assert energy is not None
    assert speed is not None
    return {
        **_point(study, name, at),
        "energy": f"{100 * energy.mean:.1f}",
        "throughput": f"{speed.mean:.2f}",
    }


def _methods(found: list[Study]) -> dict[str, Any] | None:
    """What each training method adds by itself, and the best of them together, unit by unit, on the hardest data.

    Of its networks, the most accurate that was pruned in one shot too; where most combinations were tried.
    """
    for family in families(found):
        points = {point for study in family for point in study.points}
        tried = {point: changes for point in points if len(changes := beside_one_shot(family, point)) > 1}
        if tried:
            most = max(map(len, tried.values()))
            return {
                "title": network_told(family),
                "units": [
                    {"name": name, "asked": f"{100 * fraction:g}", **_best_of(changes)}
                    for (name, fraction), changes in sorted(tried.items()) if len(changes) == most
                ],
            }  # fmt: skip
    return None


def _best_of(changes: dict[str, tuple[Study, Estimate | None]]) -> dict[str, Any]:
    """Single methods and the best combination, most gain first."""
    known = sorted(
        ((estimate.mean, label, len(study.methods)) for label, (study, estimate) in changes.items() if estimate),
        reverse=True,
    )  # fmt: skip
    told = [({"name": label, "change": f"{change:+.2f}"}, number) for change, label, number in known]
    together = [said for said, number in told if number > 1]
    return {
        "single": [said for said, number in told if number == 1],
        "together": together[0] if together else None,
    }


def _networks(found: list[Study]) -> list[str]:
    """The networks of each data set, as one reads them: "ResNet-18, ResNet-20 on CIFAR-10"."""
    names: dict[str, set[str]] = {}
    for study in found:
        names.setdefault(worded(study.data), set()).add(worded(study.model))
    return [f"{', '.join(sorted(names[data]))} on {data}" for data in sorted(names)]


def _study(study: Study) -> dict[str, Any]:
    record = study.records[0]
    geometry, config = geometry_of(record), record.config
    at = study.reference
    fine, classic = best(study, finer_and_skipped, at), best(study, is_classic, at)
    weight = study.of(("weight", at), loss)
    return {
        "title": study.title, "model": worded(study.model), "data": worded(study.data),
        "points": str(len(study.points)),
        "seeds": str(study.seeds), "one_seed": study.seeds == 1, "dense": study.dense_told,
        "granularities": str(len(study.granularities)),
        "weights": f"{record.weights['total']:,.0f}", "prunable": f"{record.weights['prunable']:,.0f}",
        "reference": f"{100 * at:g}", "sampling_error": _sampling_error(study),
        **_training(study),
        "schedule": " and ".join(record.methods) or "one_shot", "saliency": record.choices["saliency"],
        "allocation": config["prune"]["allocation"],
        **{
            name: str(getattr(geometry, name))
            for name in ("rows", "cols", "active_rows", "columns_per_adc", "weight_bits", "cell_bits", "input_bits")
        },
        "dac_bits": str(geometry.dac_bits), "mux_control": geometry.mux_control,
        "encoding": geometry.signed_encoding, "columns_per_weight": str(geometry.columns_per_weight),
        "unit_columns": str(geometry.operation_unit[1]),
        "placement": record.hardware["mapping"]["placement"].replace("_", " "),
        "fine": fine and _point(study, fine[0], at), "classic": classic and _point(study, classic[0], at),
        "weight": weight and _point(study, "weight", at),
        "worst": _worst(study, at),
        "priced": all(cost(r) for r in study.records),
    }  # fmt: skip


TRAINING = {
    "dense_epochs": "recipe.epochs", "retrain_epochs": "schedule.epochs", "batch": "data.batch_size",
    "precision": "trainer.precision",
}  # fmt: skip


def _training(study: Study) -> dict[str, str]:
    """How a study was trained; records of a training outside cimlab do not say."""
    settings = flat(study.records[0].config)
    return {name: str(settings.get(key, "unrecorded")) for name, key in TRAINING.items()}


def _mean(value: float | None, digits: int = 2) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _sampling_error(study: Study) -> str | None:
    """Half the 95 % interval of one test accuracy, by the binomial law (points)."""
    images = TEST_IMAGES.get(study.data)
    share = study.dense.mean / 100
    return None if images is None else f"{100 * 1.96 * sqrt(share * (1 - share) / images):.1f}"


def _point(study: Study, name: str, fraction: float) -> dict[str, Any]:
    """A point in words: accuracy, loss, compression, and work left."""
    point = (name, fraction)

    def said(value, digits: int) -> str | None:
        estimate = study.of(point, value)
        return None if estimate is None else f"{estimate.mean:.{digits}f}"

    return {
        "name": name, "asked": f"{100 * fraction:g}", "seeds": str(len(study.points[point])),
        "accuracy": said(accuracy, 2), "loss": said(loss, 2), "left": said(left, 1),
        "compression": said(lambda r: r.weights["compression"], 2),
        "steps_saved": said(lambda r: 100 * (1 - r.hardware["ratio"]["steps"]), 1),
        "conversions_saved": said(lambda r: 100 * (1 - r.hardware["ratio"]["adc_conversions"]), 1),
        "time_saved": said(lambda r: 100 * (1 - r.hardware["ratio"]["critical_steps"]), 1),
    }  # fmt: skip


def _worst(study: Study, fraction: float) -> dict[str, Any] | None:
    losses = [(study.of((name, fraction), loss), name) for name in study.granularities]
    known = [(estimate.mean, name) for estimate, name in losses if estimate is not None]
    return _point(study, max(known)[1], fraction) if known else None


def _headline(ours: Headline) -> dict[str, Any]:
    reached = None if ours.furthest is None else _point(ours.furthest[0], *ours.furthest[1])
    return {
        "title": ours.study.title, "dense": ours.study.dense_told, **_point(ours.study, *ours.point),
        "furthest": reached, "candidates": str(ours.candidates), **_training(ours.study),
        "methods": combination(ours.study), "priced": any(map(cost, ours.study.points[ours.point])),
    }  # fmt: skip


def _validation(rows: Sequence[ValidationRow]) -> dict[str, Any] | None:
    if not rows:
        return None
    errors = [abs(row.error_percent) for row in rows if row.allowed != "reported"]
    loose = [abs(row.error_percent) for row in rows if row.allowed == "reported"]
    return {
        "figures": str(len(rows)), "held": str(len(errors)), "reported": str(len(loose)),
        "worst": f"{max(errors):.1f}" if errors else None, "worst_reported": f"{max(loose):.0f}" if loose else None,
    }  # fmt: skip
