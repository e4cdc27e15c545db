"""The numbers that the paper's sentences use, as text, by name: nobody types one. None is what was not run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from cimlab.interval import LEVEL
from cimlab.records.record import RunRecord
from cimlab.reporting.analog_numbers import array_numbers
from cimlab.reporting.analog_series import Names
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.evidence import Evidence
from cimlab.reporting.figures.F8_unit_size import unit_sizes
from cimlab.reporting.gathered_numbers import gathered_numbers
from cimlab.reporting.looks import classic as is_classic
from cimlab.reporting.looks import finer_and_skipped
from cimlab.reporting.methods import beside_one_shot, budget, combination, families, network_told
from cimlab.reporting.point_numbers import point, recipes, sampling_error, training
from cimlab.reporting.priced import cost
from cimlab.reporting.priced_numbers import priced_numbers
from cimlab.reporting.provenance import commit, machine
from cimlab.reporting.published import Headline, Published, ValidationRow
from cimlab.reporting.studies import Point, Study, accuracy, best, geometry_of, hardness, loss, worded


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
            "runs": str(len(records)), "by_data": _runs_by_data(records), "studies": str(len(found)),
            "commits": sorted({commit(r) for r in records}), "machines": sorted({machine(r) for r in records}),
            "points": str(sum(len(s.points) for s in found)),
            "networks": _networks(found),
            "granularities": str(len({r.choices["granularity"] for r in records})),
        },
        "level": f"{100 * LEVEL:g}",
        "claims": {v.name: {"verdict": v.verdict, "evidence": v.evidence, "rule": v.rule} for v in judged},
        "verdicts": {word: str(count) for word, count in counted.items()},
        "main": study and _study(study),
        "strong": _study(evidence.strong) if evidence.strong not in (None, study) else None,
        "longer": _longer(evidence),
        "headline": ours and _headline(ours),
        **priced_numbers(evidence),
        "gathered": gathered_numbers(evidence),
        "methods": _methods(found),
        "recipes": recipes(found),
        "flattered": _flattered(found, published),
        "unit_size": _unit_size(evidence),
        "arrays": array_numbers(evidence.simulations, Names.of(evidence.simulations, records), records),
        "validation": _validation(evidence.validation),
    }  # fmt: skip


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
                "title": network_told(family), "seeds": _seeds_of(tried),
                "units": [
                    {
                        "name": name, "asked": f"{100 * fraction:g}", **_best_of(changes),
                        **_one_shot(changes, (name, fraction)),
                    }
                    for (name, fraction), changes in sorted(tried.items()) if len(changes) == most
                ],
            }  # fmt: skip
    return None


def _seeds_of(tried: dict[Point, dict[str, tuple[Study, Estimate | None]]]) -> str:
    """Over how many seeds methods are compared with one-shot pruning."""
    counts = {
        estimate.n for changes in tried.values() for study, estimate in changes.values()
        if estimate and study.methods
    }  # fmt: skip
    return " to ".join(dict.fromkeys(str(n) for n in (min(counts), max(counts)))) if counts else "no"


def _one_shot(changes: dict[str, tuple[Study, Estimate | None]], at: Point) -> dict[str, str | None]:
    """How far the seeds of one-shot pruning lie apart at a point: what a method has to beat."""
    reached = [study.of(at, accuracy) for study, _ in changes.values() if not study.methods]
    known = max(filter(None, reached), key=lambda estimate: estimate.n)
    return {
        "spread": None if known.spread is None else f"{known.spread:.1f}",
        "one_shot_seeds": str(known.n),
    }


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


def _runs_by_data(records: Sequence[RunRecord]) -> list[dict[str, str]]:
    """How many runs there are on each data set, hardest first."""
    counted = Counter(record.choices["data"] for record in records)
    return [{"data": worded(data), "runs": str(counted[data])} for data in sorted(counted, key=hardness)]


def _longer(evidence: Evidence) -> dict[str, Any] | None:
    """The best skippable unit of the strong network where it was retrained longest; None where only once."""
    strong = evidence.strong
    fine = best(strong, finer_and_skipped, strong.reference) if strong else None
    if strong is None or fine is None:
        return None
    at = fine[0], strong.reference
    epochs = "schedule.epochs"
    alike = [
        study for study in evidence.studies
        if study.title == strong.title and study.methods == strong.methods and budget(study) == budget(strong)
        and study.settings.get("recipe.epochs") == strong.settings.get("recipe.epochs") and at in study.points
        and study.settings.get(epochs, 0) > strong.settings.get(epochs, 0)
    ]  # fmt: skip
    if not alike:
        return None
    longest = max(alike, key=lambda study: study.settings[epochs])
    own, before = training(longest), training(strong)
    return {
        **point(longest, *at), **own, "dense": longest.dense_told, "instead_of": before["retrain_epochs"],
        "other_dense": longest.dense_told != strong.dense_told,
        "other_precision": own["precision"] != before["precision"],
    }  # fmt: skip


def _flattered(found: list[Study], published: Published) -> dict[str, Any] | None:
    """A network whose longer trained, more accurate dense network loses more by the same pruning though more methods
    were at work, beside its shorter training. None where there is none."""
    fraction = published.remaining
    tried = [
        (study, at) for study in found for at in study.points
        if round(at[1], 2) == fraction and budget(study) == "weights" and finer_and_skipped(at[0])
    ]  # fmt: skip
    for short, at in tried:
        for long, other in tried:
            if short.title == long.title and at[0] == other[0] and _flatters((short, at), (long, other)):
                told = [point(study, *own) | training(study) for study, own in ((short, at), (long, other))]
                dense = [{"dense": study.dense_told} for study in (short, long)]
                return {"title": short.title, "short": told[0] | dense[0], "long": told[1] | dense[1]}
    return None


def _flatters(short: tuple[Study, Point], long: tuple[Study, Point]) -> bool:
    (study, at), (other, there) = short, long
    return (
        study.dense.mean < other.dense.mean
        and study.settings.get("recipe.epochs", 0) < other.settings.get("recipe.epochs", 0)
        and study.mean(at, loss) < other.mean(there, loss)
        and set(study.methods) < set(other.methods)
    )


def _unit_size(evidence: Evidence) -> dict[str, Any] | None:
    """Which size of the operation unit loses least, takes least energy, and has most throughput of its area."""
    rows, asked = unit_sizes(evidence)
    if not rows:
        return None
    chosen = {
        "loss": min(rows, key=itemgetter("loss")),
        "energy": min(rows, key=itemgetter("energy")),
        "rate": max(rows, key=itemgetter("rate")),
    }
    return {
        "asked": asked,
        "same": len({(row["rows"], row["columns"]) for row in chosen.values()}) == 1,
        **{
            kind: {
                "name": f"{row['rows']:g} × {row['columns']:g}",
                "points": f"{row['loss']:.2f}",
                "energy": f"{row['energy']:.0f}",
                "rate": f"{row['rate']:.0f}",
            }
            for kind, row in chosen.items()
        },
    }


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
        "reference": f"{100 * at:g}", "sampling_error": sampling_error(study),
        **training(study), "methods": combination(study),
        "saliency": record.choices["saliency"], "allocation": config["prune"]["allocation"],
        **{
            name: str(getattr(geometry, name))
            for name in ("rows", "cols", "active_rows", "columns_per_adc", "weight_bits", "cell_bits", "input_bits")
        },
        "dac_bits": str(geometry.dac_bits), "mux_control": geometry.mux_control,
        "encoding": geometry.signed_encoding, "columns_per_weight": str(geometry.columns_per_weight),
        "unit_columns": str(geometry.operation_unit[1]),
        "placement": record.hardware["mapping"]["placement"].replace("_", " "),
        "fine": fine and point(study, fine[0], at), "classic": classic and point(study, classic[0], at),
        "weight": weight and point(study, "weight", at),
        "worst": _worst(study, at),
        "priced": all(cost(r) for r in study.records),
    }  # fmt: skip


def _worst(study: Study, fraction: float) -> dict[str, Any] | None:
    losses = [(study.of((name, fraction), loss), name) for name in study.granularities]
    known = [(estimate.mean, name) for estimate, name in losses if estimate is not None]
    return point(study, max(known)[1], fraction) if known else None


def _headline(ours: Headline) -> dict[str, Any]:
    reached = None if ours.furthest is None else point(ours.furthest[0], *ours.furthest[1])
    return {
        "title": ours.study.title, "dense": ours.study.dense_told, **point(ours.study, *ours.point),
        "furthest": reached, "candidates": str(ours.candidates), "others": str(len(ours.others)), "alone": ours.alone,
        **training(ours.study),
        "methods": combination(ours.study), "priced": any(map(cost, ours.study.points[ours.point])),
    }  # fmt: skip


def _validation(rows: Sequence[ValidationRow]) -> dict[str, Any] | None:
    if not rows:
        return None
    errors = [abs(row.error_percent) for row in rows if row.allowed != "reported"]
    loose = [abs(row.error_percent) for row in rows if row.allowed == "reported"]
    sets_prices = sum(row.sets_prices for row in rows if row.allowed != "reported")
    return {
        "sets_prices": str(sets_prices), "independent": str(len(errors) - sets_prices),
        "figures": str(len(rows)), "held": str(len(errors)), "reported": str(len(loose)),
        "worst": f"{max(errors):.1f}" if errors else None, "worst_reported": f"{max(loose):.0f}" if loose else None,
    }  # fmt: skip
