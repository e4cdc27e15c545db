"""What arrays do to a layer beyond rounding, in the forward pass of training: hardware-aware training.

Where ADCs read exactly and only devices err, weights are read back from the devices: each is replaced by a draw from
the values that cells written with its integer give back, sampled from the device model itself, so that the
distribution is the model's whatever its form, for one gather a step; that ADCs also round what such cells give, a
12th of a squared level a conversion, is left out. Where ADCs lose bits or reads are noisy, the
layer is written on simulated arrays in every step and their output is taken, with the gradient of the rounded layer
(straight through): partial sums are converted one by one as in inference, and by the same backends. A cheaper model
of the ADC by gain, offset and independent noise was tried and did harm, for an ADC's error follows its signal.

Where chips differ, several of them share a batch. One chip's errors shift and scale whole outputs, and a BatchNorm that
sees that chip alone takes just this back out with the batch's statistics, so that the network never learns to bear
what it meets on chips, where norms are folded with statistics of no chip in particular.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cimlab.analog.adcs.base import AdcRange
from cimlab.analog.adcs.ideal import IdealAdc
from cimlab.analog.devices.base import Device
from cimlab.analog.errors import AnalogError
from cimlab.analog.gathered import laid
from cimlab.analog.layers import AnalogConvolution, AnalogLinear, Mapping
from cimlab.analog.learned_steps import LayerSteps
from cimlab.analog.settings import BackendName
from cimlab.analog.slicing import slice_weights
from cimlab.crossbar.cells import by_output, largest_weight, weight_integers
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.inputs import InputQuantiser
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.rules import PlacementMode

READ_BACK_DRAWS = 4096
"""Read-back values kept of every integer: a fault of one cell in a thousand still shows in about 30 of them."""

CHIPS = 4
"""Chips that share a batch: three quarters of the variance between them stay visible behind a BatchNorm."""


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
            f"device: {placed[0]} depends on a cell's place in its array and can't be drawn by weight; leave it out"
        )
    largest = largest_weight(geometry.weight_bits)
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
        placement: of what is kept on them.
        backend: which one simulates them.
        table: read-back values of every integer weight, where devices err and ADCs don't.
    """

    kept: Tensor
    driven: Tensor
    table: Tensor | None

    def __init__(
        self,
        matrix: CrossbarMatrix,
        geometry: CrossbarGeometry,
        adc: AdcRange,
        device: Device,
        placement: PlacementMode,
        backend: BackendName,
        table: Float[Tensor, "integers draws"] | None,
    ) -> None:
        super().__init__()
        self.matrix, self.geometry, self.adc, self.device = matrix, geometry, adc, device
        self.placement: PlacementMode = placement
        self.backend: BackendName = backend
        self.reads_exactly = reads_exactly(geometry, adc, device)
        self.chips = CHIPS if device.effects or adc.chips_differ else 1
        self.calibrating = False
        self._histogram: Int[Tensor, " sums"] | None = None
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("kept", torch.ones(matrix.weight_shape, dtype=torch.bool), persistent=False)
        self.register_buffer("driven", torch.ones(matrix.weight_shape, dtype=torch.bool))

    def keep(self, mask: Bool[Tensor, "out ..."]) -> None:
        """Learn which weights are left: a cell that is driven errs even where its weight was pruned."""
        self.kept.copy_(mask)
        kept = self.matrix.to_matrix(mask.cpu())
        weights = torch.zeros_like(kept, dtype=torch.int32)
        sliced, gathered = laid(weights, kept, self.geometry, self.placement)
        driven = sliced.driven if gathered is None else gathered.driven(kept.shape[1])
        self.driven.copy_(self.matrix.to_weight(driven))

    def read_back(
        self, weight: Float[Tensor, "out ..."], step: Float[Tensor, " out"]
    ) -> Float[Tensor, "out ..."]:
        """Rounded weights as the devices give them back, drawn anew; the gradient is that of the rounded ones."""
        if self.table is None:
            return weight
        step = by_output(step.detach(), weight)
        largest = len(self.table) // 2
        # weights that are not numbers any more stay so below, and the loss will tell
        levels = (weight.detach() / step).round().nan_to_num(0.0).clamp(-largest, largest)
        row = levels.long() + largest
        draw = torch.randint(self.table.shape[1], row.shape, device=row.device)
        read = torch.where(self.driven, self.table[row, draw] * step, 0.0)
        return weight + (read - weight).detach()

    @torch.no_grad()
    @torch.autocast("cpu", enabled=False)
    def read(
        self, layer: nn.Conv2d | nn.Linear, x: Float[Tensor, "..."], steps: LayerSteps
    ) -> Float[Tensor, "..."]:
        """The layer's output without bias, from arrays that are written anew; simulated on the processor.

        Args:
            layer: its weights.
            x: rounded inputs.
            steps: of inputs and weights.
        """
        shell = _shell(layer)
        integers = weight_integers(shell.weight, steps.weight, self.geometry.weight_bits)
        quantiser = InputQuantiser(steps.input, steps.zero, self.geometry.input_bits)
        kind = AnalogConvolution if isinstance(shell, nn.Conv2d) else AnalogLinear
        mapping = Mapping.of(
            self.matrix, integers, self.kept.cpu(), self.geometry, self.placement, steps.weight, quantiser
        )
        arrays = kind(shell, mapping, self.adc, self.backend)
        on_processor = x.float().cpu().contiguous()
        if self.adc.needs_histogram and (self.calibrating or self._histogram is None):
            arrays.watch_partial_sums(arrays.integers(on_processor))
            self._histogram = arrays.histogram
        arrays.histogram = self._histogram
        seed = int(torch.randint(2**31, ()))
        arrays.program_arrays(self.device, torch.Generator().manual_seed(seed))
        return arrays(on_processor).to(x.device)


def reads_exactly(geometry: CrossbarGeometry, adc: AdcRange, device: Device) -> bool:
    """The ADCs give the partial sums of cells as they were written without any error."""
    noisy = device.read_noise or device.on_off_ratio or adc.chips_differ
    lossless = geometry.resolution_bits >= geometry.lossless_adc_bits
    return not noisy and (lossless or isinstance(adc, IdealAdc))


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
