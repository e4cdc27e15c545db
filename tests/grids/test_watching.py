"""What a sweep counts as done when it ends, while other sweeps look at the same folders."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from cimlab.grids.planning import make_plan, record_path
from cimlab.grids.watching import Watch
from cimlab.grids.worker import Session
from cimlab.records.locks import locked
from tests.records.examples import example


def watching(tmp_path: Path) -> Watch:
    """A point with a record that was written since the sweep began."""
    path = tmp_path / "grid.yaml"
    path.write_text("# @package _global_\nhydra:\n  sweeper:\n    params:\n      granularity: weight\n")
    plan = make_plan(path, [f"paths.output_dir={tmp_path / 'out'}"])
    (point,) = plan.pending
    record_path(point).parent.mkdir(parents=True)
    replace(example(), run=point.run).write(record_path(point))
    return Watch(plan, Session(0.0, None, False), Console(file=io.StringIO()))


def test_a_point_that_another_sweep_holds_for_an_instant_counts_when_the_work_is_over(tmp_path: Path) -> None:
    watch = watching(tmp_path)
    with locked(Path(watch.left[0].run_dir)):
        with watch:
            pass
        assert len(watch.done) == 1
        assert watch.left == []


def test_a_sweep_that_was_stopped_does_not_count_what_is_held(tmp_path: Path) -> None:
    watch = watching(tmp_path)
    with locked(Path(watch.left[0].run_dir)):
        with pytest.raises(KeyboardInterrupt), watch:
            raise KeyboardInterrupt
        assert watch.done == []


def test_a_damaged_record_is_not_counted_as_done(tmp_path: Path) -> None:
    watch = watching(tmp_path)
    path = record_path(watch.left[0])
    path.write_bytes(path.read_bytes()[:500])
    with watch:
        pass
    assert watch.done == []
    assert len(watch.left) == 1
