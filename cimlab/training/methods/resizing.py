"""Progressive resizing: training begins on smaller images, which cost less, and ends on whole ones.

fast.ai's entry to DAWNBench trained ImageNet so (Howard et al., 2018); Tan and Le, "EfficientNetV2", ICML 2021,
section 4, study it. Convolutions cost what the images have in pixels: at 0.75 of the side, 0.56 of the work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cimlab.network.borrowed import borrowed
from cimlab.training.learning_rate import ROUNDING
from cimlab.training.methods.base import Method, MethodError, Part, PhaseName, Subject


@dataclass(frozen=True, kw_only=True)
class Resizing(Method):
    """Smaller images at the start of training.

    Args:
        phases: dense training, retraining, or both.
        share: fraction of the epochs, at their start, on smaller images.
        scale: their side over that of the whole images.
    """

    phases: list[PhaseName] = field(default_factory=lambda: ["dense"])
    share: float
    scale: float

    def __post_init__(self) -> None:
        for name in ("share", "scale"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"method.resizing.{name}={value:g} must be between 0 and 1")

    def check(self, subject: Subject) -> None:
        require_small_epochs(subject, self)
        require_resizable(subject.network, subject.image_shape, self)

    def part(self, subject: Subject) -> SmallFirst:
        return SmallFirst(self)


class SmallFirst(Part):
    """Makes the images of the first epochs smaller."""

    def __init__(self, settings: Resizing) -> None:
        self.settings = settings

    def images(
        self, images: Float[Tensor, "batch channels height width"], epoch: int, epochs: int
    ) -> Float[Tensor, "batch channels small_height small_width"]:
        return resized(images, self.settings, epoch, epochs)


def small_epochs(epochs: int, settings: Resizing) -> int:
    """Epochs on smaller images, of so many: no more than `share` of them.

    >>> [small_epochs(epochs, Resizing(share=0.6, scale=0.75)) for epochs in (1, 2, 5)]
    [0, 1, 3]
    """
    return floor(settings.share * epochs + ROUNDING)


def small_side(side: int, settings: Resizing) -> int:
    """Pixels a side of the smaller images.

    >>> small_side(32, Resizing(share=0.5, scale=0.75))
    24
    """
    return max(1, round(side * settings.scale))


def resized(
    images: Float[Tensor, "batch channels height width"], settings: Resizing, epoch: int, epochs: int
) -> Float[Tensor, "batch channels small_height small_width"]:
    """The images as training sees them in an epoch, from 0, of so many: at most `share` of the epochs are on smaller
    ones.

    Antialiased bilinear, reckoned in float32, in the dtype of the images; channels_last.
    """
    if epoch >= small_epochs(epochs, settings):
        return images
    side = small_side(images.shape[-1], settings)
    small = F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True)
    return small.to(images.dtype, memory_format=torch.channels_last)


def require_small_epochs(subject: Subject, settings: Resizing) -> None:
    """Refuse a phase that would be called resized and have no epoch on smaller images.

    Raises:
        MethodError: names the phase's epochs.
    """
    known = {"dense": ("recipe.epochs", subject.dense_epochs), "retrain": ("schedule.epochs", subject.epochs)}
    for phase in settings.phases:
        key, epochs = known[phase]
        if epochs is not None and small_epochs(epochs, settings) == 0:
            raise MethodError(
                f"method.resizing.share={settings.share:g} of {key}={epochs} is no whole epoch on smaller images; use "
                f"a larger share, more epochs, or leave {phase} out of method.resizing.phases"
            )


def require_resizable(network: nn.Module, image_shape: tuple[int, int, int], settings: Resizing) -> None:
    """Refuse a scale that changes nothing, and a network that takes one size of images only.

    Raises:
        MethodError: the smaller images are as large as the whole ones, or the network can't take them.
    """
    channels, side, _ = image_shape
    small = small_side(side, settings)
    if small == side:
        raise MethodError(
            f"method.resizing.scale={settings.scale:g} leaves images of {side} x {side} as they are; "
            "use a smaller scale"
        )
    try:
        with torch.no_grad(), borrowed(network):
            network(torch.zeros(1, channels, small, small))
    except (RuntimeError, ValueError) as problem:
        raise MethodError(
            f"method.resizing: this network can't take images of {small} x {small}; take resizing out of method, "
            "or choose a model that pools its last features"
        ) from problem
