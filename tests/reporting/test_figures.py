"""The accuracy figure shows every granularity with its points, means over seeds, and is written whole."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from cimlab.records.record import RunRecord
from cimlab.reporting import figures
from cimlab.reporting.figures import accuracy_figure, granularity_style
from tests.records.examples import example


@pytest.fixture
def records() -> list[RunRecord]:
    return [
        example(granularity, remaining, seed)
        for granularity in ("weight", "operation_unit")
        for remaining in (0.25, 0.1)
        for seed in (0, 1)
    ]


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("deep/a.svg", b"<?xml"), ("a.pdf", b"%PDF")]
)
def test_the_figure_is_written_in_the_format_of_its_name(
    tmp_path: Path, records: list[RunRecord], name: str, start: bytes
) -> None:
    path = accuracy_figure(records, tmp_path / name)
    assert path == tmp_path / name
    assert path.read_bytes().startswith(start)


def test_a_vector_figure_is_well_formed_and_both_panels_are_drawn(
    tmp_path: Path, records: list[RunRecord]
) -> None:
    root = ElementTree.parse(accuracy_figure(records, tmp_path / "a.svg")).getroot()
    assert {f"axes_{i}" for i in (1, 2)} <= {element.get("id") for element in root.iter()}


def test_points_are_means_over_seeds_and_bars_their_range(
    tmp_path: Path, records: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retrained accuracy is 0.9 + remaining / 10 + seed / 1000, so seeds 0 and 1 lie 0.05 % either side of the mean."""
    drawn: list[tuple] = []

    class Axes:
        def errorbar(self, x, y, *, yerr, label, **style) -> None:
            drawn.append((label, x, y, *yerr, style["color"], style["marker"]))

    group = [record for record in records if record.choices["granularity"] == "operation_unit"]
    figures._line(Axes(), group, lambda record: record.hardware["ratio"]["steps"], "operation_unit")
    ((label, x, y, low, high, *_),) = drawn
    assert label == "operation_unit"
    assert x == pytest.approx([10.0, 25.0])
    assert y == pytest.approx([91.05, 92.55])
    assert low == pytest.approx([0.05, 0.05])
    assert high == pytest.approx([0.05, 0.05])


def test_every_granularity_looks_different_from_every_other() -> None:
    styles = [tuple(granularity_style(name).values()) for name in (*figures.ORDER, "another")]
    assert len(set(styles)) == len(styles)


def test_one_run_alone_makes_a_figure(tmp_path: Path) -> None:
    assert accuracy_figure([example()], tmp_path / "one.png").stat().st_size > 1000


def test_no_record_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no records"):
        accuracy_figure([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
