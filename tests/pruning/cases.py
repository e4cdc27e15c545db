"""What the pruning tests share: every granularity that stands in the folder, and networks around random layers."""

import importlib
import inspect
from pathlib import Path

import torch
import yaml
from hypothesis import assume
from hypothesis import strategies as st
from torch import nn

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.pruning import granularities
from cimlab.pruning.granularities.base import Granularity
from tests.crossbar.strategies import generator, geometries, matrices

ROOT = Path(__file__).parents[2]
GRANULARITY_FILES = sorted(
    path.stem
    for path in Path(granularities.__path__[0]).glob("*.py")
    if path.stem not in {"__init__", "base"}
)


def granularity(name: str) -> Granularity:
    """The one granularity of a file, with the arguments of its YAML."""
    module = importlib.import_module(f"cimlab.pruning.granularities.{name}")
    (found,) = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Granularity) and member.__module__ == module.__name__
    ]
    config = yaml.safe_load((ROOT / "conf" / "granularity" / f"{name}.yaml").read_text())
    assert config.pop("_target_") == f"{module.__name__}.{found.__name__}"
    return found(**config)


ALL = {name: granularity(name) for name in GRANULARITY_FILES}


@st.composite
def fitting_geometries(draw: st.DrawFn, chosen: Granularity) -> CrossbarGeometry:
    """Geometries that this granularity takes; rows in fours for the sake of N:4 patterns."""
    geometry = draw(geometries(row_unit=draw(st.sampled_from([4, 1]))))
    try:
        chosen.units(CrossbarMatrix("probe", (1, 1)), geometry)
    except ValueError:
        assume(False)
    return geometry


def network_of(views: list[CrossbarMatrix], seed: int) -> nn.Sequential:
    """Layers of the views' shapes, with normal weights of a scale of their own; views are named 0, 1, ..."""
    layers: list[nn.Module] = []
    random = generator(seed)
    for place, view in enumerate(views):
        assert view.name == str(place)
        out, into, *kernel = view.weight_shape
        layer = (
            nn.Conv2d(into * view.groups, out, (kernel[0], kernel[1]), groups=view.groups)
            if kernel
            else nn.Linear(into, out)
        )
        scale = 0.5 + torch.rand(1, generator=random)
        with torch.no_grad():
            layer.weight.copy_(scale * torch.randn(layer.weight.shape, generator=random))
        layers.append(layer)
    return nn.Sequential(*layers)


@st.composite
def layer_lists(draw: st.DrawFn) -> list[CrossbarMatrix]:
    return [draw(matrices(name=str(place))) for place in range(draw(st.integers(1, 3)))]
