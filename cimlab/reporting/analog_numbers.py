"""The numbers of the paper's sentences about analog arrays: what converters and devices cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from cimlab.records.record import RunRecord
from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.analog_series import (
    AWARE,
    PLACEMENT,
    Names,
    beside_the_converters,
    beside_the_devices,
    beside_the_placement,
    pruned,
)
from cimlab.reporting.studies import geometry_in, worded

AS_GOOD = 1.0
"""Points of accuracy that arrays may lose and still compute as well as floating point."""


def array_numbers(
    simulations: Sequence[SimulationRecord], names: Names, records: Iterable[RunRecord] = ()
) -> dict[str, Any]:
    """What is said of converters and of devices; JSON values.

    Args:
        names: of the networks.
        records: of runs, those that the networks are from among them.
    """
    varied = _varied(simulations, names, {record.run: record for record in records})
    return {
        "as_good": f"{AS_GOOD:g}",
        "converters": _converters(simulations, names),
        "varied": varied,
        "pair": _pair(varied),
        "retrained": _retrained(varied),
        "gathered": _gathered(simulations, names),
    }


def _gathered(simulations: Sequence[SimulationRecord], names: Names) -> list[dict[str, Any]]:
    """Points that a network loses behind converters whose steps gather rows, and where rows stay in their groups."""
    same: dict[tuple[str, int, int], dict[bool, SimulationRecord]] = defaultdict(dict)
    for record in simulations:
        if names.retraining(record) != AWARE:  # which knew of one of the two
            alike = beside_the_placement(record), record.seed, len(record.accuracy["draws"])
            same[alike][record.settings[PLACEMENT] == "gathered"] = record
    told: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for pair in sorted(same.values(), key=lambda own: str(next(iter(own.values())).resolution)):
        if len(pair) > 1:
            gathered, aligned = pair[True], pair[False]
            device = worded(gathered.choices["device"].replace("+", ", "))
            of = names.network(aligned), worded(gathered.choices["adc"]), device, f"{gathered.images:,}"
            points = {"gathered": f"{gathered.points_lost:z.2f}", "aligned": f"{aligned.points_lost:z.2f}"}
            told[of].append({"bits": str(gathered.resolution), **points})
    return [
        {"network": network, "adc": adc, "device": device, "images": images, "points": points}
        for (network, adc, device, images), points in sorted(told.items())
    ]


def _converters(simulations: Sequence[SimulationRecord], names: Names) -> list[dict[str, Any]]:
    """Of networks behind ADCs of several ranges, on ideal devices: the fewest bits from which on accuracy is as good as
    in floating point; None where that takes more than were tried."""
    lost: dict[tuple[str, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    first: dict[tuple[str, str], SimulationRecord] = {}
    for record in simulations:
        if record.choices["device"] == "ideal" and isinstance(record.resolution, int):
            points = 100 * (record.accuracy["float"] - record.accuracy["mean"])
            network = names.network(record), beside_the_converters(record)
            first.setdefault(network, record)
            lost[network][worded(record.choices["adc"])][record.resolution] = points
    return [
        {
            "network": network[0], "images": f"{first[network].images:,}",
            "lossless": str(geometry_in(first[network].config["geometry"]).lossless_adc_bits),
            "ranges": [{"adc": adc, "bits": _fewest(own)} for adc, own in by_range.items()],
        }
        for network, by_range in sorted(lost.items()) if len(by_range) > 1
    ]  # fmt: skip


def _fewest(lost: dict[int, float]) -> str | None:
    good = [bits for bits in lost if all(own <= AS_GOOD for more, own in lost.items() if more >= bits)]
    return str(min(good)) if good else None


def _varied(
    simulations: Sequence[SimulationRecord], names: Names, runs: dict[str, RunRecord]
) -> list[dict[str, Any]]:
    """What devices cost a network behind the same ADCs: its accuracy with ideal ones and, over chips, with others."""
    same: dict[str, list[SimulationRecord]] = {}
    for record in simulations:
        same.setdefault(beside_the_devices(record), []).append(record)
    found = [
        {
            "network": names.network(record), "pruned": pruned(record) != "dense", "left": pruned(record),
            "model": worded(record.choices["model"]), "run": record.origin["run"] if record.origin else None,
            "retraining": names.retraining(record), "aware": names.retraining(record) == AWARE,
            "schedule": _schedule(record, runs),
            "adc": worded(record.choices["adc"]), "bits": str(record.resolution),
            "device": worded(record.choices["device"].replace("+", ", ")), "placement": record.settings[PLACEMENT],
            "chips": str(len(record.accuracy["draws"])),
            "ideal": f"{100 * ideal.accuracy['mean']:.2f}", "accuracy": f"{100 * record.accuracy['mean']:.2f}",
            "spread": f"{100 * (record.accuracy['spread'] or 0):.2f}", "images": f"{record.images:,}",
            "variation": _variation(record),
        }
        for records in same.values()
        for ideal in [own for own in records if own.choices["device"] == "ideal"][:1]
        for record in records if record.choices["device"] != "ideal"
    ]  # fmt: skip
    return sorted(found, key=lambda entry: (entry["network"], entry["bits"]))


def _schedule(record: SimulationRecord, runs: dict[str, RunRecord]) -> dict[str, str] | None:
    """For how many epochs the network was retrained and at which share of the learning rate, where its run is known."""
    run = runs.get(record.origin["run"]) if record.origin else None
    if run is None:
        return None
    own = run.config["schedule"]
    return {"epochs": str(own["epochs"]), "rate": f"{own.get('rate_scale') or 1:g}"}


def _pair(varied: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A network as dense and as pruned and plainly retrained, behind the same converters: of several the one that is
    most accurate when pruned."""
    plain = [entry for entry in varied if entry["pruned"] and entry["retraining"] is None]
    pairs = [
        {"dense": dense, "pruned": own} for own in plain for dense in varied
        if not dense["pruned"] and _alike(own) == _alike(dense)
    ]  # fmt: skip
    return max(pairs, key=lambda pair: float(pair["pruned"]["accuracy"]), default=None)


def _alike(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry[key] for key in ("model", "adc", "bits", "device", "placement", "chips", "images"))


def _retrained(varied: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What retraining with rounding, or with the errors of devices, reaches beside plain retraining of like units."""
    return [
        {"own": own, "plain": plain, "keeps": _keeps(own, plain)}
        for own in varied if own["retraining"] is not None
        for plain in varied
        if plain["retraining"] is None and (plain["left"], *_alike(plain)) == (own["left"], *_alike(own))
    ]  # fmt: skip


def _keeps(own: dict[str, Any], plain: dict[str, Any]) -> str:
    """Whether a network keeps more than another on chips that scatter."""
    more = float(own["accuracy"]) - float(plain["accuracy"])
    if abs(more) <= max(float(entry["spread"]) for entry in (own, plain)):
        return "neither clearly more nor clearly less"
    return "more" if more > 0 else "less"


def _variation(record: SimulationRecord) -> str | None:
    """How programming varies, in words; None where it does not."""
    effect = record.config.get("device", {}).get("programming_variation")
    if effect is None:
        return None
    if len(effect["sigma"]) > 1:
        return f"{effect['distribution']} with sigma={effect['sigma']}"
    share = f"{100 * effect['sigma'][0]:g} % of the on conductance at every level"
    return f"{effect['distribution']}, {share}, never below 0"
