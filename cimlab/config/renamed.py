"""Words of before: what was merely renamed is taken and told; what became something else is refused with the new
word."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache

from cimlab.config.errors import ConfigError

RENAMED = {"adc_model": "adc_price"}
"""Keys that mean what they meant, under another name."""

BECAME = {
    "distillation": "method=[distillation]",
    "permutation": "method=[reorder]",
    "sparsity": "method=[admm]",
    "quantisation": "method=[lsq] or method=[ste]",
    "resizing": "method=[resizing]",
    "means": "a list of methods, e.g. method=[gradual,reorder,distillation]",
    "schedule": "method=[gradual] or method=[iterative]; without either, everything is pruned at once",
    "schedule.prune_events": "method.gradual.prune_events",
    "schedule.prune_share": "method.gradual.prune_share",
    "schedule.prune_rounds": "method.iterative.prune_rounds",
}
"""Keys -> what to say instead."""

HYDRAS_FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
"""Where Hydra's own programs write; here an empty folder would be all that comes of them."""


def todays(words: Iterable[str]) -> list[str]:
    """The words of a command line in today's terms; options and words that are no KEY=VALUE stay as they are.

    Raises:
        ConfigError: a word became something else, or names a folder that nothing is written to; names it.
    """
    found = []
    for word in words:
        sign = word[: len(word) - len(word.lstrip("+~"))]
        key, equals, value = word[len(sign) :].partition("=")
        head, dot, rest = key.partition(".")
        if head in RENAMED:
            _tell(head)
            found.append(f"{sign}{RENAMED[head]}{dot}{rest}{equals}{value}")
            continue
        old = key if key in BECAME else head if head in BECAME and head != "schedule" else None
        if old is not None and not word.startswith("-") and (equals or sign):
            raise ConfigError(f"{word}: {old} is no longer a key of its own; say {BECAME[old]}")
        if key in HYDRAS_FOLDERS and equals:
            raise ConfigError(f"{word}: nothing is written there; runs go below paths.output_dir=FOLDER")
        found.append(word)
    return found


@cache  # once a process, not once a word
def _tell(old: str) -> None:
    print(f"cimlab: {old} is called {RENAMED[old]} now", file=sys.stderr, flush=True)
