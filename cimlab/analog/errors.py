"""The one error of the analog model: a network, range or setting that arrays can't compute with."""


class AnalogError(ValueError):
    """A network that can't run on the arrays as asked; the message names the layer or field and the mend."""
