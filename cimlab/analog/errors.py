"""The error of the analog model: a network, range or setting that arrays can't compute with."""

from cimlab.crossbar.cells import CellError


class AnalogError(CellError):
    """A network that can't run on the arrays as asked; the message names the layer or field and the mend."""
