"""How data modules say no: DataError for missing or damaged files, ValueError for an option out of range, and
DataSettingError for one that only the data themselves show to be impossible."""

from cimlab.errors import REFUSED, CimlabError


class DataError(CimlabError, RuntimeError):
    """One clear line: what is wrong, where, and how to mend it; data are looked at before any compute."""

    exit_code = REFUSED


class DataSettingError(CimlabError, ValueError):
    """One clear line: the option, and what these data allow."""

    exit_code = REFUSED


def require_at_least(name: str, value: int, least: int) -> None:
    """Raises ValueError unless `value` is a whole number >= `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}={value!r} is not allowed; use a whole number >= {least}")
