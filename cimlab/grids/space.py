"""The space of a search: what each axis may be, the words of a trial, and the axes in which nothing can be found.

An axis is what Hydra's grammar reads: `a,b,c` a choice, `interval(0.03,0.5)` a real number, `range(1,9)` a whole one,
`tag(log, interval(...))` on a logarithmic scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from cimlab.config.errors import ConfigError
from cimlab.grids.planning import refuse_idle

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

LAYERS = "prune.layer_remaining."
"""What an axis begins with that is the fraction left of the layers of a name."""
Space = Mapping[str, Override]


def space_of(axes: Mapping[str, str]) -> Space:
    """Axes as they are written, parsed: key -> its values.

    Raises:
        ConfigError: an axis has none.
    """
    parser = OverridesParser.create()
    space = {key: parser.parse_override(f"x={text.split('=', 1)[1]}") for key, text in axes.items()}
    for key, override in space.items():
        if not _values(override):
            raise ConfigError(f"{axes[key]}: matches nothing")
        _refuse_bounds(override, axes[key])
    return space


def _refuse_bounds(override: Override, text: str) -> None:
    """Refuse an interval or range of which nothing can be drawn."""
    space, values = override.value(), _values(override)
    if not isinstance(space, IntervalSweep | RangeSweep):
        return
    if isinstance(space, IntervalSweep) and values[0] > values[-1]:
        raise ConfigError(f"{text}: the interval ends before it begins; write its ends the other way round")
    if "log" not in space.tags:
        return
    if min(values) <= 0:
        raise ConfigError(f"{text}: a logarithmic scale has no 0 and nothing below; begin above 0")
    if isinstance(space, RangeSweep) and (abs(space.step) != 1 or not isinstance(values[0], int)):
        raise ConfigError(
            f"{text}: a logarithmic range takes whole numbers in steps of 1; leave the step out"
        )


def suggested(trial: BaseTrial, space: Space) -> list[str]:
    """The overrides of a trial: one for each axis, those of layers together."""
    words, layers = [], []
    for key, override in space.items():
        value = _suggest(trial, key, override)
        if key.startswith(LAYERS):
            layers.append(f"{key.removeprefix(LAYERS)}: {value}")
        else:
            words.append(f"{key}={value}")
    return words + ([f"++{LAYERS.rstrip('.')}={{{', '.join(layers)}}}"] if layers else [])


def _suggest(trial: BaseTrial, key: str, override: Override) -> Any:
    space, values = override.value(), _values(override)
    log = "log" in getattr(space, "tags", ())
    if isinstance(space, IntervalSweep):
        return f"{trial.suggest_float(key, values[0], values[-1], log=log):.6g}"
    if isinstance(space, RangeSweep) and isinstance(values[0], int):
        return trial.suggest_int(key, min(values), max(values), step=abs(int(space.step)), log=log)
    return trial.suggest_categorical(key, values)


def _values(override: Override) -> list[Any]:
    """What an axis may be; of an interval its ends."""
    space = override.value()
    if isinstance(space, IntervalSweep):
        return [space.start, space.end]
    if isinstance(space, RangeSweep):
        return list(space.range())
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]


def drawn_from(override: Override) -> str:
    """What a study draws an axis from; the ends of an interval may move while it goes on, choices may not."""
    space = override.value()
    if isinstance(space, IntervalSweep | RangeSweep):
        kind = "interval" if isinstance(space, IntervalSweep) else "range"
        return f"log {kind}" if "log" in space.tags else kind
    return ",".join(map(str, _values(override)))


def refuse_wrong_values(space: Space, run_of: Callable[[list[str]], str]) -> None:
    """Refuse a choice that is refused by itself and beside every choice of another axis, before a trial is spent on it.

    Args:
        space: of the search.
        run_of: as for `refuse_idle_axes`.

    Raises:
        ConfigError: what is said of the first such choice.
    """
    for key, override in space.items():
        if isinstance(override.value(), IntervalSweep | RangeSweep):
            continue
        for value in _values(override):
            problem = _problem({key: value}, space, run_of)
            if problem and all(_problem(corner | {key: value}, space, run_of) for corner in _corners(space)):
                raise problem


def _problem(
    point: Mapping[str, Any], space: Space, run_of: Callable[[list[str]], str]
) -> ConfigError | None:
    """Why a point, of all axes or some, is refused."""
    try:
        run_of(_words(point, space))
    except ConfigError as problem:
        return problem
    return None


def _words(point: Mapping[str, Any], space: Space) -> list[str]:
    from optuna.trial import FixedTrial

    return suggested(FixedTrial(dict(point)), {key: space[key] for key in point})


def _corners(space: Space) -> Iterator[dict[str, Any]]:
    """The first value of each axis, then each of its others beside the others' first."""
    values = {key: _values(override) for key, override in space.items()}
    first = {key: own[0] for key, own in values.items()}
    yield first
    yield from (first | {other: value} for other in values for value in values[other][1:])


def refuse_idle_axes(space: Space, run_of: Callable[[list[str]], str], path: Path) -> None:
    """Refuse an axis of a search as a grid refuses it: where its values make the same run, nothing can be found.

    Args:
        space: of the search.
        run_of: the run that the words of a point make; ConfigError where there is none.
        path: the file of the space, for messages.

    Raises:
        ConfigError: there is such an axis.
    """

    def run(point: Mapping[str, Any]) -> str:
        words = _words(point, space)
        try:
            return run_of(words)
        except ConfigError:  # a combination that is refused is a trial that fails, and like no other
            return " ".join(words)

    for key, override in space.items():
        own = _values(override)
        # an axis may matter beside another choice alone, as a method's setting does
        if not any(
            run(corner | {key: value}) != run(corner) for corner in _corners(space) for value in own[1:]
        ):
            refuse_idle("train", (key,), [f"{key}={value}" for value in own], path)
