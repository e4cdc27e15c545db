"""Whose energy is it? The dynamic energy of an unpruned layer for each of its array steps, for budgets in energy.

Units share out a layer's steps (`cimlab.crossbar.attribution`), and with them its energy: cell reads, drives and
conversions happen in steps, and what is fetched and written once per image is spread over them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cimlab.crossbar.geometry import CrossbarGeometry
from cimlab.crossbar.matrix import CrossbarMatrix
from cimlab.crossbar.placement import place_dense
from cimlab.hardware.actions import PlacedLayer
from cimlab.hardware.activity import ActivityFactors
from cimlab.hardware.cost import CostModel


def step_energy(model: CostModel, geometry: CrossbarGeometry) -> Callable[[CrossbarMatrix], float]:
    """Joules per step of a layer; inputs and cells are assumed, as budgets are spent before anything is measured.

    A full array takes 512 steps for one product:

    >>> from cimlab.config.hardware import load_cost_model
    >>> joules = step_energy(load_cost_model(), CrossbarGeometry())(CrossbarMatrix("fc", (16, 128)))
    >>> f"{1e12 * joules:.1f} pJ a step, {1e9 * 512 * joules:.1f} nJ a product"
    '27.8 pJ a step, 14.2 nJ a product'
    """
    plan = model.chip.floor_plan
    if plan is not None:  # copies are of a network, and this prices layers one by one
        model = replace(model, chip=replace(model.chip, floor_plan=replace(plan, copies=None)))

    def joules(matrix: CrossbarMatrix) -> float:
        layer = PlacedLayer(matrix, place_dense(matrix, geometry), ActivityFactors())
        return float(model.report([layer], geometry).dynamic_j.sum()) / layer.placement.counts.steps

    return joules
