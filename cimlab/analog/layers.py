"""Linear and convolutions as arrays compute them: drop-in modules around a backend.

y = s_x s_w (step * codes - digital corrections) + bias. The corrections, for the zero point of the input and
the bias of offset cells, are integers that the periphery knows.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional

from cimlab.analog.adcs.base import AdcRange
from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.backends.choose import prepare
from cimlab.analog.backends.exact import BLOCK, gather
from cimlab.analog.backends.packed import pack, packed_histogram, supports
from cimlab.analog.devices.base import Device
from cimlab.analog.digital import Padding, quantise_padded, scale_and_add, scale_and_add_more
from cimlab.analog.errors import AnalogError
from cimlab.analog.gathered import GatheredMatrix, laid
from cimlab.analog.patches import Patches, Places, conv_places, linear_places
from cimlab.analog.program import ArrayProgram, partial_sum_histogram
from cimlab.analog.settings import BackendName
from cimlab.analog.slicing import SlicedMatrix
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.inputs import InputQuantiser, largest_input, sampling_stride
from cimlab.crossbar.matrix import Convolution, CrossbarMatrix
from cimlab.crossbar.rules import PlacementMode
from cimlab.network.called import keep_called

HISTOGRAM_PRODUCTS = 512
"""Products of a batch whose partial sums set the ADC range of a layer: 10^5 to 10^8 conversions."""


CHUNK_VALUES = 1 << 24
"""Outputs that a convolution computes at a time: bounds what it needs beside its input and output to 0.3 GB."""


@dataclass(frozen=True, eq=False)
class Mapping:
    """How one layer became integers on arrays.

    Args:
        matrix: view of its weight.
        sliced: its cells; of gathered rows, with those of each mux position at its top.
        weight_step: real size of one weight level, by output.
        quantiser: of its input.
        gathered: from where its steps take their rows, if of several row groups; None of rows in their places.
    """

    matrix: CrossbarMatrix
    sliced: SlicedMatrix
    weight_step: Float[Tensor, " out"]
    quantiser: InputQuantiser
    gathered: GatheredMatrix | None = None

    @classmethod
    def of(
        cls,
        matrix: CrossbarMatrix,
        weights: Int[Tensor, "out ..."],
        kept: Bool[Tensor, "out ..."],
        geometry: CrossbarGeometry,
        placement: PlacementMode,
        weight_step: Float[Tensor, " out"],
        quantiser: InputQuantiser,
    ) -> Mapping:
        """From integer weights and what is kept of them, both in the shape of the layer's weight.

        Raises:
            GeometryError: the placement is gathered, and the muxes are independent.
        """
        sliced, gathered = laid(matrix.to_matrix(weights), matrix.to_matrix(kept), geometry, placement)
        return cls(matrix, sliced, weight_step, quantiser, gathered)

    def program(self, layer: ArrayProgram) -> ArrayProgram:
        """What a backend computes of the layer's arrays."""
        return layer if self.gathered is None else self.gathered.program(layer)

    def patches(self, patches: Patches) -> Patches:
        """Where the rows of that program find their inputs."""
        return patches if self.gathered is None else self.gathered.patches(patches)

    def outputs(self, values: Shaped[Tensor, "groups cols ..."]) -> Shaped[Tensor, "out ..."]:
        """What the program gives, output by output."""
        return self.matrix.to_outputs(values if self.gathered is None else self.gathered.joined(values))


