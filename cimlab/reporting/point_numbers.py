"""The numbers of the paper's sentences about one point of a study, and about how the study was trained."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from typing import Any, NamedTuple

from cimlab.records.flat import flat
from cimlab.reporting.priced import time_ratio
from cimlab.reporting.studies import Study, accuracy, left, loss, worded

TEST_IMAGES = {"cifar10": 10000, "cifar100": 10000}
"""Test images of the public data sets (Krizhevsky, 2009); other sets have no fixed size here."""
TRAINING = {
    "dense_epochs": "recipe.epochs", "retrain_epochs": "schedule.epochs", "batch": "data.batch_size",
    "precision": "trainer.precision",
}  # fmt: skip


def training(study: Study) -> dict[str, str]:
    """How a study was trained; records of a training outside cimlab do not say."""
    settings = flat(study.records[0].config)
    return {name: str(settings.get(key, "unrecorded")) for name, key in TRAINING.items()}


TRAINING_IMAGES = {"cifar10": 50000, "cifar100": 50000}
"""Likewise those that a network may learn from, less what a run sets aside to validate on."""


def recipes(found: list[Study]) -> list[dict[str, Any]]:
    """How the networks on the hardest data were trained, and which ones so; unrecorded trainings are left out."""
    # the first study of a recipe, which is the largest, tells its name
    first: dict[tuple[str, Recipe], Study] = {}
    for study in found:
        if study.data == found[0].data and (told := _recipe(study)):
            first.setdefault((worded(study.model), told), study)
    ways = Counter(model for model, _ in first)
    models: dict[Recipe, list[str]] = {}
    for (model, told), study in first.items():
        name = f"{model} (dense {study.dense_told} %)" if ways[model] > 1 else model
        models.setdefault(told, []).append(name)
    return [{"models": own, **told._asdict()} for told, own in models.items()]


class Recipe(NamedTuple):
    """How a network was trained, in words.

    Args:
        optimizer: with its settings, batch and loss.
        images: that it learns from.
        cutout: side of what is cut out of them; 0 is nothing.
        resized: for how long they are smaller, and how much; empty is never.
    """

    optimizer: str
    images: str
    cutout: str
    resized: str


def _recipe(study: Study) -> Recipe | None:
    config = flat(study.records[0].config)
    rate, images = config.get("optimizer.lr"), TRAINING_IMAGES.get(study.data)
    if rate is None or images is None:
        return None
    name = str(config["optimizer._target_"]).rpartition(".")[2]
    nesterov = ", Nesterov" if config.get("optimizer.nesterov") else ""
    curve = str(config.get("recipe.curve")).replace("_", " ")
    smoothing = config.get("recipe.label_smoothing")
    optimizer = (
        f"{name}{nesterov}, rate {rate:g}, weight decay {config['optimizer.weight_decay']:g}, {curve}, batches of "
        f"{config.get('data.batch_size')}{f', label smoothing {smoothing:g}' if smoothing else ''}"
    )
    share, scale = (config.get(f"method.resizing.{key}") for key in ("share", "scale"))
    resized = f"{100 * share:g} % of the epochs at {scale:g} times the side" if share and scale else ""
    kept = images - config.get("data.validation_size", 0)
    return Recipe(optimizer, f"{kept:,}", str(config.get("data.cutout", 0)), resized)


def sampling_error(study: Study) -> str | None:
    """Half the 95 % interval of one test accuracy, by the binomial law (points)."""
    images = TEST_IMAGES.get(study.data)
    share = study.dense.mean / 100
    return None if images is None else f"{100 * 1.96 * sqrt(share * (1 - share) / images):.1f}"


def point(study: Study, name: str, fraction: float) -> dict[str, Any]:
    """A point in words: accuracy, loss, compression, and work left."""
    own = (name, fraction)
    lost, (time, time_of) = study.of(own, loss), time_ratio(study, own)

    def said(value, digits: int) -> str | None:
        estimate = study.of(own, value)
        return None if estimate is None else f"{estimate.mean:.{digits}f}"

    return {
        "name": name, "asked": f"{100 * fraction:g}", "seeds": str(len(study.points[own])),
        "accuracy": said(accuracy, 2), "loss": said(loss, 2), "left": said(left, 1),
        "spread": None if lost is None or lost.spread is None else f"{lost.spread:.2f}",
        "compression": said(lambda r: r.weights["compression"], 2),
        "steps_left": said(lambda r: 100 * r.hardware["ratio"]["steps"], 1),
        "steps_saved": said(lambda r: 100 * (1 - r.hardware["ratio"]["steps"]), 1),
        "conversions_saved": said(lambda r: 100 * (1 - r.hardware["ratio"]["adc_conversions"]), 1),
        "time_saved": None if time is None else f"{100 * (1 - time.mean):.1f}", "time_of": time_of,
        "sampling_error": sampling_error(study),
    }  # fmt: skip
