"""What arrays do to a layer beyond rounding, cheap enough for every training step: noise-aware training.

Weights are read back from the devices: each is replaced by a draw from the values that cells written with its
integer give back, sampled from the device model itself, so that the distribution is the model's whatever its form.
Outputs carry the ADCs' error by its first and second moments: a nonlinear converter is a gain, an offset and
an error that is uncorrelated with the signal (Bussgang's decomposition), fitted by output on the simulated array
once an epoch. Converting every partial sum in every step would be exact, and cost as much as inference on the
arrays, 15 to 40 float passes; the moments cost one noise tensor, and the norms learn to undo gain and offset.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cimlab.analog.adcs.base import AdcModel
from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.devices.base import Device
from cimlab.analog.errors import AnalogError
from cimlab.analog.layers import AnalogConv2d, AnalogLinear, Mapping
from cimlab.analog.quantise import InputQuantiser, LayerSteps, weight_integers
from cimlab.analog.settings import BackendName
from cimlab.analog.slicing import slice_weights
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix

READ_BACK_DRAWS = 4096
"""Read-back values kept of every integer: a fault of one cell in a thousand still shows in about 30 of them."""
MEASURED_IMAGES = 32
"""Images of a batch on which the ADCs' error is fitted: 10^3 to 10^4 outputs a channel."""


def read_back_table(
    device: Device, geometry: CrossbarGeometry, generator: torch.Generator, draws: int = READ_BACK_DRAWS
) -> Float[Tensor, "integers draws"]:
    """What cells written with the weights -(2^(weight_bits-1) - 1) .. 2^(weight_bits-1) - 1 give back.

    Raises:
        AnalogError: an effect depends on where a cell stands, so that it can't be drawn weight by weight.
    """
    placed = [type(effect).__name__ for effect in device.effects if not effect.by_cell]
    if placed:
        raise AnalogError(
            f"device: {placed[0]} depends on a cell's place in its array and can't be trained for; leave it out"
        )
    largest = 2 ** (geometry.weight_bits - 1) - 1
    integers = torch.arange(-largest, largest + 1, dtype=torch.int32).view(1, -1, 1).expand(-1, -1, draws)
    sliced = slice_weights(integers, torch.ones_like(integers, dtype=torch.bool), geometry)
    coefficients = torch.tensor(sliced.coefficients, dtype=torch.float32).view(-1, 1, 1)
    read = (device.cells(sliced, generator)[0] * coefficients).sum(0)
    return read - sliced.bias - device.off_level(geometry.cell_bits) * sum(sliced.coefficients)