class AnalogLayer(nn.Module):
    """What both layers share. Ideal cells and lossless ADCs until `program_arrays` is called.

    The arrays stay with the device of the weight at that call; moved later, a network must be programmed again.

    Args:
        original: the folded float layer, kept for comparison.
        mapping: its integers.
        adc: ADC range.
        backend: which backend computes it.
    """

    zero_sums: Int[Tensor, " out"]

    def __init__(
        self, original: Convolution | nn.Linear, mapping: Mapping, adc: AdcRange, backend: BackendName
    ) -> None:
        super().__init__()
        self.original = original.requires_grad_(False)
        self.mapping = mapping
        self.adc = adc
        self.backend: BackendName = backend
        self.histogram: Int[Tensor, " sums"] | None = None
        self._places: tuple[object, Tensor, Tensor] | None = None
        keep_called(self)
        sums = mapping.matrix.to_outputs(mapping.sliced.weights.sum(1))
        # what the integer of a real zero adds to every output; a buffer, to be where the network is
        self.register_buffer("zero_sums", mapping.quantiser.zero * sums, persistent=False)
        self.program_arrays(Device(), torch.Generator().manual_seed(0), ideal_adc=True)

    def __getattr__(self, name: str) -> Any:
        """Whatever a network asks of the layer that stood here: its weight's format, its number of features."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "original":
                raise
            return getattr(self.original, name)

    def program_arrays(self, device: Device, generator: torch.Generator, ideal_adc: bool = False) -> None:
        """Write the cells and draw the ADCs' errors: one chip.

        Raises:
            AnalogError: the ADC's range was never calibrated, or the backend can't compute it.
        """
        sliced = self.mapping.sliced
        bits = sliced.geometry.cell_bits
        adc = IdealAdc() if ideal_adc else self.adc
        cells = None
        if device.on_off_ratio is not None or device.effects:
            cells = device.cells(sliced, generator)
        arrays = ArrayProgram(
            sliced,
            cells,
            adc.converter(sliced, self.histogram, generator),
            device.read_noise / device.spacing(bits),
            int(torch.randint(2**31, (1,), generator=generator)),
        )
        self.program = self.mapping.program(arrays)
        self.off_level = device.off_level(bits)
        self.reads = 0
        where = self.original.weight.device
        self._constants = self._scaling().to(where)
        self._run = prepare(self.program, self.backend, self.mapping.matrix.name, where)

    def _scaling(self) -> Float[Tensor, "4 out"]:
        """Step, integer to subtract, factor and bias of every output, as `scale_and_add` takes them."""
        factor = self.mapping.weight_step.double() * self.mapping.quantiser.scale
        bias = self.original.bias
        plain = torch.zeros_like(factor) if bias is None else bias
        step = torch.full_like(factor, self.program.converter.step)
        return torch.stack([t.cpu().double() for t in (step, self.zero_sums, factor, plain)])

    def watch_partial_sums(self, q: Int[Tensor, "..."]) -> None:
        """Add the partial sums of an evenly spaced part of a batch to the histogram that sets the ADC range."""
        patches = self.patches(q.cpu().int())
        every = sampling_stride(len(patches.base), HISTOGRAM_PRODUCTS)
        sample = replace(patches, base=patches.base[::every])
        fast = supports(self.program)
        seen = (
            packed_histogram(sample, pack(self.program))
            if fast
            else partial_sum_histogram(sample, self.program)
        )
        self.histogram = seen if self.histogram is None else self.histogram + seen

    def _quantised(
        self, x: Float[Tensor, "planes height width"], padding: Padding = (0, 0, 0, 0)
    ) -> Int[Tensor, "planes padded_height padded_width"]:
        q, broken = quantise_padded(x.float().contiguous(), self.mapping.quantiser, padding)
        if broken:
            raise AnalogError(
                f"inputs of layer {self.mapping.matrix.name} are NaN; the checkpoint or the data is damaged"
            )
        return q

    def compute(self, q: Int[Tensor, "..."], y: Float[Tensor, "images out pixels"]) -> None:
        """Write the layer's real outputs for padded integer inputs into `y`."""
        mapping, sliced = self.mapping, self.mapping.sliced
        patches = replace(self.patches(q), first=self.reads)
        self.reads += len(patches.base)
        codes = mapping.outputs(self._run(patches))
        per_driven_cell = sliced.bias + self.off_level * sum(sliced.coefficients)
        if per_driven_cell:
            # both terms are far larger than their difference: subtract before rounding to float32
            driven = self._driven_inputs(patches).double() * per_driven_cell
            scale_and_add_more(codes, self._constants, driven, y)
        else:
            scale_and_add(codes, self._constants, y)

    def _driven_inputs(self, patches: Patches) -> Float[Tensor, "out products"]:
        """Sum of the inputs on the driven wordlines of every output, block by block and exact."""
        sliced = self.program.sliced
        largest = len(sliced.row_group_of) * largest_input(sliced.geometry.input_bits)
        number = torch.float32 if largest < 2**24 else torch.float64
        driven = sliced.driven.to(patches.values.device, number).transpose(1, 2)
        blocks = patches.base.split(BLOCK)
        sums = [
            [m @ gather(patches, base, group, number) for base in blocks] for group, m in enumerate(driven)
        ]
        return self.mapping.outputs(torch.stack([torch.cat(row, 1) for row in sums]))

    @abstractmethod
    def integers(self, x: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The quantised input, padded.

        Raises:
            AnalogError: a value is not a number.
        """

    def patches(self, q: Int[Tensor, "..."]) -> Patches:
        """Where each row of each product finds its input; looked up anew where the inputs' shape changes."""
        key = q.shape, q.device
        if self._places is None or self._places[0] != key:
            places = self.mapping.patches(Patches(q, *self.places(q)))
            self._places = key, places.base.to(q.device), places.offset.to(q.device)
        return Patches(q.flatten(), *self._places[1:])

    @abstractmethod
    def places(self, q: Int[Tensor, "..."]) -> Places:
        """The same without the inputs, on the processor."""

    @abstractmethod
    def forward(self, input: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The layer's output; the input is called as torch's layers call it, for it may be passed by name."""


MaybeBatch = Float[Tensor, "channels *size"] | Float[Tensor, "batch channels *size"]
"""Images of any number of dimensions, or one alone, as torch's convolutions take them."""


class AnalogConvolution(AnalogLayer):
    """A Conv1d, Conv2d or Conv3d on arrays."""

    original: Convolution

    def integers(self, x: MaybeBatch) -> Int[Tensor, "batch channels *padded_size"]:
        x = self._batched(x)
        around = self.original._reversed_padding_repeated_twice
        if len(self.original.kernel_size) != 2:
            x, around = functional.pad(x, around), [0, 0, 0, 0]
        planes = x.flatten(0, 1).flatten(2) if x.ndim > 4 else x.flatten(0, 1)
        left, right, top, bottom = around
        q = self._quantised(planes if planes.ndim == 3 else planes[:, None], (left, right, top, bottom))
        size = x.shape[2:] if len(self.original.kernel_size) != 2 else q.shape[1:]
        return q.view(*x.shape[:2], *size)

    def places(self, q: Int[Tensor, "batch channels *padded_size"]) -> Places:
        return conv_places(q.shape, self.original, self.mapping.matrix)

    def forward(self, input: MaybeBatch) -> MaybeBatch:
        images = self._batched(input)
        y = torch.empty(
            len(images), self.original.out_channels, *self._output_size(images), device=images.device,
            dtype=torch.float32,
        )  # fmt: skip
        some = max(1, CHUNK_VALUES // max(1, y[:1].numel()))
        for inputs, outputs in zip(images.split(some), y.split(some), strict=True) if len(images) else ():
            self.compute(self.integers(inputs), outputs.flatten(2))
        return (y if images is input else y[0]).to(input.dtype)

    def _batched(self, x: MaybeBatch) -> Float[Tensor, "batch channels *size"]:
        return x if x.ndim == len(self.original.kernel_size) + 2 else x[None]

    def _output_size(self, x: Float[Tensor, "batch channels *size"]) -> tuple[int, ...]:
        layer = self.original
        around = layer._reversed_padding_repeated_twice
        each = zip(x.shape[2:], layer.dilation, layer.kernel_size, layer.stride, strict=True)
        padded = (sum(around[len(around) - 2 * n - 2 : len(around) - 2 * n]) for n in range(x.ndim - 2))
        return tuple(
            (size + more - dilation * (kernel - 1) - 1) // stride + 1
            for (size, dilation, kernel, stride), more in zip(each, padded, strict=True)
        )


class AnalogLinear(AnalogLayer):
    """A Linear on arrays; every token is one product."""

    original: nn.Linear

    def integers(self, x: Float[Tensor, "*batch features"]) -> Int[Tensor, "tokens features"]:
        return self._quantised(x.reshape(1, -1, x.shape[-1]))[0]

    def places(self, q: Int[Tensor, "tokens features"]) -> Places:
        return linear_places(*q.shape, self.mapping.matrix)

    def forward(self, input: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch out"]:
        q = self.integers(input)
        y = torch.empty(len(q), self.original.out_features, 1, device=input.device, dtype=torch.float32)
        self.compute(q, y)
        return y.view(*input.shape[:-1], self.original.out_features).to(input.dtype)
