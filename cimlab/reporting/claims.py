"""The abstract's claims, one by one: our measurement, a verdict by a stated rule, and the evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cimlab.records.components import SUPPORT
from cimlab.records.record import RunRecord
from cimlab.reporting.estimates import Estimate
from cimlab.reporting.looks import classic as is_classic
from cimlab.reporting.looks import finer_and_skipped
from cimlab.reporting.priced import cost_ratio, prices, support_share, time_ratio
from cimlab.reporting.published import Headline, Published
from cimlab.reporting.studies import Study, best, dense_told, loss

HOLDS, FAILS, UNTESTED = "holds", "does not hold", "not tested"
LITTLE_GAIN = 0.05
"""Pruning saves nothing by itself where it saves less than this share of the steps."""
MINIMAL = 0.05
"""Pruning support is minimal overhead up to this share of the pruned network's energy."""

UNPRICED = "no run at the claimed fraction has a price"


@dataclass(frozen=True)
class Verdict:
    """One claim, judged.

    Args:
        name: short, for the paper's text.
        claim: in our words.
        rule: when it holds.
        verdict: holds, does not hold, not tested.
        evidence: the numbers, and how many seeds they rest on.
    """

    name: str
    claim: str
    rule: str
    verdict: str
    evidence: str


def verdicts(
    mains: list[Study],
    strong: Study | None,
    ours: Headline | None,
    priced: Headline | None,
    published: Published,
) -> list[Verdict]:
    """Every claim of the reproduced paper's abstract.

    Args:
        mains: the claims about units are judged by the first.
        strong: the most accurate network with prices; what the same rules say of it stands beside their verdicts.
        ours: the measurement beside the claim; the claim about compression is judged by it.
        priced: the same of the runs that have a price; the claims about hardware are judged by it.
        published: the claim.
    """
    study = mains[0] if mains else None
    beside = None if strong is study else strong
    of_units = [_beside(judge(study), judge(beside)) for judge in (_unstructured, _coarse, _fine)]
    return [*of_units, _compression(ours, published), *(judge(priced) for judge in (_overhead, _performance))]


def _beside(judged: Verdict, strong: Verdict) -> Verdict:
    """A verdict with what the same rule says of the strong network, which does not change it."""
    if strong.verdict == UNTESTED:
        return judged
    return replace(
        judged, evidence=f"{judged.evidence}. By the same rule it {strong.verdict}: {strong.evidence}"
    )


def _judged(holds: bool | None) -> str:
    return UNTESTED if holds is None else (HOLDS if holds else FAILS)


def _basis(study: Study, *points: tuple[str, float]) -> str:
    n = min(len(study.points[point]) for point in points)
    dense = dense_told(record for point in points for record in study.points[point])
    return f"{study.title}, dense {dense} %; {'one seed' if n == 1 else f'{n} seeds'}"


def _value(estimate: Estimate, digits: int = 2) -> str:
    spread = "" if estimate.spread is None else f" ± {estimate.spread:.{digits}f}"
    return f"{estimate.mean:.{digits}f}{spread}"


def _loses(lost: Estimate) -> str:
    """Points of accuracy lost, or gained, in words; what scatters more over seeds than it changes is no change."""
    if lost.spread is not None and abs(lost.mean) <= lost.spread:
        return f"keeps the accuracy, {-lost.mean:+z.2f} ± {lost.spread:.2f} points"
    word = "gains" if lost.mean < 0 else "loses"
    return f"{word} {_value(Estimate(tuple(v if word == 'loses' else -v for v in lost.values)))} points"


