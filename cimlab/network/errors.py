"""Networks that can't be taken, each told in one line."""

from cimlab.errors import REFUSED, CimlabError


class NetworkShapeError(CimlabError, ValueError):
    """A network that can't compute what it is given."""

    exit_code = REFUSED


class NetworkError(CimlabError, ValueError):
    """A network with an operation that can't be counted, or a name that nothing in it has."""

    exit_code = REFUSED
