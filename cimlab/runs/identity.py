"""The identity of a run and of its dense network: content hashes of the settings that count (`records/identity.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cimlab.config.schema import KNOWN_BY_FOLDER, TrainConfig
from cimlab.config.sources import source_hashes
from cimlab.records.identity import ALWAYS, marks, selector, uncounted
from cimlab.records.record import Remembered, canonical, hash_of_texts
from cimlab.runs.folders import file_hash


@dataclass(frozen=True)
class Identity:
    """What a run is.

    Args:
        run: content hash of all that shapes the result.
        dense: of all that shapes the dense network.
        uncounted: settings that shape neither, dotted.
        sources: file -> hash of the code from outside cimlab that the configuration names.
    """

    run: str
    dense: str
    uncounted: tuple[str, ...]
    sources: dict[str, str]


def identity_of(plain: Mapping[str, Any], text_of: Remembered | None = None) -> Identity:
    """The identity of a checked configuration in plain containers; planning many, give each the same `text_of`.

    Raises:
        ConfigError: the checkpoint or a source file can't be read.
    """
    text_of = text_of or Remembered()
    known = conditions(plain)
    sources = source_hashes(plain)
    extra = {key: canonical(value) for key, value in _beside(plain, sources, text_of).items()}
    run, dense = dict(extra), dict(extra)
    for key, (mark, schema) in marks(TrainConfig).items():
        if plain.get(key) is None:
            continue
        if mark.takes(plain[key], "run", known):
            run[key] = text_of(plain[key], selector(mark, schema, "run", known))
        if mark.takes(plain[key], "dense", known):
            dense[key] = text_of(plain[key], selector(mark, schema, "dense", known))
    if plain.get("checkpoint") is not None:
        run["checkpoint"] = canonical(file_hash(Path(plain["checkpoint"])))
    dense["method"] = canonical(_dense_methods(plain["method"]))
    return Identity(hash_of_texts(run), hash_of_texts(dense), unshaping(plain), sources)


def counted(plain: Mapping[str, Any], schema: type, known: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What of a configuration counts, with the code that it names from outside; of data in a folder, its images.

    Args:
        known: the conditions that hold, under which marked settings count.
    """
    found = selector(ALWAYS, schema, "run", known)(plain)
    return {**found, **_beside(plain, source_hashes(plain), Remembered())}


def _beside(plain: Mapping[str, Any], sources: Mapping[str, str], text_of: Remembered) -> dict[str, Any]:
    """What counts and is no setting: hashes of sources, and the images of data that are whatever lies in a folder."""
    extra: dict[str, Any] = {"sources": sorted(sources.values())} if sources else {}
    if plain["data"].get("_target_") in KNOWN_BY_FOLDER:
        extra["data.folder"] = text_of(plain["data"], _images_of)
    return extra


def _images_of(data: Mapping[str, Any]) -> str:
    """Of a folder that is not here, its name."""
    from cimlab.data.survey import fingerprint

    root = Path(data["data_dir"]).resolve()
    return fingerprint(root) if root.is_dir() else root.name


def conditions(plain: Mapping[str, Any]) -> frozenset[str]:
    """What training knows of the hardware.

    `bits`: it rounds; `converters`: it is told of ADCs and devices; `steps`, `prices`: units are ranked by what
    they cost; `placement`: they are, or it is told of ADCs that add up gathered rows.
    """
    rounding = [node for node in plain["method"].values() if "hardware_aware" in node]
    known = {"bits"} if rounding else set()
    known |= {"converters"} if any(node["hardware_aware"] for node in rounding) else set()
    prune = plain["prune"]
    known |= {"steps"} if "steps" in (prune.get("allocation"), prune.get("budget")) else set()
    known |= {"steps", "prices", "converters"} if prune.get("budget") == "energy" else set()
    gathered = (plain.get("mapping") or {}).get("placement") == "gathered"
    if "steps" in known or ("converters" in known and gathered):
        known.add("placement")
    return frozenset(known)


def unshaping(plain: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings of a configuration that are no part of its identity, dotted."""
    return tuple(uncounted(plain, TrainConfig, conditions(plain)))


def _dense_methods(methods: Mapping[str, Any]) -> dict[str, Any]:
    """Methods that take part in dense training; whether they go on in retraining does not matter to it."""
    return {
        name: {key: value for key, value in node.items() if key != "phases"}
        for name, node in methods.items()
        if "dense" in node.get("phases", ())
    }
