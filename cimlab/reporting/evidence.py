"""What every figure and table is drawn from: the records, sorted into studies, and what stands beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from cimlab.records.record import RunRecord
from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.claims import Verdict, verdicts
from cimlab.reporting.methods import budget, comparable, foremost
from cimlab.reporting.planned import PlannedGrid
from cimlab.reporting.priced import NO_PRICE, cost
from cimlab.reporting.published import Headline, Published, ValidationRow, headline
from cimlab.reporting.studies import Study, main_studies, studies

NO_RUN = "no runs were recorded"


@dataclass(frozen=True)
class Evidence:
    """Everything that was found.

    Args:
        records: each run once.
        simulations: on the arrays.
        grids: what was planned.
        published: the reproduced claim and other work.
        validation: of the hardware model; empty where it was not run.
    """

    records: tuple[RunRecord, ...]
    simulations: tuple[SimulationRecord, ...]
    grids: tuple[PlannedGrid, ...]
    published: Published
    validation: tuple[ValidationRow, ...]

    @cached_property
    def studies(self) -> list[Study]:
        """Runs that may be compared, hardest data first."""
        return studies(self.records)

    @cached_property
    def mains(self) -> list[Study]:
        """Of every model and data set, the study with the most points."""
        return main_studies(self.studies)

    @cached_property
    def first(self) -> Study | None:
        """The main study on the hardest data."""
        return self.mains[0] if self.mains else None

    @cached_property
    def priced(self) -> list[list[Study]]:
        """Of every network on the hardest data that has prices: its largest study with prices for each budget and
        length of retraining, the larger first. Networks that compare several units lead, the most accurate first."""
        found = [
            foremost([study for study in family if any(map(cost, study.records))])
            for family in comparable(self.studies)
        ]
        first: dict[str, list[Study]] = {}
        for family in filter(None, found):
            first.setdefault(family[0].title, family)
        hardest = next((family[0].data for family in first.values()), None)
        shown = [family for family in first.values() if family[0].data == hardest]
        return sorted(shown, key=lambda family: (not _compares(family), -family[0].dense.mean))

    @cached_property
    def headline(self) -> Headline | None:
        """Our measurement beside the claim."""
        return headline(self.studies, self.published)

    @cached_property
    def priced_headline(self) -> Headline | None:
        """The same of the runs that have a price: what the claims about hardware are judged by."""
        return headline(studies(record for record in self.records if cost(record)), self.published)

    @cached_property
    def strong(self) -> Study | None:
        """Of the first network with prices, the study whose budget counts weights, as the claims do."""
        return next((study for study in chain(*self.priced[:1]) if budget(study) == "weights"), None)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """On every claim of the reproduced paper."""
        return verdicts(self.mains, self.strong, self.headline, self.priced_headline, self.published)


@dataclass(frozen=True)
class Selection:
    """Which studies a figure or table shows, of those that it could.

    Args:
        chosen: studies in groups that are compared; none where their runs are missing.
        missing: which runs those are.
        could: every study that might have been chosen.
    """

    chosen: Callable[[Evidence], list[list[Study]]]
    missing: str
    could: Callable[[Evidence], list[Study]] = lambda evidence: evidence.studies

    def left_out(self, evidence: Evidence) -> list[Study]:
        """Studies that could be shown and are not."""
        shown = [study for family in self.chosen(evidence) for study in family]
        return [study for study in self.could(evidence) if study not in shown]


SIDE_BY_SIDE = 2
"""Most networks with prices in one figure."""
COMPARED = 3
"""Fewest pruned units that a panel of its own is worth."""


def _compares(family: list[Study]) -> bool:
    return len({name for study in family for name in study.granularities}) >= COMPARED


def _with_price(evidence: Evidence) -> list[Study]:
    return [study for study in evidence.studies if any(map(cost, study.records))]


def _curved(evidence: Evidence) -> list[list[Study]]:
    """The first main study at several fractions of weights; where there is none, the first."""
    return [[study] for study in sorted(evidence.mains, key=lambda study: len(study.remaining) == 1)[:1]]


def _leading(evidence: Evidence) -> list[list[Study]]:
    """The first network with prices, and beside it the next that compares enough units."""
    return [*evidence.priced[:1], *filter(_compares, evidence.priced[1:])][:SIDE_BY_SIDE]


def _strongest(evidence: Evidence) -> list[list[Study]]:
    """The strong network's study where it compares units enough; else the first main study."""
    strong = evidence.strong
    return [[strong]] if strong and _compares([strong]) else [[study] for study in evidence.mains[:1]]


STRONGEST = Selection(_strongest, NO_RUN)
CURVED = Selection(_curved, NO_RUN)
PRICED = Selection(lambda evidence: evidence.priced, NO_PRICE, _with_price)
LEADING = Selection(_leading, NO_PRICE, _with_price)
BEST = Selection(lambda evidence: evidence.priced[:1], NO_PRICE, _with_price)
