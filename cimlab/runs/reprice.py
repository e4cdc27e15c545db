"""What a finished run costs by today's model, for reports: from its masks, on the accelerator that it was trained for.

A record keeps what was logged when it was written, by the model of that time; old and new models never stand side by
side in a table. Its accelerator is `cimlab.runs.asked.asked_hardware`, as it is of `cimlab map run=`. A record may be a
stranger's: what it names is called only if it is cimlab's own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from cimlab.config.errors import ConfigError
from cimlab.records.flat import flat
from cimlab.records.record import RecordError, RunRecord

if TYPE_CHECKING:
    from cimlab.crossbar.activity import Activity
    from cimlab.hardware.accelerator import Accelerator
    from cimlab.hardware.price import PrunedNetwork


def priced_today(record: RunRecord, file: Path) -> RunRecord:
    """The record with counts and costs of today's model; without any cost, and with the reason, where it has none.

    Args:
        record: of a run.
        file: that it was read from; its masks lie beside it.
    """
    if record.unpriceable:
        return _without(record, record.unpriceable)
    try:
        return _today(record, file)
    except (RecordError, ConfigError, ValidationError) as problem:
        return _without(record, " ".join(str(problem).split()))


def priced_in_row_groups(record: RunRecord, file: Path) -> RunRecord:
    """`priced_today` for reports, in which networks are compared with their rows in their row groups, and gathered
    beside, whichever of the two a run was asked with.
    """
    if (record.config.get("mapping") or {}).get("placement") == "gathered":
        record = replace(record, config=_apart(record.config), hardware=_apart(record.hardware))
    return priced_today(record, file)


def _apart(said: dict[str, Any]) -> dict[str, Any]:
    """What a record says of its mapping, with rows in their row groups."""
    return said | {"mapping": (said.get("mapping") or {}) | {"placement": "compacted"}}


def was_priced_on(record: RunRecord, config: dict[str, Any]) -> bool:
    """Whether the record's price is of the configuration's accelerator; settings that came later make no other."""
    from cimlab.config.accelerators import PRICED

    was, now = (flat({group: node.get(group) or {} for group in PRICED}) for node in (record.config, config))
    return was.keys() <= now.keys() and all(was.get(key, value) == value for key, value in now.items())


def priced_on(record: RunRecord, file: Path, config: dict[str, Any], choices: dict[str, str]) -> RunRecord:
    """The record with the counts and costs that a run of a composed configuration would have got.

    Args:
        record: of a run that differs from the configuration in its accelerator alone.
        file: that it was read from; its masks lie beside it.
        config, choices: as composed, by the person who asks: its numbers are taken as they are.

    Where there is no price, it has none, and the reason.
    """
    from cimlab.config.hardware import make_cost_model
    from cimlab.crossbar.geometry import CrossbarGeometry
    from cimlab.hardware.accelerator import Accelerator
    from cimlab.hardware.chip import Chip

    chip = TypeAdapter(Chip).validate_python(config["chip"])
    model = make_cost_model(
        config["technology"], config["adc_price"], chip, choices, config.get("extensions") or []
    )
    geometry = TypeAdapter(CrossbarGeometry).validate_python(config["geometry"])
    accelerator = Accelerator(geometry, model.technology, model.adc, chip)
    asked = replace(record, config=config, choices=choices, uncounted=[])  # what was varied is to be shown
    try:
        return replace(asked, hardware=record.hardware | _priced(asked, file, accelerator))
    except (RecordError, ConfigError) as problem:
        return _without(asked, " ".join(str(problem).split()))


def _without(record: RunRecord, reason: str) -> RunRecord:
    known = {key: value for key, value in record.hardware.items() if key != "cost"}
    return replace(record, hardware={**known, "unpriced": reason})


def _today(record: RunRecord, file: Path) -> RunRecord:
    """The record with counts and `cost` as one written today would hold them, and the cost on chips of other areas.

    Settings of the accelerator that came after the record have the values that it is priced with.
    """
    from cimlab.config.hardware import load_adc_price, load_technology, make_adc_price, make_technology
    from cimlab.crossbar.geometry import CrossbarGeometry
    from cimlab.hardware.accelerator import Accelerator
    from cimlab.hardware.chip import Chip
    from cimlab.runs.asked import asked_hardware

    config, own = record.config, asked_hardware(record)
    accelerator = Accelerator(
        TypeAdapter(CrossbarGeometry).validate_python(own["geometry"]),
        make_technology(own["technology"], str(file))
        if "technology" in own
        else load_technology(record.choices["technology"]),
        make_adc_price(own["adc_price"])
        if "adc_price" in own
        else load_adc_price(record.choices["adc_price"]),
        TypeAdapter(Chip).validate_python(own["chip"]),
    )
    asked = config | {group: own[group] | config[group] for group in ("geometry", "chip")}
    hardware = record.hardware | _priced(record, file, accelerator, curve=True)
    return replace(record, config=asked, hardware=hardware)


def _priced(
    record: RunRecord, file: Path, accelerator: Accelerator, *, curve: bool = False
) -> dict[str, Any]:
    """Counts and `cost`; where the curve is asked for, also on larger and smaller chips, and with gathered rows."""
    from cimlab.crossbar.summary import counts_summary
    from cimlab.hardware.errors import HardwareError
    from cimlab.hardware.price import price, price_over_area
    from cimlab.runs.subject import kept_network

    network, activity = kept_network(record, file)
    try:
        compared = price(network, activity, accelerator)
    except HardwareError as problem:
        raise ConfigError(f"its accelerator has no price today: {problem}") from problem
    counts = counts_summary(
        network.shape.matrices, network.placed(accelerator.geometry), accelerator.geometry
    )
    beside: dict[str, Any] = {}
    if curve:
        beside["area_curve"] = price_over_area(network, activity, accelerator)
        beside["gathered"] = _gathered(network, activity, accelerator)
    return {**counts, "cost": compared.summary() | beside}


def _gathered(network: PrunedNetwork, activity: Activity, accelerator: Accelerator) -> dict[str, Any] | None:
    """`ratio` to dense and `area_curve` where steps gather the rows that a compacted network keeps; None where they
    can't."""
    from cimlab.crossbar.geometry import GeometryError
    from cimlab.hardware.errors import HardwareError
    from cimlab.hardware.price import PrunedNetwork, price, price_over_area

    if network.shape.placement != "compacted":
        return None
    together = PrunedNetwork(replace(network.shape, placement="gathered"), network.masks)
    try:
        return {
            "ratio": price(together, activity, accelerator).ratios(),
            "area_curve": price_over_area(together, activity, accelerator),
        }
    except (GeometryError, HardwareError):
        return None
