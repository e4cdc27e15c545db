"""Which runs may be compared: those of one study differ in granularity, weights left and seed alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cimlab.records.flat import flat
from cimlab.records.record import RunRecord, content_hash

SILENT_BEFORE = (
    "rerun", "checkpoint", "extensions", "experiment", "paths", "tracker", "trainer.threads", "trainer.devices",
    "trainer.progress", "trainer.checkpoint_every_s", "data.data_dir", "data.download", "data.eval_batch_size",
    "data.seed", "mapping.every_n_epochs", "launcher", "hardware", "simulate",
)  # fmt: skip
"""Settings that change no number, of records of the first schema; later ones say themselves what did not count."""
ARRAYS_BEFORE = ("adc", "device", "analog")
"""The analog arrays: to a run that was not trained for them they change no accuracy either."""
AXES = ("granularity", "prune.remaining", "seed", "data.seed")
"""What the runs of a study differ in."""
NAMED = ("technology", "adc_price")
"""Groups whose numbers are today's of that name when a report is made."""
PRICED = ("geometry", "chip", "mapping.placement")
"""Settings that set runs apart even where they train nothing: they change the price."""


def study_of(record: RunRecord) -> str:
    """The same for runs that differ in granularity, weights left and seed alone, and so may be averaged or compared."""
    return content_hash(settings(record))[:12]


def settings(record: RunRecord) -> dict[str, Any]:
    """What shapes a run's accuracy and cost, axes left out, as dotted keys."""
    shared = {group: record.choices.get(group) for group in ("model", "data")}
    if record.config.get("checkpoint"):  # another file for every seed, perhaps
        shared["checkpoint"] = "given"
    if record.schema == 1:
        silent = (*SILENT_BEFORE, *(() if _rounds(record) else ARRAYS_BEFORE))
    else:
        shared |= {group: record.choices.get(group) for group in NAMED} | record.sources
        silent = (*NAMED, *(key for key in record.uncounted if not _within(key, PRICED)))
    for key, value in flat(record.config).items():
        if not _within(key, (*silent, *AXES)):
            shared.setdefault(key, value)
    return shared


def _within(key: str, names: Iterable[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _rounds(record: RunRecord) -> bool:
    """Whether training knew the arrays, of a record of the first schema."""
    return "hardware_aware" in (record.config.get("quantisation") or {})
