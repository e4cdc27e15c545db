"""The Pareto front is what a comparison of every pair leaves."""

from hypothesis import given
from hypothesis import strategies as st

from cimlab.reporting.front import front

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)))


@given(POINTS)
def test_a_front_is_every_point_that_no_other_beats(points: list[tuple[int, int]]) -> None:
    def beaten(cost: int, worth: int) -> bool:
        return any(c <= cost and w >= worth and (c, w) != (cost, worth) for c, w in points)

    found = front(points, cost=lambda point: point[0], worth=lambda point: point[1])
    assert found == sorted({point for point in points if not beaten(*point)})
