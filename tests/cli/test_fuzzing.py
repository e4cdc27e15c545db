"""Whatever is typed after `cimlab train` is accepted up to the first epoch, or refused in one clear line; what is
accepted ends with a whole record of finite numbers, or in one line without a record.

CIMLAB_FUZZ_CASES sets the number of command lines (15 here; 2000 and more before a release), CIMLAB_FUZZ_RUNS that
of whole runs (3 here; hundreds before a release), CIMLAB_FUZZ_SEED where they begin. `--hypothesis-show-statistics`
tells how many of them were accepted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cimlab, one_line
from hypothesis import HealthCheck, Phase, event, given, seed, settings

from cimlab.records.record import RECORD_FILE, RunRecord
from cimlab.training import tracking
from tests.cli.fuzzing import COMMAND_LINES, PLAUSIBLE_LINES

CASES = int(os.environ.get("CIMLAB_FUZZ_CASES", "15"))
RUNS = int(os.environ.get("CIMLAB_FUZZ_RUNS", "3"))
SEED = int(os.environ.get("CIMLAB_FUZZ_SEED", "0"))
OWN = ("tracker=none", "trainer.threads=1", "paths.output_dir=out", "paths.data_dir=nothing")
"""Before the fuzzed words, which may set them otherwise."""
TINY = (
    "tracker=none", "trainer.threads=1", "recipe.epochs=1", "schedule.epochs=4", "simulate.images=20",
    "simulate.draws=2", "data=fake", "data.num_images=128", "data.image_size=8", "data.in_channels=1",
    "data.validation_size=32", "data.batch_size=32", "data.eval_batch_size=64",
)  # fmt: skip
"""A run of seconds, before the fuzzed words."""


class Accepted(BaseException):
    """Raised where the first epoch would begin: nothing on the way may take it for an error."""


def fuzzed(cases: int) -> settings:
    """How many cases, and no more than those."""
    return settings(
        max_examples=cases,
        deadline=None,
        phases=[Phase.generate],  # a failing line is short already, and shrinking it takes minutes
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        database=None,
    )


@fuzzed(CASES)
@seed(SEED)
@given(words=COMMAND_LINES)
def test_a_command_line_is_accepted_or_refused_in_one_line(
    words: list[str], cimlab: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: object) -> None:
        raise Accepted

    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(tracking, "make_tracker", begin)
        try:
            answer = cimlab(
                "train", *OWN, *(["data.download=false"] if "data=cifar" in str(words) else []), *words
            )
        except Accepted:
            event("accepted")
            return
    if answer.code == 0:
        event("answered")  # --help and --cfg
        assert {"--help", "--cfg", "--cfg=job", "--package"} & set(words), answer
        return
    event(f"refused with code {answer.code}")
    assert answer.code in (1, 2), answer
    lines = answer.err.strip().splitlines()
    many = lines[-1].endswith("runs failed, see above")  # then one line for each of them, and this one
    for line in lines if many else [one_line(answer.err)]:
        assert line.startswith("cimlab: "), answer
        assert "unexpected" not in line, answer


def floats(node: Any) -> Iterator[float]:
    """Every number of a record, at any depth."""
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from floats(part)
    elif isinstance(node, int | float):
        yield float(node)


@fuzzed(RUNS)
@seed(SEED)
@given(words=PLAUSIBLE_LINES)
def test_what_is_accepted_ends_with_a_whole_record_or_in_one_line(
    words: list[str], cimlab: Cimlab, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    output = tmp_path_factory.mktemp("run")
    answer = cimlab(
        "train", *TINY, f"paths.output_dir={output}", f"paths.dense_dir={tmp_path / 'dense'}", *words
    )
    found = list(output.glob(f"*/{RECORD_FILE}"))
    event(f"code {answer.code}")
    if answer.code:
        assert answer.code in (1, 2), answer
        assert "unexpected" not in one_line(answer.err), answer
        assert not found
        return
    record = RunRecord.read(*found)
    assert all(0 <= value <= 1 for value in floats(record.accuracy)), record.accuracy
    assert all(map(math.isfinite, floats([record.weights, record.hardware]))), record
    assert record.weights["compression"] >= 1
