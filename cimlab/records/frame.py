"""Records as a pandas data frame, one row per run: for notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cimlab.records import store
from cimlab.records.flat import flat
from cimlab.records.record import RunRecord

if TYPE_CHECKING:
    import pandas


def load(*folders: str | Path, layers: bool = False) -> pandas.DataFrame:
    """Every whole record below the folders; damaged ones are named in a warning.

    Args:
        folders: where runs are; `outputs` if none is given.
        layers: one row per layer instead of one per run, with the layer's counts as `layer/...`.

    Columns are `run`, `name`, `seed`, `created`, a column for each group's choice (`granularity`, ...), and by path
    `config/prune.remaining`, `accuracy/retrained/test`, `weights/compression`, `hardware/total/arrays`,
    `hardware/ratio/steps`, `seconds/retrain`, `code/git_commit`.
    """
    import warnings

    import pandas as pd

    records, problems = store.load(*(Path(folder) for folder in folders or ("outputs",)))
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    if not layers:
        return pd.DataFrame([columns(record) for record in records])
    return pd.DataFrame(
        [
            {**columns(record), "layer": name, **{f"layer/{k}": v for k, v in counts.items()}}
            for record in records
            for name, counts in record.hardware["layers"].items()
        ]
    )


def columns(record: RunRecord) -> dict[str, Any]:
    """A record's values by path; layers are left out."""
    hardware = {key: value for key, value in record.hardware.items() if key != "layers"}
    return {
        "run": record.run,
        "name": record.name,
        "seed": record.seed,
        "created": record.created,
        **record.choices,
        **{f"config/{key}": value for key, value in flat(record.config, ".").items()},
        **{f"accuracy/{key}": value for key, value in flat(record.accuracy, "/").items()},
        **{f"weights/{key}": value for key, value in record.weights.items()},
        **{f"hardware/{key}": value for key, value in flat(hardware, "/").items()},
        **{f"seconds/{key}": value for key, value in record.wall_time_s.items()},
        **{f"code/{key}": value for key, value in record.code.items()},
    }
