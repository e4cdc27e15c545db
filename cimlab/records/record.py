"""One run, as one JSON file: what was asked, what was measured, and where, when and by which code.

The file is written last and in one rename, so that a record which exists is whole; its checksum is over its
content, so that one which was damaged later is refused rather than believed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from cimlab.errors import CimlabError
from cimlab.records.json_text import finite, json_text
from cimlab.records.replace import replacing

SCHEMA = 2
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
RECORD_FILE = "record.json"
CONFIG_FILE = "config.yaml"
PHASES = ("dense", "pruned", "retrained")
"""What every run has a test accuracy of."""
NEEDED = (
    ("config", "prune", "remaining"),
    ("weights", "remaining_all"),
    ("weights", "compression"),
    ("hardware", "total", "arrays"),
    ("hardware", "ratio"),
)
"""What every record of a run says besides."""
GROUPS_BEFORE = ("distillation", "permutation", "sparsity", "quantisation", "resizing")
"""Groups of one choice each that methods were in records of the first schema."""
NAMES_BEFORE = {"hinton": "distillation", "gather": "reorder", "small_first": "resizing"}
"""Choices in those groups -> the method's name."""
MEND = "the command that made it makes it anew"


class RecordError(CimlabError, RuntimeError):
    """A record that can't be read or written; the message names the file and the mend."""


@dataclass(frozen=True)
class Record:
    """What every kind of record shares: one checksummed JSON file.

    Args:
        schema: version of the record's layout.
    """

    schema: int = field(default=0, kw_only=True)
    before: ClassVar[tuple[int, ...]] = ()
    """Earlier layouts that are read too; what they lack has defaults."""

    def write(self, path: Path) -> None:
        """Write atomically: a reader sees the old file, or the whole new one."""
        content = finite(asdict(self))
        text = json_text({**content, "sha256": content_hash(content)}, indent=1)
        write_atomically(path, _LONG_LIST.sub(_on_one_line, text) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and verify a record.

        Raises:
            RecordError: the file is missing, damaged, or of a schema this version does not know.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"it holds a {type(content).__name__}, not an object")
            stated = content.pop("sha256")
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as problem:
            raise RecordError(f"record {path} can't be read ({problem}); {MEND}") from problem
        if content.get("schema") not in (*cls.before, cls.schema):
            known = " and ".join(map(str, (*cls.before, cls.schema)))
            raise RecordError(
                f"record {path} has schema {content.get('schema')!r}, this cimlab reads {known}"
            )
        if stated != _sha256(_CANONICAL.encode(content)):  # what JSON gave is canonical once it is encoded
            raise RecordError(f"record {path} does not match its checksum; {MEND}")
        known = {f.name for f in fields(cls)}
        needed = {
            f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING
        }  # fields that came later have defaults
        if not needed <= set(content) <= known:
            raise RecordError(f"record {path} lacks fields or has foreign ones; {MEND}")
        try:
            _kind(cls).validate_python(content)
        except ValidationError as problem:
            first = problem.errors()[0]
            place, why = ".".join(map(str, first["loc"])), first["msg"].lower()
            raise RecordError(f"record {path}: {place}: {why}; no cimlab wrote it so") from problem
        return cls(**content)


@cache
def _kind(kind: type[Record]) -> TypeAdapter[Record]:
    return TypeAdapter(kind)


