"""Building ADCs and devices from composed nodes, for the commands that compute on the arrays."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from cimlab.config.components import Component
from cimlab.config.errors import ConfigError

if TYPE_CHECKING:
    from cimlab.analog.adcs.base import AdcRange
    from cimlab.analog.devices.base import Device


def make_adc(node: dict[str, Any], extensions: list[str]) -> AdcRange:
    """An ADC range from its `_target_` node.

    Raises:
        ConfigError: key and allowed range, in one line.
    """
    return Component("adc", node, extensions).build()


def make_device(node: dict[str, Any], extensions: list[str]) -> Device:
    """A device from its plain keys and the `_target_` nodes of its effects.

    Raises:
        ConfigError: key and allowed range, in one line.
    """
    from cimlab.analog.devices.base import Device

    plain = {key: value for key, value in node.items() if not isinstance(value, dict)}
    own = [field.name for field in fields(Device) if field.name != "effects"]
    if unknown := set(plain) - set(own):
        raise ConfigError(
            f"unknown key device.{min(unknown)}; allowed: {', '.join(own)}, and effects with a _target_"
        )
    effects = tuple(
        Component(f"device.{key}", value, extensions).build()
        for key, value in node.items()
        if isinstance(value, dict)
    )
    whole = {"_target_": "cimlab.analog.devices.base.Device", **plain}
    return Component("device", whole, [], ("effects",)).build(effects=effects)


def device_name(device: dict[str, Any]) -> str:
    """The non-idealities that are on; Hydra doesn't tell the choices of a group that takes several."""
    return "+".join(sorted(key for key, value in device.items() if value)) or "ideal"
