"""`cimlab charts ENTITY`: store the project's own forms of charts with a wandb user or team, for all of its runs.

Once is enough. Runs with `tracker.entity=ENTITY` are drawn in these forms, the others in wandb's own.
"""

from __future__ import annotations

from cimlab.cli.options import Parser


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    asked = parser().parse_args(words)
    from cimlab.training.tracking import store_forms

    for name in store_forms(asked.entity):
        print(f"stored: {name}")
    print(f"runs show them with tracker=wandb tracker.entity={asked.entity}")
    return 0


def parser() -> Parser:
    """The options of the command."""
    options = Parser("charts", __doc__)
    options.add_argument(
        "entity", metavar="ENTITY", help="a user or team of wandb; log in first: wandb login"
    )
    return options
