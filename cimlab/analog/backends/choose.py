"""Choosing a backend: one name, one function from inputs to codes, prepared once for a layer's cells."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from jaxtyping import Int
from torch import Tensor

from cimlab.analog.backends.conductance import conductance, lay_out
from cimlab.analog.backends.exact import exact
from cimlab.analog.backends.packed import pack, packed, supports
from cimlab.analog.backends.reference import reference
from cimlab.analog.errors import AnalogError
from cimlab.analog.patches import Patches
from cimlab.analog.program import ArrayProgram
from cimlab.analog.settings import BackendName

Run = Callable[[Patches], Int[Tensor, "groups cols products"]]
"""Shifted and added codes of a batch: sum over row groups, cycles and slices of 2^(t dac_bits) c_s code."""


def prepare(program: ArrayProgram, name: BackendName, layer: str) -> Run:
    """The backend `name`, or the fastest one that computes this program.

    Raises:
        AnalogError: the chosen backend can't compute it.
    """
    if name == "auto":
        name = "exact" if program.is_exact else "packed" if supports(program) else "conductance"
    if name == "exact" and not program.is_exact:
        raise AnalogError(
            f"backend=exact can't compute layer {layer}: its ADC loses bits or its devices are not ideal; "
            "use backend=auto"
        )
    if name == "packed" and not supports(program):
        raise AnalogError(
            f"backend=packed can't compute layer {layer}: it takes ideal devices, partial sums below 2^16 and "
            "results below 2^31; use backend=auto"
        )
    if name == "exact":
        return partial(exact, program=program)
    if name == "packed":
        return partial(packed, layout=pack(program))
    if name == "conductance":
        return partial(conductance, layout=lay_out(program))
    return partial(reference, program=program)
