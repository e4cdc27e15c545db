"""How arrays are put together to a chip: what the crossbar's geometry leaves open.

Plain values, no torch, so that a configuration is checked before anything heavy is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.hardware.errors import HardwareError, require_numbers
from cimlab.hardware.floor_plan import FloorPlan
from cimlab.records.identity import unless

Readout = Literal["per_step", "held"]
AdcResolution = Literal["geometry", "layer", "column"]


@dataclass(frozen=True)
class Chip:
    """Organisation of the accelerator.

    Args:
        readout: `per_step` drives the row group anew at every mux position (the operation unit of CONCEPTS.md);
            `held` drives it once and sample-and-holds keep all bitlines while the ADCs step through them (ISAAC).
        bitlines_per_conversion_slot: bitlines of one step that one ADC converts one after the other; a fast ADC
            serves several, and the array then has that many fewer.
        arrays_per_tile: arrays that share a buffer, a bus and a router port.
        area_over_dense: area of the chip (sum of parts, everything in it) over that of the unpruned network with one
            copy of each layer. The pruned and the unpruned network get the same; what they leave is spent on copies.
        area_m2: the same as an absolute area, which then counts instead.
        max_arrays: arrays on the chip, which then set its area; a network that needs more is reloaded in parts, and
            pruning support for which full arrays leave no room comes on top.
        adc_idle_share: share of an ADC's power at full rate that flows whether it converts or not; 0 is gated.
            hwcomponents-adc counts 0.2 as leakage (arXiv:2404.06553); ISAAC states power at full rate alone.
        adc_resolution: `geometry` gives every converter the geometry's bits; `layer` those that lose nothing of the
            layer's fullest column, `column` converts each column at its own (TinyADC, DATE 2021; a SAR stops early).
            A column with q kept weights in a row group needs ceil(log2(q (2^dac_bits - 1) (2^cell_bits - 1) + 1)).
        skip_zero_inputs: input cycles in which all rows of a row group are fed zero execute no step; every row group's
            rows are watched for it (Sparse ReRAM Engine, ISCA 2019). Only where each step drives its rows anew.
        batch: images processed between two loads of weights.
        dram_bits_per_s: bandwidth for loading weights; 102.4e9 is a 32-bit LPDDR4-3200 channel (JESD209-4).
        write_pulses: programming pulses per cell.
        off_chip_links: link blocks counted in the chip's area and peak power.
        floor_plan: where arrays lie and how inputs and outputs travel; None hides their way behind the arrays. It sets
            the copies, and the unpruned network with them sets the area; pruning support comes on top.

    Raises:
        HardwareError: a value is out of range.
    """

    readout: Readout = "per_step"
    bitlines_per_conversion_slot: int = 1
    arrays_per_tile: int = 96
    area_over_dense: float = 2.0
    area_m2: float | None = None
    max_arrays: int | None = None
    adc_idle_share: float = 0.0
    adc_resolution: AdcResolution = "geometry"
    skip_zero_inputs: bool = False
    batch: int = 1
    dram_bits_per_s: float = 102.4e9
    write_pulses: int = 1
    off_chip_links: int = 0
    floor_plan: Annotated[FloorPlan | None, unless(None)] = None

    def __post_init__(self) -> None:
        if self.readout not in get_args(Readout):
            raise HardwareError(f"chip.readout={self.readout} must be {' or '.join(get_args(Readout))}")
        if self.adc_resolution not in get_args(AdcResolution):
            raise HardwareError(
                f"chip.adc_resolution={self.adc_resolution} must be one of {', '.join(get_args(AdcResolution))}"
            )
        if self.skip_zero_inputs and self.readout == "held":
            raise HardwareError(
                "chip.skip_zero_inputs=true has no meaning with chip.readout=held, whose reads are one per row group "
                "and cycle; use chip.readout=per_step"
            )
        for name in ("max_arrays", "area_m2"):
            if self.floor_plan is not None and getattr(self, name) is not None:
                raise HardwareError(
                    f"chip.{name}={getattr(self, name):g} has no meaning with chip.floor_plan, which sets copies and "
                    f"area; use chip.{name}=null, or chip.floor_plan=null"
                )
        for name in ("bitlines_per_conversion_slot", "arrays_per_tile", "batch", "write_pulses"):
            require_numbers(f"chip.{name}", getattr(self, name), low=1)
        if self.max_arrays is not None:
            require_numbers("chip.max_arrays", self.max_arrays, low=1)
        if self.area_m2 is not None:
            require_numbers("chip.area_m2", self.area_m2, above=0)
        require_numbers("chip.area_over_dense", self.area_over_dense, above=0)
        require_numbers("chip.adc_idle_share", self.adc_idle_share)
        require_numbers(f"chip.adc_idle_share (1 - {self.adc_idle_share})", 1 - self.adc_idle_share)
        require_numbers("chip.dram_bits_per_s", self.dram_bits_per_s, above=0)
        require_numbers("chip.off_chip_links", self.off_chip_links)

    def refuse_to_gather(self) -> None:
        """Refuse what counts by row groups of the unpruned matrix, where steps gather rows of several of them.

        >>> Chip(readout="held").refuse_to_gather()
        Traceback (most recent call last):
        cimlab.hardware.errors.HardwareError: mapping.placement=gathered gives each mux position wordlines of...

        Raises:
            HardwareError: the chip holds reads, skips zero inputs, or has a floor plan.
        """
        against = {
            "chip.readout=held": ("chip.readout=per_step", self.readout == "held"),
            "chip.skip_zero_inputs=true": ("chip.skip_zero_inputs=false", self.skip_zero_inputs),
            "chip.floor_plan": ("chip.floor_plan=null", self.floor_plan is not None),
        }
        for given, (instead, stands) in against.items():
            if stands:
                raise HardwareError(
                    f"mapping.placement=gathered gives each mux position wordlines of its own, but {given} goes by row "
                    f"groups of the matrix; use {instead}, or mapping.placement=compacted"
                )

    def adcs_per_array(self, geometry: CrossbarGeometry) -> int:
        """Converters of one array.

        >>> Chip().adcs_per_array(CrossbarGeometry(cols=128, columns_per_adc=8))
        16

        Raises:
            HardwareError: the slots don't divide the bitlines of a step.
        """
        adcs, left = divmod(geometry.columns_read, self.bitlines_per_conversion_slot)
        if left or not adcs:
            raise HardwareError(
                f"chip.bitlines_per_conversion_slot={self.bitlines_per_conversion_slot} does not divide the "
                f"{geometry.columns_read} bitlines of a step (cols / columns_per_adc)"
            )
        return adcs
