"""The accelerator that a finished run was made for, where its own content decides and not what has the name today."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cimlab.choices import choices
from cimlab.config.accelerators import HARDWARE
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.chip import Chip
from cimlab.records.record import RecordError, RunRecord


def asked_hardware(record: RunRecord) -> dict[str, dict[str, Any]]:
    """Group -> content: geometry and chip as they were asked for, technology and ADC price where cimlab ships none by
    their name or something was set by hand; else they are today's of the name, and left out.

    Raises:
        RecordError: the configuration lacks a group, or has a value that is none today.
    """
    config = record.config
    if lacking := [group for group in HARDWARE if group not in config]:
        raise RecordError(f"its configuration lacks {', '.join(lacking)}")
    altered = record.hardware.get("altered", ())
    own = {
        group: dict(config[group])
        for group in ("technology", "adc_price")
        if group in altered or record.choices.get(group) not in choices(group)
    }
    return {
        "geometry": _known(CrossbarGeometry, "geometry", config["geometry"]),
        "chip": _known(Chip, "chip", config["chip"]),
        **own,
    }


def _known(kind: type[CrossbarGeometry | Chip], group: str, content: dict[str, Any]) -> dict[str, Any]:
    """With today's values of what came later, without what has no value and is no setting today."""
    known = {own.name for own in fields(kind)}
    gone = [key for key, value in content.items() if key not in known and value is not None]
    if gone:
        raise RecordError(f"it was priced with {group}.{gone[0]}, which is no setting of today's")
    own = {key: value for key, value in content.items() if key in known}
    try:
        return asdict(TypeAdapter(kind).validate_python(own))
    except ValidationError as problem:
        raise RecordError(f"{group}: {' '.join(str(problem).split())}") from problem
