"""block(rows, cols): blocks of any size; the crossbar skips whatever whole steps they cover."""

from dataclasses import dataclass

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.units import UnitGrid
from cimlab.pruning.granularities.base import Granularity, Look, block_units


@dataclass(frozen=True)
class Block(Granularity):
    """Blocks of rows x cols weights, which start afresh at every array.

    Blocks of 3 x 2 on arrays of 4 rows:

    >>> geometry = CrossbarGeometry(rows=4, active_rows=2)
    >>> grid = Block(rows=3, cols=2).units(CrossbarMatrix("fc", (4, 8)), geometry)
    >>> grid.row_of.tolist(), grid.col_of.tolist()
    ([0, 0, 0, 1, 2, 2, 2, 3], [0, 0, 1, 1])

    Args:
        rows, cols: of a block.

    Raises:
        ValueError: a side is below 1.
    """

    look = Look(130, "#E69F00", "circle", dashed=True)

    rows: int
    cols: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise ValueError(f"block rows={self.rows} cols={self.cols}: both must be 1 or more")

    def units(self, matrix: CrossbarMatrix, geometry: CrossbarGeometry) -> UnitGrid:
        return block_units(matrix, geometry, self.rows, self.cols)
