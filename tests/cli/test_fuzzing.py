"""Whatever is typed after `cimlab train` is accepted up to the first epoch, or refused in one clear line.

CIMLAB_FUZZ_CASES sets the number of command lines (200 here; 2000 and more before a release).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Cimlab, one_line
from hypothesis import HealthCheck, Phase, event, given, seed, settings

from cimlab.training import experiment
from tests.cli.fuzzing import COMMAND_LINES

CASES = int(os.environ.get("CIMLAB_FUZZ_CASES", "200"))
OWN = ("tracker=none", "trainer.threads=1", "paths.output_dir=out", "paths.data_dir=nothing")
"""Before the fuzzed words, which may set them otherwise."""


class Accepted(BaseException):
    """Raised where the first epoch would begin: nothing on the way may take it for an error."""


@settings(
    max_examples=CASES,
    deadline=None,
    phases=[Phase.generate],  # a failing line is short already, and shrinking it takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
@seed(int(os.environ.get("CIMLAB_FUZZ_SEED", "0")))
@given(words=COMMAND_LINES)
def test_a_command_line_is_accepted_or_refused_in_one_line(
    words: list[str], cimlab: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: object) -> None:
        raise Accepted

    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(experiment, "make_tracker", begin)
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
