"""`cimlab collect`: copy records and masks to paper/records/NAME, without paths of this machine, to be committed."""

from __future__ import annotations

import re
from pathlib import Path

from cimlab.cli.options import Parser
from cimlab.cli.plain import repository
from cimlab.config.errors import ConfigError
from cimlab.records import store


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    asked = parser().parse_args(words)
    if not re.fullmatch(r"\w[\w-]*", asked.name):
        raise ConfigError(f"NAME={asked.name}: give letters, digits, _ and -")
    runs, problems = store.load_with_files(*asked.folders)
    simulations, damaged = store.load_simulations(*asked.folders)
    for line in (*problems, *damaged):
        print(f"note: {line}")
    records = [*runs, *((record, None) for record in simulations)]
    if not records:
        raise ConfigError(
            f"no record below {', '.join(map(str, asked.folders))}; give the folders of finished runs"
        )
    for record, source in records:
        print(f"record: {store.publish(record, repository() / 'paper' / 'records' / asked.name, source)}")
    return 0


def parser() -> Parser:
    """The options of the command."""
    options = Parser("collect", __doc__)
    options.add_argument("name", metavar="NAME", help="of the experiment, as in experiments/NAME.yaml")
    options.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folders with records")
    return options
