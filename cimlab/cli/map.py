"""`cimlab map`: words in; tables, plots or plain numbers of what a network costs on a chip out."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from cimlab.cli import application
from cimlab.runs.price import MapConfig, Mapped, map_network

FLAGS = ("--json", "--csv", "--adc-sensitivity")


def run(words: list[str]) -> int:
    """Run the command; 0, or raises what `errors.report` explains."""
    flags = {word for word in words if word in FLAGS}

    def job(config: DictConfig, choices: dict[str, str]) -> Mapped:
        return map_network(config, choices, "--adc-sensitivity" in flags)

    def show(results: list[Mapped], config: DictConfig, many: bool) -> None:
        _show(results, Path(config.paths.output_dir), many, flags)

    command = application.Command("map", MapConfig, Mapped, job, show)
    return application.run(command, [word for word in words if word not in FLAGS])


def _show(results: list[Mapped], folder: Path, many: bool, flags: set[str]) -> None:
    """Tables and plots, or the numbers alone."""
    if "--json" in flags:
        content = [_plain(result) for result in results]
        _numbers(json.dumps(content if many else content[0], indent=1) + "\n", folder / "map.json", many)
        return
    if "--csv" in flags:
        _numbers(_csv(results), folder / "map.csv", many)
        return
    import numpy as np
    from rich.console import Console

    from cimlab.reporting import hardware as tables
    from cimlab.reporting.chart import save
    from cimlab.reporting.plots import components_plot, placement_plot

    console = Console(width=None if sys.stdout.isatty() else 140)
    labels = _labels(results)
    for label, result in zip(labels, results, strict=True):
        summary = result.summary
        console.print()
        if not many:
            console.print(f"{result.name}\nweights: {result.weights}", highlight=False)
            title = f"{summary['technology']}, ADC price {summary['adc_price']} at {summary['adc_bits']} bits"
            console.print(tables.totals_table(summary, title).for_terminal())
            console.print(tables.components_table(summary).for_terminal())
            console.print(tables.layers_table(summary).for_terminal())
            for note in summary["notes"]:
                console.print(f"note: {note}", highlight=False)
        if result.sensitivity:
            console.print(f"{label}" if many else "", highlight=False)
            console.print(tables.sensitivity_table(result.sensitivity).for_terminal())
    if many:
        console.print()
        console.print(tables.side_by_side_table([r.summary for r in results], labels).for_terminal())
    for label, result in zip(labels, results, strict=True):
        stem = folder / "map" / "-".join(label.replace("=", "_").split())
        layer, executed, groups, steps = result.picture
        plots = {
            "components": components_plot(result.summary),
            "placement": placement_plot(np.asarray(executed), groups, steps, layer),
        }
        for what, plot in plots.items():
            path = save(plot, stem.with_name(f"{stem.name}-{what}.png"))
            console.print(f"plot: {path}", highlight=False, soft_wrap=True)


def _labels(results: list[Mapped]) -> list[str]:
    """What tells the runs apart: the choices that differ, numbered where none does."""
    groups = [g for g in results[0].choices if len({r.choices.get(g) for r in results}) > 1]
    names = [" ".join(r.choices[g] for g in groups) if groups else r.choices["model"] for r in results]
    return [f"{n} {i + 1}" if names.count(n) > 1 else n for i, n in enumerate(names)]


def _plain(result: Mapped) -> dict[str, Any]:
    more = {"adc_sensitivity": result.sensitivity} if result.sensitivity else {}
    return {"choices": result.choices, "weights": result.weights, **result.summary, **more}


def _csv(results: list[Mapped]) -> str:
    import io

    text = io.StringIO()
    rows = [
        {"run": label, "technology": r.summary["technology"], "adc_price": r.summary["adc_price"], **row}
        for label, r in zip(_labels(results), results, strict=True)
        for row in r.summary["layers"]
    ]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _numbers(text: str, path: Path, many: bool) -> None:
    """To the terminal, or to a file where lines about each run stand there already."""
    if not many:
        print(text, end="")
        return
    from cimlab.records.record import write_atomically

    write_atomically(path, text)
    print(f"\nwritten: {path}")
