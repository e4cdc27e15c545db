"""The integers that a trained network's cells hold and its wordlines are fed, beside the unpruned network's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from cimlab.analog.errors import AnalogError
from cimlab.analog.learned_steps import TrainedSteps
from cimlab.analog.measure import layer_activities, weight_activities
from cimlab.analog.settings import AnalogSettings
from cimlab.crossbar.activity import Activity, LayerActivity
from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.network.batch import Batch, mapped, size
from cimlab.network.errors import NetworkError
from cimlab.network.masks import Masks
from cimlab.network.trace import shadow

CALIBRATED = AnalogSettings()


def measured_activity(
    network: nn.Module,
    images: Batch,
    masks: Masks,
    dense: Mapping[str, Tensor] | None,
    geometry: CrossbarGeometry,
    settings: AnalogSettings = CALIBRATED,
    learned: TrainedSteps | None = None,
    matrices: Sequence[CrossbarMatrix] = (),
) -> Activity:
    """The integers that the arrays hold and are fed, of a network as it is now and of the one that it was pruned from.

    Args:
        network: with its retrained weights; not changed.
        images: one batch of training images, or of what the network is given, on which ranges are calibrated and
            inputs counted.
        masks: layer name -> True where a weight is kept.
        dense: the unpruned network's state_dict; None takes the network itself for it, and a note says so.
        geometry: gives the bits.
        settings: how to quantise; `learned` the steps of quantised retraining, where there was any.
        matrices: the layers as they lie on arrays, whose bit planes of zeros are counted.

    Raises:
        CellError: a weight or an input is not a finite number.
    """
    where = next(network.parameters()).device
    images = mapped(images, lambda part: part.to(where))

    def measure(some: nn.Module, kept: Masks, steps: TrainedSteps | None) -> dict[str, LayerActivity]:
        return layer_activities(some, kept, images, geometry, settings, steps, matrices)

    return replace(_measured(network, masks, dense, geometry, measure, learned), images=size(images))


def stored_activity(
    network: nn.Module,
    masks: Masks,
    geometry: CrossbarGeometry,
    settings: AnalogSettings,
    learned: TrainedSteps | None,
    shape: Batch,
) -> Activity:
    """What cells hold, of weights without images: inputs stay assumed. The dense network's weights are not known.

    `shape` is a batch of what the network is given, whose values mean nothing; the rest is as in `measured_activity`.
    """

    def measure(some: nn.Module, kept: Masks, steps: TrainedSteps | None) -> dict[str, LayerActivity]:
        return weight_activities(some, kept, geometry, settings, steps, shape)

    return _measured(network, masks, None, geometry, measure, learned)


Measure = Callable[[nn.Module, Masks, TrainedSteps | None], dict[str, LayerActivity]]


def _measured(
    network: nn.Module,
    masks: Masks,
    dense: Mapping[str, Tensor] | None,
    geometry: CrossbarGeometry,
    measure: Measure,
    learned: TrainedSteps | None,
) -> Activity:
    measured = Activity(geometry.weight_bits, geometry.input_bits)
    try:
        pruned = measure(network, masks, learned)
        if dense is None:
            note = (
                "the dense network's weights are not known: its cells are taken to hold what the pruned network's do, "
                "0 where it was pruned",
            )
            return replace(
                measured, pruned=pruned, dense=measure(network, {}, learned), notes=note if masks else ()
            )
        before = shadow(network, own=True)
        try:
            before.load_state_dict(dense)
        except RuntimeError as problem:
            text = " ".join(str(problem).split())
            raise NetworkError(f"dense is the state_dict of another network: {text}") from problem
        return replace(measured, pruned=pruned, dense=measure(before, {}, None))
    except AnalogError as problem:
        return replace(measured, notes=(f"values of cells and inputs are assumed: {problem}",))