@dataclass(frozen=True)
class RunRecord(Record):
    """What a run reports (all energies, times and areas in SI units, counts per image).

    Args:
        run: content hash of what defines the run's result.
        name: readable name, unique together with the hash.
        created: UTC time at which the record was written, ISO 8601.
        seed: the run's seed.
        choices: group -> choice, e.g. granularity -> operation_unit.
        config: the resolved configuration.
        code: cimlab's version, git commit, and whether the tree had uncommitted changes.
        packages: versions of the libraries that the numbers depend on.
        machine: processor, cores, memory, accelerator, operating system, Python.
        wall_time_s: seconds by phase, killed and resumed parts included.
        accuracy: phase (dense, pruned, retrained; quantised where retraining was) -> test and, where there is one,
            validation accuracy, 0 to 1.
        weights: all that take part in a product (total), of them on arrays, digital and prunable, left; remaining over
            prunable and over all; compression.
        hardware: total and dense counts, ratios to dense, utilisation, counts by layer, and `cost`: energy, latency,
            area and throughput, total and by component and layer, with the technology and ADC price behind them, by
            the model of the time; `cimlab map run=...` prices it with today's. `altered`: of technology and ADC price,
            those that are not what cimlab ships by the name; `config` has them.
        layers: what rebuilds each layer's crossbar matrix without the network: name, weight_shape, groups, products,
            row_order; empty in schema 1.
        activity: integers that its cells hold and its wordlines are fed (`cimlab.crossbar.activity`), counted.
        off_arrays: what is multiplied digitally, and what a sample is (`cimlab.network.off_arrays`); older records
            have none.
        masks_sha256: of the masks file beside the record.
        uncounted: settings of `config`, dotted, that are no part of `run`; empty in schema 1.
        sources: file -> SHA-256 of code from outside cimlab that is part of `run`.
        search: whose trial it is; empty where a person or a grid asked for the run.
    """

    run: str
    name: str
    created: str
    seed: int
    choices: dict[str, str]
    config: dict[str, Any]
    code: dict[str, Any]
    packages: dict[str, str]
    machine: dict[str, Any]
    wall_time_s: dict[str, float]
    accuracy: dict[str, dict[str, float]]
    weights: dict[str, float]
    hardware: dict[str, Any]
    layers: list[dict[str, Any]] = field(default_factory=list)
    activity: dict[str, Any] = field(default_factory=dict)
    off_arrays: dict[str, Any] = field(default_factory=dict)
    masks_sha256: str = ""
    uncounted: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    search: str = ""
    schema: int = field(default=SCHEMA, kw_only=True)
    before: ClassVar[tuple[int, ...]] = (1,)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and verify a record, and that it says what every run does.

        Raises:
            RecordError: as `Record.read`, or it lacks what a table of runs shows of each.
        """
        record = super().read(path)
        for part, *keys in NEEDED:
            known: Any = getattr(record, part)
            for key in keys:
                if not isinstance(known, dict) or key not in known:
                    raise RecordError(
                        f"record {path} says no {'.'.join((part, *keys))}; no cimlab wrote it so"
                    )
                known = known[key]
        for phase in PHASES:
            if "test" not in record.accuracy.get(phase, {}):
                raise RecordError(
                    f"record {path} says no test accuracy of the {phase} network; no cimlab wrote it so"
                )
        return record

    @property
    def unpriceable(self) -> str:
        """Why it can't be priced anew; empty where it can."""
        if self.schema == 1:
            return "a record of schema 1 kept accuracy and counts, not its masks"
        return "" if self.layers and self.activity and self.masks_sha256 else "it kept no masks"

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods beyond pruning once and retraining, in alphabetical order; not those of the dense training alone."""
        if "method" in self.config:
            chosen = self.config["method"].items()
            return tuple(sorted(name for name, settings in chosen if settings.get("phases") != ["dense"]))
        choices = {self.choices[group] for group in GROUPS_BEFORE if group in self.choices}
        schedule = {self.choices.get("schedule", "one_shot")} - {"one_shot"}
        return tuple(sorted({NAMES_BEFORE.get(choice, choice) for choice in choices} | schedule))


_LONG_LIST = re.compile(r"\[\n[-+.\d\seE,]*\]")
"""A list of numbers as `json` indents it, one per line; no text of JSON holds a line break."""


def _on_one_line(found: re.Match[str]) -> str:
    return f"[{' '.join(found[0][1:-1].split())}]"


def content_hash(content: Any) -> str:
    """SHA-256 over the canonical JSON of plain content: the same for the same content, whatever its key order."""
    return _sha256(canonical(content))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(content: Any) -> str:
    """Plain content as JSON without spaces, keys in order."""
    if not _has_text_keys(content):  # keys that are numbers sort as the text they become
        content = json.loads(json.dumps(content))
    return _CANONICAL.encode(content)


def _has_text_keys(content: Any) -> bool:
    if isinstance(content, dict):
        return all(type(key) is str and _has_text_keys(value) for key, value in content.items())
    return all(map(_has_text_keys, content)) if isinstance(content, list | tuple) else True


def hash_of_texts(texts: dict[str, str]) -> str:
    """`content_hash` of a mapping, from the canonical text of each of its parts."""
    body = ",".join(f"{_CANONICAL.encode(key)}:{texts[key]}" for key in sorted(texts))
    return _sha256(f"{{{body}}}")


class Remembered:
    """`canonical`, remembering the text of an object for as long as it is used: ten thousand points share most parts.

    Parts must not change between calls. Of a part, `select` says what counts; without it, all.
    """

    def __init__(self) -> None:
        self._texts: dict[tuple[int, Any], tuple[Any, str]] = {}

    def __call__(self, part: Any, select: Callable[[Any], Any] | None = None) -> str:
        if not isinstance(part, dict):
            return canonical(part if select is None else select(part))
        known = self._texts.get((id(part), select))
        if known is None:  # the object is kept with its text, so that nothing else can get its id
            text = canonical(part if select is None else select(part))
            known = self._texts[id(part), select] = (part, text)
            if len(self._texts) > 1000:
                self._texts.clear()
        return known[1]


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step, flushed to disk first.

    Raises:
        RecordError: the folder can't be written.
    """
    write_bytes_atomically(path, text.encode())


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """`write_atomically` of bytes."""
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as problem:
        raise RecordError(
            f"can't write {path} ({problem.strerror or problem}); check free space and rights"
        ) from problem
