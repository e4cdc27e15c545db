"""Networks that can't be taken, each told in one line."""


class NetworkShapeError(ValueError):
    """A network that can't compute what it is given."""


class NetworkError(ValueError):
    """A network with an operation that can't be counted, or a name that nothing in it has."""
