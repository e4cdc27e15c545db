"""`cimlab map`: words in; tables, plots or plain numbers of what networks cost on accelerators out."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cimlab.choices import choices as shipped_choices
from cimlab.choices import conf_dir
from cimlab.cli import application, multirun
from cimlab.cli.fields import field_of, ordered
from cimlab.config import errors
from cimlab.config.accelerators import HARDWARE, Accelerators, Axis, Words
from cimlab.config.compose import composed
from cimlab.config.described import informed, tell
from cimlab.config.schema import check, plain_config
from cimlab.config.trust import trusting
from cimlab.config.words import given, readable
from cimlab.grids.composition import searched
from cimlab.progress import counting
from cimlab.records.json_text import json_text
from cimlab.runs.folders import made
from cimlab.runs.map_config import MapConfig
from cimlab.runs.named import named
from cimlab.runs.price import Mapped, map_network, map_one
from cimlab.runs.subject import Instead, Subject, recorded

if TYPE_CHECKING:
    from cimlab.runs.sweep import Sweep

FLAGS = ("--json", "--csv", "--adc-sensitivity")
SORT = "--sort="
COLUMNS = {"energy": "energy_j", "throughput": "images_per_s", "area": "area_m2"}
"""What columns are called -> their figure."""
OF_RUNS = (*HARDWARE, "granularity", "mapping.placement", "run", "paths", "picture", "extensions")
"""Keys that mean something beside `run`, which brings network, masks and weights."""

UNPRICED = ("paths", "picture", "extensions")
"""Keys that say where files go and what is shown."""


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    flags = {word for word in words if word in FLAGS or word.startswith(SORT)}
    words = [word for word in words if word not in flags]
    asked = application.hydra_asked("map", words)
    of_runs = any(word.startswith("run=") for word in asked.overrides) and not asked.cfg
    if (asked.multirun or of_runs) and not multirun.only_shown(asked):
        return _run_here(multirun.of_several(asked), flags)

    def job(_config: DictConfig, _choices: dict[str, str]) -> Mapped:
        config, choices, lines = informed("map", list(HydraConfig.get().overrides.task), MapConfig)
        with _plots_into(Path(config.paths.output_dir), flags):
            mapped = map_network(config, choices, "--adc-sensitivity" in flags)
        tell(lines)
        return mapped

    def show(result: Mapped, config: DictConfig) -> None:
        _show(result, Path(config.paths.output_dir), flags)

    return application.run(application.Command("map", MapConfig, job, show), words)


def _run_here(asked: Namespace, flags: set[str]) -> int:
    """Networks times accelerators, in this process, every choice composed once."""
    words = [*searched(asked.config_dir), *readable(given(asked.overrides), MapConfig)]
    many = asked.multirun
    with trusting(words), initialize_config_dir(str(conf_dir()), version_base="1.3"):
        apart = Words.of(words)
        if "--adc-sensitivity" in flags and many and not any(a.key == "adc_price" for a in apart.hardware):
            prices = tuple(f"adc_price={name}" for name in shipped_choices("adc_price"))
            apart = Words(apart.fixed, (*apart.hardware, Axis("adc_price", prices)), apart.others)
        _refuse_lone_axes(apart, many)
        base = composed("map", list(apart.fixed), MapConfig)[0]
        settings = check(base, MapConfig)
        accelerators = Accelerators("map", MapConfig, apart, settings.extensions)
        subjects = _subjects(apart)
        folder = Path(settings.paths.output_dir)
        if len(subjects) == 1 and not apart.hardware and not apart.others:
            subject = replace(subjects[0], choices=subjects[0].choices | apart.chosen)
            ((_, accelerator),) = accelerators.points(subject.choices, subject.hardware)
            if isinstance(accelerator, errors.ConfigError):
                raise accelerator
            with _plots_into(folder, flags):
                mapped = map_one(subject, accelerator, settings.picture, "--adc-sensitivity" in flags)
            _show(mapped, folder, flags)
            return 0
        with made(folder):
            return _sweep(subjects, accelerators, apart, folder, flags)


def _plots_into(folder: Path, flags: set[str]) -> AbstractContextManager[None]:
    """The folder of plots, refused before the first price where it can't be written; numbers alone need none."""
    return nullcontext() if flags & {"--json", "--csv"} else made(folder)


