"""The shape of one crossbar array, and the operation unit that follows from it.

The lowest brick of the house: plain integers, no torch, so that a configuration can be checked before
anything heavy is imported. Symbols follow Meng et al. (JETCAS 2022) and ISAAC (Shafiee et al., ISCA 2016).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil
from typing import Literal, get_args

from cimlab.errors import REFUSED, CimlabError

MuxControl = Literal["lockstep", "independent"]
SignedEncoding = Literal["differential", "offset", "twos_complement"]


LARGEST_ADVISED_CELL_BITS = 4
"""Advice names no denser cell: the shipped technologies cover up to 4 bits."""


class GeometryError(CimlabError, ValueError):
    """A crossbar that can't be built; the message names the fields and the nearest legal values."""

    exit_code = REFUSED


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


@dataclass(frozen=True)
class CrossbarGeometry:
    """One crossbar array and its periphery.

    Args:
        rows: wordlines of an array.
        cols: bitlines of an array.
        active_rows: wordlines on at once (the height m of the operation unit).
        columns_per_adc: bitlines that share one ADC through a mux.
        mux_control: `lockstep`, all muxes of an array stand at the same position; `independent`, each
            ADC steps through its own kept columns.
        weight_bits: weight precision, sign included.
        cell_bits: bits stored in one cell.
        signed_encoding: `differential` (two columns), `offset` (ISAAC's bias) or `twos_complement`.
        input_bits: activation precision.
        dac_bits: input bits applied in one cycle; 1 is bit-serial.
        adc_bits: ADC resolution; None is lossless for `active_rows`.

    Raises:
        GeometryError: the fields don't describe an array that can be built.

    >>> CrossbarGeometry().operation_unit
    (16, 2)
    >>> CrossbarGeometry().lossless_adc_bits
    6
    """

    rows: int = 128
    cols: int = 128
    active_rows: int = 16
    columns_per_adc: int = 8
    mux_control: MuxControl = "lockstep"
    weight_bits: int = 8
    cell_bits: int = 2
    signed_encoding: SignedEncoding = "differential"
    input_bits: int = 8
    dac_bits: int = 1
    adc_bits: int | None = None

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_ranges()
        if self.active_rows > self.rows:
            raise GeometryError(
                f"active_rows={self.active_rows} is more than rows={self.rows}; use active_rows <= {self.rows}"
            )
        if self.dac_bits > self.input_bits:
            raise GeometryError(
                f"dac_bits={self.dac_bits} is more than input_bits={self.input_bits}; "
                f"use dac_bits <= {self.input_bits}"
            )
        if self.signed_encoding == "twos_complement" and (self.weight_bits - 1) % self.cell_bits:
            self._refuse_shared_sign()
        if self.cols % (self.columns_per_adc * self.columns_per_weight):
            self._refuse_columns()

    def _refuse_shared_sign(self) -> None:
        """Two's complement subtracts the sign bit's current, which a cell must therefore hold alone."""
        legal = [
            bits
            for bits in _divisors(self.weight_bits - 1)
            if bits <= LARGEST_ADVISED_CELL_BITS
            and self.cols % (self.columns_per_adc * ceil(self.weight_bits / bits)) == 0
        ]
        mend = (
            f"use cell_bits in {legal}, or signed_encoding=offset" if legal else "use signed_encoding=offset"
        )
        raise GeometryError(
            f"signed_encoding=twos_complement with weight_bits={self.weight_bits} and cell_bits={self.cell_bits} "
            f"puts the sign bit into a cell with others, where its current can't be told apart; {mend}"
        )

    def _refuse_columns(self) -> None:
        """The bitlines of a step must be whole weights; name values that are taken when everything else stays."""
        k, read = self.columns_per_weight, self.cols / self.columns_per_adc
        legal = [a for a in _divisors(self.cols) if (self.cols // a) % k == 0]
        period = self.columns_per_adc * k
        nearest = sorted({max(1, self.cols // period) * period, -(-self.cols // period) * period})
        mend = f"use columns_per_adc in {legal}" if legal else f"use cols in {nearest}"
        raise GeometryError(
            f"cols={self.cols} / columns_per_adc={self.columns_per_adc} reads {read:g} bitlines a step, not a whole "
            f"multiple of the {k} that one weight needs (weight_bits={self.weight_bits}, cell_bits={self.cell_bits}, "
            f"{self.signed_encoding}); {mend}"
        )

    def _check_choices(self) -> None:
        for name, choices in (("mux_control", MuxControl), ("signed_encoding", SignedEncoding)):
            value = getattr(self, name)
            if value not in get_args(choices):
                raise GeometryError(f"{name}={value!r} must be one of {', '.join(get_args(choices))}")

    def _check_ranges(self) -> None:
        """Upper ends are far beyond any published macro; they catch slips such as bytes given for bits."""
        ranges = {
            "rows": (1, 65536),
            "cols": (1, 65536),
            "active_rows": (1, 65536),
            "columns_per_adc": (1, 65536),
            "weight_bits": (2, 16),  # one level beside zero
            "cell_bits": (1, 8),
            "input_bits": (1, 16),
            "dac_bits": (1, 16),
            "adc_bits": (1, 24),
        }
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ranges and value is not None:
                if not isinstance(value, int) or isinstance(value, bool):
                    raise GeometryError(f"{field.name}={value!r} must be a whole number")
                low, high = ranges[field.name]
                if not low <= value <= high:
                    raise GeometryError(f"{field.name}={value} must be from {low} to {high}")

    def refuse_to_gather(self) -> None:
        """Refuse `mapping.placement=gathered` where ADCs convert columns that do not stand side by side.

        >>> CrossbarGeometry(mux_control="independent").refuse_to_gather()
        Traceback (most recent call last):
        cimlab.crossbar.geometry.GeometryError: mapping.placement=gathered gives each mux position wordlines of...

        Raises:
            GeometryError: the muxes are independent.
        """
        if self.mux_control != "lockstep":
            raise GeometryError(
                "mapping.placement=gathered gives each mux position wordlines of its own, but with "
                f"geometry.mux_control={self.mux_control} ADCs convert columns of several at once; use "
                "geometry.mux_control=lockstep, or mapping.placement=compacted"
            )

    @property
    def magnitude_bits(self) -> int:
        """Bits that one polarity stores; a differential pair keeps the sign in the choice of the column."""
        return self.weight_bits - 1 if self.signed_encoding == "differential" else self.weight_bits

    @property
    def slices(self) -> int:
        """Cells that one magnitude is sliced over."""
        return ceil(self.magnitude_bits / self.cell_bits)

    @property
    def columns_per_weight(self) -> int:
        """k: physical columns of one logical column."""
        return self.slices * (2 if self.signed_encoding == "differential" else 1)

    @property
    def columns_read(self) -> int:
        """Bitlines converted in one step: the number of ADCs of an array."""
        return self.cols // self.columns_per_adc

    @property
    def input_cycles(self) -> int:
        """T: cycles to feed one input vector, `dac_bits` at a time."""
        return ceil(self.input_bits / self.dac_bits)

    @property
    def operation_unit(self) -> tuple[int, int]:
        """(m, n): weights, rows x logical columns, that one array computes in one step."""
        return self.active_rows, self.columns_read // self.columns_per_weight

    @property
    def logical_cols(self) -> int:
        """Logical columns (weights side by side) that one array holds."""
        return self.cols // self.columns_per_weight

    @property
    def row_groups(self) -> int:
        """Row groups of one array; the last one is shorter where active_rows does not divide rows."""
        return ceil(self.rows / self.active_rows)

    @property
    def lossless_adc_bits(self) -> int:
        """Bits that hold every partial sum: ceil(log2(m (2^dac_bits - 1) (2^cell_bits - 1) + 1))."""
        largest = self.active_rows * (2**self.dac_bits - 1) * (2**self.cell_bits - 1)
        return largest.bit_length()

    @property
    def resolution_bits(self) -> int:
        """ADC resolution in use: `adc_bits`, or lossless where that is None."""
        return self.lossless_adc_bits if self.adc_bits is None else self.adc_bits
