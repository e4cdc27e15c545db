"""For every method of conf/method: a tiny run of its own, killed and gone on with, and an honest identity."""

from pathlib import Path

import pytest
import torch
from conftest import SMALL, Cimlab, killed_in_epoch, one_line

from cimlab.choices import choices
from cimlab.cli.main import main
from cimlab.records.record import RECORD_FILE, RunRecord

EPOCHS = ("recipe.epochs=2", "schedule.epochs=3")
"""Of which every method has some of its own."""


def only_record(folder: Path) -> RunRecord:
    (file,) = folder.glob(f"*/{RECORD_FILE}")
    return RunRecord.read(file)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the same run is without a method."""
    folder = tmp_path_factory.mktemp("plain")
    with pytest.raises(SystemExit):
        main(["train", *SMALL, *EPOCHS, f"paths.output_dir={folder}"])
    return only_record(folder).run


@pytest.mark.parametrize("method", choices("method"))
def test_a_run_is_named_after_it_is_its_own_and_goes_on_after_a_kill(
    train: Cimlab, tmp_path: Path, method: str, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"method=[{method}]", *EPOCHS)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(*words, f"paths.output_dir={whole}").code == 0
    with killed_in_epoch(monkeypatch, 1):
        assert train(*words, f"paths.output_dir={cut}").code != 0
    assert train(*words, f"paths.output_dir={cut}").code == 0
    first, resumed = only_record(whole), only_record(cut)
    assert set(first.config["method"]) == {method}
    assert first.run != plain
    assert (first.accuracy, first.weights) == (resumed.accuracy, resumed.weights)
    one, other = (torch.load(next(f.glob("*/network.pt")))["network"] for f in (whole, cut))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_method_of_dense_training_says_so_where_the_dense_identity_reads_it(
    train: Cimlab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quiet.py").write_text(
        "from dataclasses import dataclass, field\n\nfrom cimlab.training.methods.base import Method\n\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Quiet(Method):\n"
        "    phases: list = field(default_factory=lambda: ['dense'])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ("+method.quiet._target_=quiet.Quiet", "extensions=[quiet]")
    answer = train(*words)
    assert answer.code == 2
    assert "method.quiet.phases is missing" in one_line(answer.err)
    assert train(*words, "+method.quiet.phases=[dense]").code == 0