def _refuse_lone_axes(apart: Words, many: bool) -> None:
    axes = [*apart.hardware, *apart.others]
    for axis in axes:
        if axis.group in UNPRICED:
            raise errors.ConfigError(
                f"{axis.key}: its {len(axis.words)} values have the same price; give it one"
            )
    if axes and not many:
        raise errors.ConfigError(f"{axes[0].key}: several values are compared by cimlab map -m")


def _subjects(apart: Words) -> list[Subject]:
    """The networks that the words name; axes that are no hardware make several."""
    subjects = []
    for words in product(*(axis.words for axis in apart.others)):
        config, choices, lines = informed("map", [*apart.fixed, *words], MapConfig)
        checked = check(config, MapConfig)
        label = " ".join(words)
        if checked.run is None:
            own = {} if checked.checkpoint is None else {"geometry": plain_config(config)["geometry"]}
            subjects.append((label, replace(named(checked, choices), hardware=own)))
            tell(lines)
            continue
        given = {word.partition("=")[0].lstrip("+~") for word in (*apart.fixed, *words)}
        groups = {key.partition(".")[0] for key in given}
        foreign = sorted(key for key in given if not {key, key.partition(".")[0]} & {*OF_RUNS})
        if foreign:
            raise errors.ConfigError(
                f"{foreign[0]}: a run brings its own; beside run= are taken {', '.join(OF_RUNS)}"
            )
        instead = Instead(
            checked.granularity if "granularity" in groups else None,
            checked.mapping.placement if "mapping.placement" in given else None,
            tuple(checked.extensions),
        )
        subjects += [("", subject) for subject in recorded(Path(checked.run), instead)]
    return [_labelled(subject, label) for label, subject in subjects]


def _labelled(subject: Subject, label: str) -> Subject:
    return replace(subject, name=label) if label else subject


def _sweep(
    subjects: Sequence[Subject], accelerators: Accelerators, apart: Words, folder: Path, flags: set[str]
) -> int:
    """Price every network on every accelerator; tell one CSV, one table and one plot."""
    from cimlab.runs.sweep import price_sweep

    named = _sortable(apart)
    for word in flags:
        if word.startswith(SORT):
            field_of(word, word.removeprefix(SORT).removeprefix("-"), named)
    total = len(subjects) * len(accelerators)
    with counting("accelerators", total) as done:
        swept = price_sweep(
            subjects, lambda subject: accelerators.points(subject.choices, subject.hardware), done
        )
    _show_sweep(swept, folder, flags, named)
    refused = sum(swept.refused.values())
    for reason, times in swept.refused.most_common(5):
        print(f"cimlab: {times} of {total:,}: {reason}", file=sys.stderr)
    if refused:
        raise errors.ConfigError(f"{refused:,} of {total:,} points have no price, see above")
    return 0


def _sortable(apart: Words) -> dict[str, str]:
    """What points are sorted by: fields of the CSV, headings of the table, and axes by the last part of their key."""
    from cimlab.reporting.hardware import FIGURES

    axes = [axis.key for axis in (*apart.hardware, *apart.others)]
    fields = ["network", *axes, "accuracy", "technology", "adc_price", "adc_bits", *FIGURES]
    fields += [f"{kind}/{name}" for kind in ("dense", "ratio") for name in FIGURES]
    return {**{key.rpartition(".")[2]: key for key in axes}, **COLUMNS, **{name: name for name in fields}}