class ArrayErrors(nn.Module):
    """The errors of one layer's arrays.

    Args:
        matrix: view of the layer's weight.
        geometry, adc, device: the arrays.
        backend: which one simulates them.
        table: read-back values of every integer weight; None where cells hold exactly what was written.
        seed: of the ADCs' errors.
    """

    driven: Tensor
    gain: Tensor
    offset: Tensor
    spread: Tensor
    table: Tensor | None
    measured: Tensor

    def __init__(
        self,
        matrix: CrossbarMatrix,
        geometry: CrossbarGeometry,
        adc: AdcModel,
        device: Device,
        backend: BackendName,
        table: Float[Tensor, "integers draws"] | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.matrix, self.geometry, self.adc, self.seed = matrix, geometry, adc, seed
        self.device = Device(device.on_off_ratio, (), device.read_noise)
        self.backend: BackendName = backend
        self.measuring = False
        outputs = matrix.weight_shape[0]
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("driven", torch.ones(matrix.weight_shape, dtype=torch.bool))
        self.register_buffer("gain", torch.ones(outputs))
        self.register_buffer("offset", torch.zeros(outputs))
        self.register_buffer("spread", torch.zeros(outputs))
        self.register_buffer("measured", torch.tensor(0))

    @property
    def reads_exactly(self) -> bool:
        """The ADCs give every partial sum of ideal cells as it is."""
        ideal = self.device.is_ideal and not (self.adc.gain_sigma or self.adc.offset_sigma)
        lossless = self.geometry.resolution_bits >= self.geometry.lossless_adc_bits
        return ideal and (lossless or isinstance(self.adc, IdealAdc))

    def keep(self, mask: Bool[Tensor, "out ..."]) -> None:
        """Learn which weights are left: a cell that is driven errs even where its weight was pruned."""
        kept = self.matrix.to_matrix(mask.cpu())
        driven = slice_weights(torch.zeros_like(kept, dtype=torch.int32), kept, self.geometry).driven
        self.driven.copy_(self.matrix.to_weight(driven))

    def read_back(
        self, weight: Float[Tensor, "out ..."], step: Float[Tensor, " out"]
    ) -> Float[Tensor, "out ..."]:
        """Rounded weights as the devices give them back, drawn anew; the gradient is that of the rounded ones."""
        if self.table is None:
            return weight
        step = step.detach().view(-1, *[1] * (weight.ndim - 1))
        row = (weight.detach() / step).round().long() + len(self.table) // 2
        draw = torch.randint(self.table.shape[1], row.shape, device=row.device)
        read = torch.where(self.driven, self.table[row, draw] * step, 0.0)
        return weight + (read - weight).detach()

    def expected(self, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Outputs as the ADCs read them on average."""
        if self.reads_exactly:
            return y
        return y * self._by_channel(self.gain, y) + self._by_channel(self.offset, y)

    def converted(self, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Outputs as the ADCs read them, the error drawn anew."""
        if self.reads_exactly:
            return y
        return self.expected(y) + self._by_channel(self.spread, y) * torch.randn_like(y)

    @torch.no_grad()
    @torch.autocast("cpu", enabled=False)
    def measure(self, layer: nn.Conv2d | nn.Linear, x: Float[Tensor, "..."], steps: LayerSteps) -> None:
        """Fit gain, offset and spread on simulated arrays.

        Args:
            layer: its weights.
            x: a batch of rounded inputs.
            steps: of inputs and weights.
        """
        if self.reads_exactly:
            return
        x = x[:MEASURED_IMAGES].float().cpu()
        shell = _shell(layer)
        integers = weight_integers(shell.weight, steps.weight, self.geometry.weight_bits)
        sliced = slice_weights(
            self.matrix.to_matrix(integers), self.matrix.to_matrix(shell.weight != 0), self.geometry
        )
        quantiser = InputQuantiser(steps.input, steps.zero, self.geometry.input_bits)
        kind = AnalogConv2d if isinstance(shell, nn.Conv2d) else AnalogLinear
        arrays = kind(shell, Mapping(self.matrix, sliced, steps.weight, quantiser), self.adc, self.backend)
        wanted = self._by_output(arrays(x))
        if self.adc.needs_histogram:
            arrays.watch_partial_sums(arrays.integers(x))
        self.measured += 1
        arrays.program_arrays(
            self.device, torch.Generator().manual_seed(self.seed * 10_007 + int(self.measured))
        )
        self._fit(wanted, self._by_output(arrays(x)))

    def _fit(self, wanted: Float[Tensor, "out n"], read: Float[Tensor, "out n"]) -> None:
        """Least squares of read = gain wanted + offset, and the standard deviation of what is left."""
        mean, mean_read = wanted.mean(1, keepdim=True), read.mean(1, keepdim=True)
        variance = (wanted - mean).square().mean(1)
        covariance = ((wanted - mean) * (read - mean_read)).mean(1)
        gain = torch.where(variance > 0, covariance / variance, 1.0)
        offset = mean_read[:, 0] - gain * mean[:, 0]
        rest = read - gain[:, None] * wanted - offset[:, None]
        for buffer, value in (
            (self.gain, gain),
            (self.offset, offset),
            (self.spread, rest.square().mean(1).sqrt()),
        ):
            buffer.copy_(value)

    def _by_output(self, y: Float[Tensor, "..."]) -> Float[Tensor, "out n"]:
        return y.movedim(self._channel, 0).flatten(1).double()

    def _by_channel(self, values: Float[Tensor, " out"], y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        shaped = values.view(-1, 1, 1) if self._channel == 1 else values
        return shaped.to(y.dtype)

    @property
    def _channel(self) -> int:
        """Where a layer's output has its channels."""
        return 1 if len(self.matrix.weight_shape) == 4 else -1


def _shell(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """A copy of the layer on the processor, without bias and with its own forward pass."""
    lent = layer.__dict__.pop("forward", None)
    try:
        shell = copy.deepcopy(layer).cpu()
    finally:
        if lent is not None:
            layer.__dict__["forward"] = lent
    shell.register_parameter("bias", None)
    return shell
