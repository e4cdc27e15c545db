"""Any network of the timm library by its name (Wightman 2019), fitted to the data set's channels and classes.

timm comes with an extra of cimlab, so it is imported only here, and only where a network of it is built.
"""

from pathlib import Path
from typing import Any

from torch import nn

from cimlab.models.blocks import require_positive_integers
from cimlab.models.library import DEFAULT, downloaded, require_listed, require_published


def timm_model(
    name: str,
    num_classes: int,
    in_channels: int = 3,
    image_size: int | None = None,
    weights: str | None = None,
) -> nn.Module:
    """Classifier `name`; images [batch, in_channels, height, width] to class scores [batch, num_classes].

    image_size is for networks that are built for one size of square images, as most transformers are; None is what timm
    builds them for. weights=None draws random weights and downloads nothing; otherwise it names a tag of the network's
    published weights, or is "DEFAULT" for the first of them; then timm fits the first convolution to the channels, and
    draws the last layer anew unless it has num_classes.
    Raises ValueError where timm is not installed, on an unknown name or weights, on weights that can't be downloaded or
    read, on an image_size for a network without one, and on sizes that are not positive.
    """
    require_positive_integers(num_classes=num_classes, in_channels=in_channels)
    sizes = {} if image_size is None else {"img_size": image_size}
    if image_size is not None:
        require_positive_integers(image_size=image_size)
    try:
        import timm
    except ModuleNotFoundError as problem:
        raise ValueError(
            f"name={name!r} is a network of timm, which is not installed; pip install 'cimlab[timm]'"
        ) from problem
    base, _, tag = str(name).partition(".")
    require_listed(base, timm.list_models(), "timm", "timm.list_models()")
    if tag:
        raise ValueError(f"name={name!r} names weights too; use name={base} weights={tag}, or weights=null")
    options: dict[str, Any] = {"num_classes": num_classes, "in_chans": in_channels, **sizes}
    try:
        if weights is None:
            return timm.create_model(name, pretrained=False, **options)
        return _published(name, weights, options)
    except TypeError as problem:
        if image_size is None or "img_size" not in str(problem):
            raise
        raise ValueError(
            f"image_size={image_size} is not allowed for {name}, which has no such argument; use image_size=null"
        ) from problem


def _published(name: str, weights: str, options: dict[str, Any]) -> nn.Module:
    """The network with published weights, downloaded once into the Hugging Face cache."""
    import timm
    from huggingface_hub.constants import HF_HUB_CACHE

    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{name}.*")]
    require_published(name, weights, [DEFAULT, *tags] if tags else [])
    tagged = name if weights == DEFAULT else f"{name}.{weights}"
    return downloaded(
        lambda: timm.create_model(tagged, pretrained=True, **options), name, weights, Path(HF_HUB_CACHE)
    )
