"""The project's own drawings: what they say is counted, and the committed files are what is drawn today."""

import pytest
from conftest import ROOT, experiment_script

one_array = experiment_script("one_array.py", "paper")
concepts = experiment_script("concepts.py", "paper")
DRAWINGS = {"array": one_array.drawing, **concepts.DRAWINGS}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_todays(name: str) -> None:
    assert (ROOT / "paper" / "figures" / f"{name}.svg").read_text() == DRAWINGS[name]()


def test_the_steps_left_are_those_of_a_count_by_eye() -> None:
    for name in one_array.SHOWN:
        kept, steps, conversions = one_array.pruned(name)
        units = kept.reshape(4, 4, 4, 4)  # row group, row, mux position, column
        assert kept.mean() == one_array.KEPT
        assert steps == units.any((1, 3)).mean()
        assert conversions == units.any(1).mean()
