"""Energy in a full pipeline: leakage is charged for the time between two images, not for one image's whole way."""

import pytest

from cimlab.reporting.priced import lone_ratio, steady_ratio
from cimlab.reporting.studies import studies
from tests.reporting.made_up import run


def test_the_ratio_is_of_dynamic_energy_plus_leakage_between_images() -> None:
    record = run("filter", 0.09, priced=True)
    (study,) = studies([record])
    total, dense = (record.hardware["cost"][key] for key in ("total", "dense"))
    ratio = steady_ratio(study, ("filter", 0.09))
    assert ratio is not None
    own = total["dynamic_j"] + total["leakage_w"] / total["images_per_s"]
    whole = dense["dynamic_j"] + dense["leakage_w"] / dense["images_per_s"]
    assert ratio.mean == pytest.approx(own / whole)
    lone = lone_ratio(study, ("filter", 0.09))
    assert lone is not None
    own = total["dynamic_j"] + total["leakage_w"] * total["latency_s"]
    whole = dense["dynamic_j"] + dense["leakage_w"] * dense["latency_s"]
    assert lone.mean == pytest.approx(own / whole)
    assert lone.mean != pytest.approx(ratio.mean, rel=1e-3)


def test_what_was_not_priced_or_not_run_has_none() -> None:
    (study,) = studies([run("filter", 0.09)])
    assert steady_ratio(study, ("filter", 0.09)) is None
    assert steady_ratio(study, ("filter", 0.5)) is None
