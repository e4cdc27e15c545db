"""The picture of one array: what it says is counted, and the committed file is what is drawn today."""

from conftest import ROOT, experiment_script

one_array = experiment_script("one_array.py", "paper")


def test_the_picture_is_todays() -> None:
    assert (ROOT / "paper" / "figures" / "array.svg").read_text() == one_array.drawing()


def test_the_steps_left_are_those_of_a_count_by_eye() -> None:
    for name in one_array.SHOWN:
        kept, steps, conversions = one_array.pruned(name)
        units = kept.reshape(4, 4, 4, 4)  # row group, row, mux position, column
        assert kept.mean() == one_array.KEPT
        assert steps == units.any((1, 3)).mean()
        assert conversions == units.any(1).mean()