def _unstructured(study: Study | None) -> Verdict:
    claim = "unstructured pruning does not suit a crossbar"
    rule = f"single weights save less than {100 * LITTLE_GAIN:g} % of the steps"
    point = ("weight", study.reference) if study else None
    if study is None or point is None or point not in study.points:
        return Verdict("unstructured", claim, rule, UNTESTED, "weight granularity was not run")
    steps = study.of(point, lambda r: r.hardware["ratio"]["steps"])
    assert steps is not None
    evidence = f"steps saved: {_steps_saved(study)}; {_time_saved(study, point)} ({_basis(study, point)})"
    return Verdict("unstructured", claim, rule, _judged(steps.mean > 1 - LITTLE_GAIN), evidence)


def _steps_saved(study: Study) -> str:
    """At every fraction down to the reference: where the rule begins to fail is the fraction's doing."""
    told = []
    for fraction in study.remaining:
        steps = study.of(("weight", fraction), lambda r: r.hardware["ratio"]["steps"])
        if steps is not None and fraction >= study.reference:
            told.append(f"{100 * (1 - steps.mean):.1f} % at {100 * fraction:g} % kept")
    return ", ".join(told)


def _time_saved(study: Study, point: tuple[str, float]) -> str:
    time, of = time_ratio(study, point)
    if time is None:
        return f"no {of} is known"
    return f"{100 * (1 - time.mean):.1f} % of {of} saved at {100 * point[1]:g} % kept"


def _pair(study: Study | None) -> tuple[Study, tuple[str, Estimate], tuple[str, Estimate]] | None:
    """The best fine and the best classic granularity at the reference compression."""
    if study is None:
        return None
    fine, classic = best(study, finer_and_skipped, study.reference), best(study, is_classic, study.reference)
    return (study, fine, classic) if fine and classic else None


def _coarse(study: Study | None) -> Verdict:
    claim = "structured pruning loses more accuracy than unstructured"
    rule = "the better of channel and filter loses more than single weights at equal weights kept"
    point = ("weight", study.reference) if study else None
    classic = best(study, is_classic, study.reference) if study else None
    if study is None or point is None or classic is None or point not in study.points:
        return Verdict(
            "coarse", claim, rule, UNTESTED, "weight and channel or filter granularity were not both run"
        )
    free = study.of(point, loss)
    assert free is not None
    evidence = (
        f"{classic[0]} pruning {_loses(classic[1])}, weight pruning {_loses(free)}, at {100 * point[1]:g} % kept "
        f"({_basis(study, point, (classic[0], point[1]))})"
    )
    return Verdict("coarse", claim, rule, _judged(classic[1].mean > free.mean), evidence)


def _fine(study: Study | None) -> Verdict:
    claim = "pruning at the array's own granularity is more accurate than classic structured pruning"
    rule = "the best unit that the crossbar skips loses less than the better of channel and filter"
    pair = _pair(study)
    if pair is None:
        return Verdict("fine", claim, rule, UNTESTED, "fine and classic granularities were not both run")
    study, fine, classic = pair
    at = study.reference
    evidence = (
        f"{fine[0]} pruning {_loses(fine[1])}, {classic[0]} pruning {_loses(classic[1])}, at {100 * at:g} % kept "
        f"({_basis(study, (fine[0], at), (classic[0], at))})"
    )
    own = study.of((UNIT, at), loss)
    evidence += f"; {UNIT} pruning {_loses(own)}" if own is not None and fine[0] != UNIT else ""
    return Verdict("fine", claim, rule, _judged(fine[1].mean < classic[1].mean), evidence)


def _compression(ours: Headline | None, published: Published) -> Verdict:
    claim = f"{published.compression:g}x compression at a loss of {published.drop:g} points"
    rule = f"a unit that the crossbar skips reaches {published.compression:g}x of all weights at that loss or less"
    if ours is None:
        evidence = f"no skippable unit was run at {100 * published.remaining:g} % kept"
        return Verdict("compression", claim, rule, UNTESTED, evidence)
    study = ours.study
    lost, reached = study.of(ours.point, loss), study.of(ours.point, _compression_of)
    assert lost is not None
    assert reached is not None
    evidence = f"{ours.point[0]} pruning at {reached.mean:.2f}x {_loses(lost)} ({_basis(study, ours.point)})"
    holds = False
    if ours.furthest is not None:
        study, point = ours.furthest
        most, lost = study.of(point, _compression_of), study.of(point, loss)
        assert most is not None
        assert lost is not None
        holds = most.mean >= published.compression
        if ours.furthest != (ours.study, ours.point):
            evidence += f"; {point[0]} pruning at {most.mean:.2f}x {_loses(lost)} ({_basis(study, point)})"
    return Verdict("compression", claim, rule, _judged(holds), evidence)


