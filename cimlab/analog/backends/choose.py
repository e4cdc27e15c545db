"""Choosing a backend: one name, one function from inputs to codes, prepared once for a layer's cells."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import torch
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

_PROCESSOR = torch.device("cpu")

Run = Callable[[Patches], Int[Tensor, "groups cols products"]]
"""Shifted and added codes of a batch: sum over row groups, cycles and slices of 2^(t dac_bits) c_s code."""


def prepare(program: ArrayProgram, name: BackendName, layer: str, where: torch.device = _PROCESSOR) -> Run:
    """The backend `name`, or the fastest one that computes this program where its inputs are.

    Raises:
        AnalogError: the chosen backend can't compute it.
    """
    if name == "auto" and where.type != "cpu":
        name = "exact" if program.is_exact else "tensor_core"
    if name == "tensor_core":
        return _on_device(program, layer, where)
    if where.type != "cpu" and name != "exact":
        raise AnalogError(f"backend={name} runs on the processor, and the network is on {where}; use auto")
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


def _on_device(program: ArrayProgram, layer: str, where: torch.device) -> Run:
    """The Triton kernel, imported only here: torch brings Triton along on Linux alone."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if where.type != "cuda" and not interpreted:
        raise AnalogError(
            f"backend=tensor_core needs a CUDA device, and layer {layer} is on {where}; use backend=auto"
        )
    try:
        from cimlab.analog.backends import tensor_core
    except ImportError as problem:
        raise AnalogError(
            f"backend=tensor_core needs Triton, which is not installed ({problem})"
        ) from problem
    if not tensor_core.supports(program):
        raise AnalogError(
            f"backend=tensor_core can't compute layer {layer}: it takes at most {tensor_core.MOST_ROWS} active "
            f"rows, results below 2^31, and read noise at dac_bits of at most {tensor_core.EXACT_DIGIT_BITS}; "
            "use the processor"
        )
    return partial(tensor_core.tensor_core, layout=tensor_core.lay_out(program, where))
