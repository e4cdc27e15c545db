"""`cimlab collect`: copy records and masks to paper/records/NAME, without paths of this machine, to be committed."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from cimlab.cli.options import Parser, require_folders
from cimlab.cli.plain import TRIALS, repository
from cimlab.config.errors import ConfigError
from cimlab.errors import FAILED
from cimlab.records import store
from cimlab.records.record import RecordError, RunRecord
from cimlab.records.simulation import SimulationRecord
from cimlab.records.study import study_of

Known = RunRecord | SimulationRecord


def run(words: list[str]) -> int:
    """Run the command; an exit code, or raises what `errors.report` explains."""
    asked = parser().parse_args(words)
    if not re.fullmatch(r"\w[\w-]*", asked.name):
        raise ConfigError(f"NAME={asked.name}: give letters, digits, _ and -")
    require_folders(asked.folders)
    runs, problems = store.load_with_files(*asked.folders)
    runs, left_out = (runs, []) if asked.trials else store.without_trials(runs, lambda run: run[0].search)
    simulations, damaged = store.load_simulations(*asked.folders)
    records = [*runs, *((record, None) for record in simulations)]
    if not records:
        more = "".join(f" ({line})" for line in (*problems, *damaged, *left_out))
        where = ", ".join(map(str, asked.folders))
        raise ConfigError(f"no record below {where}{more}; give the folders of finished runs")
    _refuse_doubles(runs)
    published = repository() / "paper" / "records" / asked.name
    if not asked.add:
        _refuse_strangers([record for record, _ in records], published)
    for line in (*problems, *damaged, *left_out):
        print(f"note: {line}")
    left: list[RecordError] = []
    for record, source in records:
        try:
            print(f"record: {store.publish(record, published, source)}")
        except RecordError as problem:
            left.append(problem)
            if len(left) == len(records):  # nothing can be published at all
                raise
            print(f"note: {problem}")
    if left:
        print(f"cimlab: {len(left)} of {len(records)} records are left out, as noted", file=sys.stderr)
    return FAILED if left else 0


def _refuse_doubles(runs: Sequence[tuple[RunRecord, Path]]) -> None:
    """Refuse records of one run that differ: they have one place in the set, where the last would be kept.

    Raises:
        ConfigError: names the files of two.
    """
    files: dict[str, Path] = {}
    for record, file in runs:
        if (other := files.setdefault(record.run, file)) != file:
            raise ConfigError(f"{other} and {file} are records of one run that differ; leave one of them out")


def _refuse_strangers(records: Sequence[Known], published: Path) -> None:
    """Refuse to mix experiments in one set, where nobody could tell them apart any more.

    Raises:
        ConfigError: the set holds records, and some of these answer another question than any of them.
    """
    there = [*store.load(published)[0], *store.load_simulations(published)[0]]
    known = set(map(_experiment, there))
    trained = {record.run for record in (*there, *records) if isinstance(record, RunRecord)}
    strangers = [
        record
        for record in records
        if _experiment(record) not in known
        and not (isinstance(record, SimulationRecord) and _of(record) in trained)
    ]
    if there and strangers:
        held = ", ".join(sorted({f"{r.choices.get('model')} on {r.choices.get('data')}" for r in there}))
        raise ConfigError(
            f"NAME={published.name}: {published} holds {len(there)} records of another experiment ({held}) than "
            f"{len(strangers)} of these {len(records)}; give a NAME of your own, or --add to put them together"
        )


def _of(simulation: SimulationRecord) -> str | None:
    """The run whose network was simulated, where its checkpoint says."""
    return simulation.origin["run"] if simulation.origin else None


def _experiment(record: Known) -> object:
    """The same for records of one experiment: what its file asks, or settings, axes left out."""
    question = (record.config.get("experiment") or {}).get("question")
    if isinstance(record, RunRecord):
        return question or study_of(record)
    return question or (record.choices.get("model"), record.choices.get("data"))


def parser() -> Parser:
    """The options of the command."""
    options = Parser("collect", __doc__)
    options.add_argument("name", metavar="NAME", help="of the experiment, as in experiments/NAME.yaml")
    options.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folders with records")
    options.add_argument(
        "--add", action="store_true", help="to the set NAME, though it is another experiment's"
    )
    options.add_argument("--trials", action="store_true", help=TRIALS)
    return options