def _compression_of(record: RunRecord) -> float:
    return record.weights["compression"]


def _overhead(ours: Headline | None) -> Verdict:
    claim = "supporting it needs minimal hardware"
    rule = (
        f"at the claimed compression index, input selection and output alignment take at most {100 * MINIMAL:g} % of "
        "the pruned energy"
    )
    priced = prices(ours.study, ours.point) if ours else []
    share = Estimate.of(map(support_share, priced))
    if ours is None or share is None:
        return Verdict("overhead", claim, rule, UNTESTED, UNPRICED)
    area = Estimate.of(sum(c["area_m2"][n] for n in SUPPORT) / sum(c["area_m2"].values()) for c in priced)
    assert area is not None
    evidence = (
        f"{100 * share.mean:.2f} % of energy, at assumed prices of the index (by the chip's area, of which they take "
        f"{100 * area.mean:.2f} %, it {_judged(area.mean <= MINIMAL)}); {_at(ours)}"
    )
    others = [told for name in BESIDE if (told := _other_overhead(ours, name))]
    evidence += f". By the same rule it {' and '.join(others)}" if others else ""
    return Verdict("overhead", claim, rule, _judged(share.mean <= MINIMAL), evidence)


def _other_overhead(ours: Headline, name: str) -> str:
    """What the same rule says of another unit at the same fraction; nothing where it was not run with a price."""
    point = name, ours.point[1]
    share = Estimate.of(map(support_share, prices(ours.study, point)))
    if point == ours.point or share is None:
        return ""
    return f"{_judged(share.mean <= MINIMAL)} for {name} pruning ({100 * share.mean:.2f} %)"


def _performance(ours: Headline | None) -> Verdict:
    claim = "energy and effective throughput improve"
    rule = "at the claimed compression both are better than dense on a chip of equal area"
    energy = cost_ratio(ours.study, ours.point, "energy_j") if ours else None
    speed = cost_ratio(ours.study, ours.point, "images_per_s") if ours else None
    if ours is None or energy is None or speed is None:
        return Verdict("performance", claim, rule, UNTESTED, UNPRICED)
    evidence = f"energy {_value(energy)} of dense, throughput {_value(speed)} of dense; {_at(ours)}"
    others = [told for name in BESIDE if (told := _other_performance(ours, name))]
    evidence += f". By the same rule it {' and '.join(others)}" if others else ""
    return Verdict("performance", claim, rule, _judged(energy.mean < 1 < speed.mean), evidence)


UNIT = "operation unit"
BESIDE = ("weight", UNIT)
"""Units whose energy and throughput stand beside the judged one's: the finest of all, and the claim's own."""


def _other_performance(ours: Headline, name: str) -> str:
    """What the same rule says of another unit at the same fraction; nothing where it was not run with a price."""
    point = name, ours.point[1]
    energy, speed = (cost_ratio(ours.study, point, key) for key in ("energy_j", "images_per_s"))
    if point == ours.point or energy is None or speed is None:
        return ""
    judged = _judged(energy.mean < 1 < speed.mean)
    return f"{judged} for {name} pruning ({_value(energy)} and {_value(speed)})"


def _at(ours: Headline) -> str:
    """Which point it is, and what it loses."""
    lost = ours.study.of(ours.point, loss)
    assert lost is not None
    return f"{ours.point[0]} pruning, which {_loses(lost)} ({_basis(ours.study, ours.point)})"