def _show_sweep(swept: Sweep, folder: Path, flags: set[str], named: dict[str, str]) -> None:
    """The numbers in one file; in a terminal also a table of the best and a plot."""
    from rich.console import Console

    from cimlab.records.record import write_atomically
    from cimlab.reporting import sweep as shown
    from cimlab.reporting.chart import save_apart

    if not swept.points:
        return
    rows = [asdict(point) for point in swept.points]
    best = shown.unbeaten(rows)
    if "--json" in flags:
        write_atomically(folder / "map.json", json_text(rows, indent=1) + "\n")
        print(f"written: {folder / 'map.json'}")
        return
    lines = shown.flat(rows, best)
    asked = [word.removeprefix(SORT) for word in flags if word.startswith(SORT)]
    order = ordered(lines, asked[0], named) if asked else ()
    write_atomically(folder / "map.csv", shown.csv_text(lines))
    if "--csv" not in flags:
        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print(shown.points_table(rows, best, order))
        for note in (*shown.far_apart(rows), *shown.unequal_areas(rows), *shown.notes(rows)):
            console.print(f"note: {note}", highlight=False, markup=False)
        plot = save_apart(shown.points_plot(rows, best), folder / "map.png")
        console.print(f"plot: {plot}", highlight=False, markup=False, soft_wrap=True)
    print(f"written: {folder / 'map.csv'} ({len(rows):,} points)")


def _show(result: Mapped, folder: Path, flags: set[str]) -> None:
    """Tables and plots of one network on one accelerator, or the numbers alone."""
    if "--json" in flags:
        print(json_text(_plain(result), indent=1))
        return
    if "--csv" in flags:
        print(_csv(result), end="")
        return
    import numpy as np
    from rich.console import Console

    from cimlab.reporting import hardware as tables
    from cimlab.reporting.chart import save_apart
    from cimlab.reporting.plots import components_plot, placement_plot

    console = Console(width=None if sys.stdout.isatty() else 140)
    summary = result.summary
    console.print(f"\n{result.name}\nweights: {result.weights}", highlight=False, markup=False)
    title = f"{summary['technology']}, ADC price {summary['adc_price']} at {summary['adc_bits']} bits"
    console.print(tables.totals_table(summary, title))
    if summary["off_arrays"]:
        console.print(tables.work_table(summary))
    console.print(tables.area_table(summary))
    if summary["area_curve"]:
        console.print(tables.area_curve_table(summary))
    console.print(tables.components_table(summary))
    console.print(tables.layers_table(summary))
    for note in summary["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False)
    if result.sensitivity:
        console.print()
        console.print(tables.sensitivity_table(result.sensitivity))
        for name, other in result.sensitivity.items():
            for note in () if isinstance(other, str) else other["notes"]:
                if note not in summary["notes"]:
                    console.print(f"note: {name}: {note}", highlight=False, markup=False)
    layer, executed, groups, steps = result.picture
    plots = {
        "components": components_plot(summary),
        "placement": placement_plot(np.asarray(executed), groups, steps, layer),
    }
    for what, plot in plots.items():
        path = save_apart(plot, folder / "map" / f"{result.choices['model']}-{what}.png")
        console.print(f"plot: {path}", highlight=False, markup=False, soft_wrap=True)
    console.print(tables.answer(summary, result.weights), highlight=False, markup=False, soft_wrap=True)


def _plain(result: Mapped) -> dict[str, Any]:
    more = {"adc_sensitivity": result.sensitivity} if result.sensitivity else {}
    return {"choices": result.choices, "weights": result.weights, **result.summary, **more}


def _csv(result: Mapped) -> str:
    """One row per layer, then one per digital weight and per module that multiplies two activations."""
    import csv
    import io

    text, summary = io.StringIO(), result.summary
    head = {
        "run": result.choices["model"],
        "technology": summary["technology"],
        "adc_price": summary["adc_price"],
    }
    rows = [{**head, **row, "on": "arrays"} for row in summary["layers"]]
    rows += [
        {**head, "layer": row["name"], "on": row["component"], "weights_left": row["weights"]}
        | {key: row[key] for key in ("energy_j", "weights", "macs", "reason")}
        for row in summary["off_arrays"]
    ]
    names = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
