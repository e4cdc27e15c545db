"""Which weights of a network go on arrays, each as a layer: whatever computes or counts integers begins here."""

from __future__ import annotations

from torch import nn

from cimlab.analog.errors import AnalogError
from cimlab.analog.settings import AnalogSettings
from cimlab.network.account import account_of
from cimlab.network.batch import Batch
from cimlab.network.computed import ComputedWeights
from cimlab.network.layered import layer_masks, layered
from cimlab.network.masks import Masks, checked_masks, weight_shapes


def laid_out(
    network: nn.Module, masks: Masks, batch: Batch | None, settings: AnalogSettings
) -> tuple[nn.Module, Masks]:
    """The network with a layer for every weight on arrays, and the masks of these layers' weights.

    Args:
        network: trained, in floating point; not changed.
        masks: name of a weight -> 1 where it is kept; one that is not named is whole.
        batch: what the network is given; None takes its Conv2d and Linear layers for all there is.
        settings: what is left digital.

    Raises:
        AnalogError: nothing is left to map.
        MaskError: a mask is none, of no weight of this network, or of one whose zeros the forward pass moves.
        NetworkError: an operation can't be counted, or a name in `settings.digital` is nothing's.
    """
    if batch is None:
        return network, checked_masks(masks, weight_shapes(network, masks))
    account = account_of(network, batch, settings.digital)
    if not account.on_arrays:
        raise AnalogError(account.off_arrays.all_there_is)
    kept = ComputedWeights(account, batch).kept(network, masks)
    return layered(network, account, batch), layer_masks(kept, account)
