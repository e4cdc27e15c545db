"""What every figure and table is drawn from: the records, sorted into studies, and what stands beside them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from cimlab.records.record import RunRecord
from cimlab.records.simulation import SimulationRecord
from cimlab.reporting.claims import Verdict, verdicts
from cimlab.reporting.methods import comparable
from cimlab.reporting.planned import PlannedGrid
from cimlab.reporting.priced import cost
from cimlab.reporting.published import Headline, Published, ValidationRow, headline
from cimlab.reporting.studies import Study, main_studies, studies

SIDE_BY_SIDE = 2
"""Most networks with prices in one figure."""


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
        """Of every network on the hardest data that has prices: its studies with prices that differ in budget and
        methods alone, the larger study first. The most accurate dense network leads."""
        found = [
            [study for study in family if any(map(cost, study.records))]
            for family in comparable(self.studies)
        ]
        first: dict[str, list[Study]] = {}
        for family in filter(None, found):
            first.setdefault(family[0].title, family)
        hardest = next((family[0].data for family in first.values()), None)
        shown = [family for family in first.values() if family[0].data == hardest]
        return sorted(shown, key=lambda family: -family[0].dense.mean)

    @cached_property
    def curved(self) -> Study | None:
        """The first main study at several fractions of weights; where there is none, the first."""
        return next((study for study in self.mains if len(study.remaining) > 1), self.first)

    @property
    def left_out(self) -> list[str]:
        """What figures and tables that show a part of the runs do not show: a line for all that leave out the same."""
        every = [[study] for study in self.studies]
        with_price = [own for own in every if any(map(cost, own[0].records))]
        shown = {
            "F1": (with_price, self.priced[:SIDE_BY_SIDE]), "F2": (with_price, self.priced[:SIDE_BY_SIDE]),
            "F4": (every, [[self.curved]]), "F6": (every, [[self.first]]), "F7": (with_price, self.priced[:1]),
            "T2": (with_price, self.priced), "T7": (with_price, self.priced),
        }  # fmt: skip
        parts: dict[str, list[str]] = {}
        for part, (could, does) in shown.items():
            drawn = [study for family in does for study in family]
            runs = Counter()
            for (study,) in could:
                if study not in drawn:
                    runs[study.title] += len(study.records)
            told = ", ".join(f"{title} ({n} {'run' if n == 1 else 'runs'})" for title, n in runs.items())
            parts.setdefault(told, []).append(part)
        return [
            f"Not in {', '.join(names)}: {told}. A report of the folders of these runs alone shows them."
            for told, names in parts.items()
            if told
        ]

    @cached_property
    def headline(self) -> Headline | None:
        """Our measurement beside the claim."""
        return headline(self.studies, self.published)

    @cached_property
    def priced_headline(self) -> Headline | None:
        """The same of the runs that have a price: what the claims about hardware are judged by."""
        return headline(studies(record for record in self.records if cost(record)), self.published)

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """On every claim of the reproduced paper."""
        return verdicts(self.mains, self.headline, self.priced_headline, self.published)
